"""The v4 ablation's table: does another regulariser, at PLW 0 and 1, do what tuning the prompt weight does?"""

from collections.abc import Mapping

import pandas as pd

from analysis.scores.aggregates import cell_aggregates, compared
from analysis.scores.frame import TidyFrame, min_max, tidy_frame
from analysis.tables.table import Table, with_error
from plw.errors import UserError

PUBLISHED = {"LLaMA-1 7B": (0.855, 0.812), "LLaMA-2 7B": (0.894, 0.837)}
"""Best relative aggregate of tuned PLW, and the most that any regulariser reached at PLW 0 or 1 (PLW paper, v4)."""

TUNED, ENDS = "tuned PLW", "none"
KEYS = ["dataset", "model"]


def ablation_table(scores: pd.DataFrame, groups: Mapping[str, str]) -> Table:
    """The best relative aggregate by method, for each dataset and base model.

    Scores are scaled within dataset and benchmark over all recipes, weights, models and seeds together, so that methods
    can be compared. The recipe with the most weights is the one without a regulariser: over all its weights it is tuned
    PLW, at 0 and 1 alone it is the ends without regulariser. Cells that lack a benchmark do not count.

    Args:
        scores: ``Study.scores`` of the ablation study, whose column ``recipe`` names the regularisers.
        groups: benchmark -> group, of the benchmarks that count.

    Returns:
        ``raw``: dataset, model, method, recipe, prompt_weight (the best), relative (mean over seeds), relative_se
        (standard error over seeds; missing for one), weights (how many it was chosen from) and cells.

    Raises:
        UserError: fewer than two recipes, or no complete cell.
    """
    names = sorted(set(scores.loc[scores["headline"].astype(bool), "recipe"]))
    if len(names) < 2:
        raise UserError(f"an ablation compares recipes; the scores are of {', '.join(names) or 'none'} alone")
    rows = pd.concat([tidy_frame(scores[scores["recipe"] == name], groups).rows for name in names], ignore_index=True)
    rows["scaled"] = min_max(rows)
    cells = cell_aggregates(TidyFrame(rows=rows, missing=rows.head(0), notes=()))
    if cells.empty:
        raise UserError("no cell of the ablation has every benchmark yet")
    weights = cells.groupby("recipe")["prompt_weight"].nunique()
    plain = str(weights.idxmax())
    ends = cells["prompt_weight"].isin([0.0, 1.0])
    parts = [(TUNED, cells[cells["recipe"] == plain]), (ENDS, cells[(cells["recipe"] == plain) & ends])]
    parts += [
        (name.removeprefix(f"{plain}-"), cells[(cells["recipe"] == name) & ends]) for name in names if name != plain
    ]
    raw = pd.concat([_best(method, part) for method, part in parts], ignore_index=True)
    return Table(key="ablation", title="Regularisers", raw=raw, shown=_shown(raw), caption=_caption())


def _best(method: str, cells: pd.DataFrame) -> pd.DataFrame:
    """The best weight of one method by dataset and model, of those that have the same seeds."""
    by_weight = cells.groupby([*KEYS, "recipe", "prompt_weight"], as_index=False).agg(
        relative=("relative", "mean"), relative_se=("relative", "sem"), cells=("relative", "size")
    )
    by_weight = by_weight[compared(cells, by_weight, KEYS)]
    best = by_weight.loc[by_weight.groupby(KEYS)["relative"].idxmax()]
    counts = by_weight.groupby(KEYS)["prompt_weight"].nunique().rename("weights").reset_index()
    best = best.merge(counts, on=KEYS).assign(method=method)
    return best[[*KEYS, "method", "recipe", "prompt_weight", "relative", "relative_se", "weights", "cells"]]


def _shown(raw: pd.DataFrame) -> pd.DataFrame:
    """Methods down, datasets and models across."""
    methods = list(dict.fromkeys(raw["method"]))
    shown = pd.DataFrame({"method": methods})
    for (dataset, model), part in raw.groupby(KEYS):
        texts = {
            row.method: f"{with_error(row.relative, row.relative_se)} at PLW {row.prompt_weight:g}"  # type: ignore[arg-type]
            for row in part.itertuples()
        }
        shown[f"{dataset}, {model}"] = [texts.get(method, "–") for method in methods]
    return shown


def _caption() -> str:
    published = "; ".join(
        f"{model}: {tuned:.3f} against at most {other:.3f}" for model, (tuned, other) in PUBLISHED.items()
    )
    return (
        "Best relative aggregate (standard error over seeds) and its weight. Tuned PLW is the best of all weights, the "
        "other rows are the better of PLW 0 and 1, so the first row has more to choose from. Scores are min-max scaled "
        f"within dataset and benchmark over all rows. Published: {published}."
    )
