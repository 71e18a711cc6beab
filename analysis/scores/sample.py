"""Parts of large studies: spread evenly over what there is, the same each time."""

import pandas as pd

WHOLE_ROWS = 20_000
"""A study of up to so many scores is fitted whole."""

MAX_ROWS = 800
"""Of a larger study, scores of one dataset that models are fitted to: a fit's time grows faster than its rows."""


def spread(total: int, most: int) -> list[int]:
    """Places of at most so many things, evenly from the first to the last."""
    if most >= total:
        return list(range(total))
    return sorted({round(i * (total - 1) / max(1, most - 1)) for i in range(most)})


def fitted_rows(rows: pd.DataFrame, most: int = MAX_ROWS, whole: int = WHOLE_ROWS) -> tuple[pd.DataFrame, list[str]]:
    """The scores that models are fitted to: all, or of a dataset with many those of some seeds, then of some models.

    Args:
        rows: of a ``TidyFrame``.
        most: rows of one dataset, where some are left out.
        whole: rows in all up to which none is left out.

    Returns:
        The rows, and where some were left out a line on each such dataset, and one on what is not computed at all.
    """
    if len(rows) <= whole:
        return rows, []
    parts, notes = [], []
    for dataset, of_dataset in rows.groupby("dataset", sort=False):
        part = of_dataset
        for column, fewest in (("seed", 1), ("model", 2)):
            values = sorted(part[column].unique())
            if len(part) > most and len(values) > fewest:
                kept = max(fewest, len(values) * most // len(part))
                part = part[part[column].isin([values[place] for place in spread(len(values), kept)])]
        if len(part) > most:
            part = part.iloc[spread(len(part), most)]
        if len(part) < len(of_dataset):
            seeds, models = (f"{part[name].nunique()} of {of_dataset[name].nunique()}" for name in ("seed", "model"))
            notes.append(
                f"{dataset}: models and verdicts use {len(part):,} of its {len(of_dataset):,} scores, spread "
                f"evenly ({seeds} seeds, {models} base models); aggregates, intervals and charts use all."
            )
        parts.append(part)
    notes.append(f"Of more than {whole:,} scores the sensitivity to open choices is not computed.")
    return pd.concat(parts).sort_index(), notes
