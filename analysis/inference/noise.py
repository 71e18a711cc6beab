"""The noise floor of each benchmark: how far scores differ where nothing that is studied differs.

Three things may change by chance, and each has a variance of its own: the training's seed, the base model, and which
documents a benchmark happens to have.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.inference.paired_weights import WeightComparison
from analysis.levels import CONFIDENCE, TAILS
from analysis.scores.frame import TidyFrame

SEED_DRAWN, BASE_DRAWN, ITEMS_DRAWN = "seed", "base model", "items"
SAME_POINTS = 1e-7
"""Standard deviations below are rounding."""
NOISE_COLUMNS = ("benchmark", "group", "source", "df", "sd", "sd_low", "sd_high", "floor")


def noise_floor(frame: TidyFrame, comparisons: Sequence[WeightComparison] = ()) -> pd.DataFrame:
    """Standard deviations by chance, and the difference of two cells that is none, benchmark by benchmark.

    - ``seed``: of one cell over seeds, everything else equal, pooled over cells; two such cells differ by less than
      ``floor`` in 95 % of cases.
    - ``base model``: over base models, of the change that a weight makes from the smallest, pooled over weights and
      datasets; the mean over base models is not used up, so a single base's change differs from the mean by less than
      ``floor`` in 95 % of cases. A base's own level is not counted: it is the same at every weight.
    - ``items``: median standard error, over documents alone, of the paired difference of two weights.

    Args:
        frame: The tidy frame.
        comparisons: From ``weight_comparisons``.

    Returns:
        One row a benchmark and source that the study can tell, columns ``NOISE_COLUMNS``; numbers are points of a
        hundred. ``df`` is NaN of items.
    """
    rows = []
    points = frame.rows.assign(points=100 * frame.rows["score01"])
    for (group, benchmark), of_benchmark in points.groupby(["group", "benchmark"]):
        about = {"benchmark": benchmark, "group": group}
        seeds = _pooled(of_benchmark, ["dataset", "model", "prompt_weight"])
        if seeds is not None:
            rows.append(about | {"source": SEED_DRAWN} | _spread(*seeds, both=True))
        bases = _pooled(_changes(of_benchmark), ["dataset", "prompt_weight"])
        if bases is not None:
            rows.append(about | {"source": BASE_DRAWN} | _spread(*bases, both=False))
        errors = [row.found.se * 100 / (row.found.scale or 1.0) for row in comparisons if _counts(row, str(benchmark))]
        if errors:
            sd = float(np.median(errors))
            floor = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * sd if sd > SAME_POINTS else np.nan
            rows.append(about | {"source": ITEMS_DRAWN, "df": np.nan, "sd": sd, "floor": floor})
    return pd.DataFrame(rows, columns=list(NOISE_COLUMNS))


def _counts(row: WeightComparison, benchmark: str) -> bool:
    """Whether the error of a comparison is that of its documents alone."""
    return row.found.benchmark == benchmark and row.found.over is None and bool(row.found.scale)


def _changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Each base model's change from its own score at the dataset's smallest weight, mean over its seeds."""
    means = rows.groupby(["dataset", "model", "prompt_weight"])["points"].mean().reset_index()
    is_first = means["prompt_weight"] == means.groupby("dataset")["prompt_weight"].transform("min")
    first = means[is_first].set_index(["dataset", "model"])["points"]
    keys = pd.MultiIndex.from_frame(means[["dataset", "model"]])
    changed = means.assign(points=means["points"].to_numpy() - first.reindex(keys).to_numpy())
    return changed[~is_first & changed["points"].notna()]


def _pooled(rows: pd.DataFrame, alike: Sequence[str]) -> tuple[float, int] | None:
    """Sum of squares within groups of rows that are alike, and its degrees of freedom; None where there are none."""
    if rows.empty:
        return None
    within = rows.groupby(list(alike))["points"]
    df = int((within.size() - 1).sum())
    squares = float(((rows["points"] - within.transform("mean")) ** 2).sum())
    return (squares, df) if df else None


def _spread(squares: float, df: int, *, both: bool) -> dict[str, float]:
    """A standard deviation with its interval, and the floor of a difference in which it counts once or twice.

    Where nothing differs at all there is no floor and no upper end: a standard deviation of 0 is no certainty.
    """
    high, low = stats.chi2.ppf(TAILS, df)
    sd = (squares / df) ** 0.5
    if sd < SAME_POINTS:
        return {"df": df, "sd": 0.0, "sd_low": 0.0, "sd_high": np.nan, "floor": np.nan}
    floor = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * sd * (2**0.5 if both else 1.0)
    return {
        "df": df, "sd": sd, "sd_low": float((squares / low) ** 0.5), "sd_high": float((squares / high) ** 0.5),
        "floor": floor,
    }  # fmt: skip
