"""Parts of large studies: spread evenly over what there is, the same each time."""

import pandas as pd

MODEL_ROWS = 10_000
"""Scores that models are fitted to, of all datasets: the time of a fit grows faster than its rows."""
VERDICT_ROWS = 60_000
"""Scores that verdicts are found by, of all datasets: 0.3 s a thousand."""
LEAST_ROWS = 800
"""Of one dataset, however many there are."""


def spread(total: int, most: int) -> list[int]:
    """Places of at most so many things, evenly from the first to the last."""
    if most >= total:
        return list(range(total))
    return sorted({round(i * (total - 1) / max(1, most - 1)) for i in range(most)})


def fitted_rows(
    rows: pd.DataFrame, whole: int = MODEL_ROWS, least: int = LEAST_ROWS, what: str = "models"
) -> tuple[pd.DataFrame, list[str]]:
    """The scores that something is fitted to: all, or of a large study an equal share of each dataset.

    Of a dataset with more, those of some seeds are taken, then of some base models.

    Args:
        rows: of a ``TidyFrame``.
        whole: rows in all up to which none is left out.
        least: rows of one dataset that are taken in any case.
        what: is fitted, for the lines.

    Returns:
        The rows, and a line on each dataset of which some were left out.
    """
    if len(rows) <= whole:
        return rows, []
    most = max(least, whole // rows["dataset"].nunique())
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
                f"{dataset}: {what} use {len(part):,} of its {len(of_dataset):,} scores, spread evenly ({seeds} seeds, "
                f"{models} base models); aggregates, intervals and charts use all."
            )
        parts.append(part)
    return pd.concat(parts).sort_index(), notes


def verdict_rows(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """:func:`fitted_rows` for verdicts, whose time allows more."""
    return fitted_rows(rows, VERDICT_ROWS, what="verdicts")
