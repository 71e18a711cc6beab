"""What the published grid of weighted instruction tuning supports, from its own numbers.

Gains are percent of the paper's average over the usual loss of the same base model and dataset. The printed average is
the sum of five benchmarks divided by four; a ratio of two averages does not depend on that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import gammaln

from analysis.levels import CONFIDENCE, TAILS
from analysis.published.wit_grid import (
    AVERAGE,
    BENCHMARKS,
    CONVENTIONAL,
    LossWeights,
    WeightGrid,
    best_fixed_pair,
    best_pairs,
    pairs,
    panels,
    printed_gain,
    prompt_share,
    published_grid,
    read_wit_grid,
    relative_gain,
    true_average,
)

GEMMA_ALPACA = ("Alpaca-Cleaned", "Gemma-2-2B")
PIGEONHOLE_DRAWS, PIGEONHOLE_SEED = 10_000, 20260101
MIN_DRAWN = 3
"""Datasets, or base models, from which an interval over others is made."""


@dataclass(frozen=True, kw_only=True)
class FixedCell:
    """One pair of weights for every model and dataset. Gains in percent."""

    prompt_weight: float
    response_weight: float
    mean: float
    low: float
    """95 % interval of the mean over other models and datasets, drawn anew; the choice of the pair is not in it."""
    high: float
    median: float
    wins: int
    """Panels in which it is above the usual loss."""


@dataclass(frozen=True, kw_only=True)
class MagnitudeSlope:
    """What doubling both weights does to the gain, in percentage points; over the models' mean slopes."""

    slope: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class WitFindings:
    """The answers. Shares, gains and scatters are percentages as numbers."""

    average_divisor: float
    """Sum of the five benchmarks by the printed average; 5 would be their mean."""
    best_gain_mean: float
    best_gain_median: float
    """Of the best of 35 cells in each panel, chosen and measured on the same numbers."""
    gemma_alpaca_gain: float
    winners_at_zero_prompt: int
    winners: int
    best_fixed: FixedCell
    leave_one_model_out: float
    leave_one_dataset_out: float
    leave_one_benchmark_out: float
    """Mean gain of the fixed cell that is chosen without the model, dataset or benchmark that it is measured on."""
    ifeval_share: float
    """Of the summed gains of the best cells."""
    equal_ratio_scatter: float
    """Relative standard deviation of cells of equal λ_p / λ_r in a panel, free of the bias of few; mean over groups."""
    magnitude: MagnitudeSlope

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def wit_findings() -> WitFindings:
    """Every finding, from the embedded copy of the published grid."""
    grid = read_wit_grid()
    printed = panels(grid, AVERAGE)
    gain = printed_gain()
    best, winners = gain.max(axis=1), best_pairs(gain)
    return WitFindings(
        average_divisor=float((true_average(grid) * len(BENCHMARKS) / printed).to_numpy().mean()),
        best_gain_mean=float(best.mean()),
        best_gain_median=float(best.median()),
        gemma_alpaca_gain=float(best[GEMMA_ALPACA]),
        winners_at_zero_prompt=sum(prompt_weight == 0 for prompt_weight, _ in winners.values()),
        winners=len(winners),
        best_fixed=fixed_cell(gain, best_fixed_pair(gain)),
        leave_one_model_out=float(left_out_gains(gain, "model").mean()),
        leave_one_dataset_out=float(left_out_gains(gain, "dataset").mean()),
        leave_one_benchmark_out=float(np.mean([row["gain"] for row in left_out_benchmarks(grid)])),
        ifeval_share=benchmark_shares(published_grid())["IFEval"],
        equal_ratio_scatter=float(equal_ratio_scatter(printed).mean()),
        magnitude=magnitude_slope(gain),
    )


def fixed_cell(gain: pd.DataFrame, weights: LossWeights) -> FixedCell:
    """One pair of weights in every panel; ``gain`` as ``relative_gain`` makes it."""
    of_cell = gain[weights]
    low, high = mean_interval(of_cell)
    return FixedCell(
        prompt_weight=weights[0],
        response_weight=weights[1],
        mean=float(of_cell.mean()),
        low=low,
        high=high,
        median=float(of_cell.median()),
        wins=int((of_cell > 0).sum()),
    )


def mean_interval(value_P: "pd.Series[float]") -> tuple[float, float]:
    """95 % interval of the panels' mean, datasets and models both a sample (Owen 2007: both drawn anew).

    A panel that is not there does not count. NaN where there are fewer than three of both: drawing two things anew says
    nothing of a third.
    """
    generator = np.random.default_rng(PIGEONHOLE_SEED)
    value_DM = value_P.unstack().to_numpy()
    rows, columns = value_DM.shape
    if max(rows, columns) < MIN_DRAWN:
        return np.nan, np.nan
    dataset_RD = generator.integers(rows, size=(PIGEONHOLE_DRAWS, rows))
    model_RM = generator.integers(columns, size=(PIGEONHOLE_DRAWS, columns))
    drawn_RDM = value_DM[dataset_RD[:, :, None], model_RM[:, None, :]]
    there_R = np.isfinite(drawn_RDM).any(axis=(1, 2))
    mean_R = np.nanmean(drawn_RDM[there_R], axis=(1, 2))
    low, high = np.quantile(mean_R, TAILS)
    return float(low), float(high)


def left_out_gains(gain: pd.DataFrame, level: str) -> pd.Series:
    """Gain in each panel of the fixed cell that is best over the panels of other models (or datasets)."""
    names = gain.index.get_level_values(level)
    parts = [gain.loc[names == name, best_fixed_pair(gain[names != name])].rename("gain") for name in names.unique()]
    made: pd.Series[float] = pd.concat(parts)
    return made


def left_out_benchmarks(grid: pd.DataFrame, benchmarks: Sequence[str] = BENCHMARKS) -> Iterator[dict[str, Any]]:
    """Per benchmark: the fixed cell that is best on the mean of the others, and its gain on this one.

    Nothing of one benchmark alone.
    """
    for name in benchmarks if len(benchmarks) > 1 else ():
        others: pd.DataFrame = sum(panels(grid, other) for other in benchmarks if other != name)  # type: ignore[assignment]
        weights = best_fixed_pair(relative_gain(others))
        own = panels(grid, name)
        yield {
            "benchmark": name,
            "prompt_weight": weights[0],
            "response_weight": weights[1],
            "gain": float(relative_gain(own)[weights].mean()),
            "points": float((own[weights] - own[CONVENTIONAL]).mean()),
        }


def benchmark_shares(grid: WeightGrid) -> dict[str, float]:
    """Percent of the summed gains of the panels' best cells (by the average) that each benchmark brings."""
    winners = best_pairs(grid.average)
    points = {}
    for name in grid.benchmarks:
        scores = panels(grid.scores, name)
        columns = pairs(scores)
        gain_PC = scores.to_numpy() - scores.to_numpy()[:, [columns.index(CONVENTIONAL)]]
        own_P = [columns.index(pair) for pair in winners.values()]
        points[name] = float(gain_PC[np.arange(len(own_P)), own_P].sum())
    total = sum(points.values())
    return {name: 100 * value / total if total else np.nan for name, value in points.items()}


def equal_ratio_scatter(scores: pd.DataFrame) -> pd.Series:
    """Relative standard deviation, in percent, of the cells of a panel that have one ratio; groups of two or more.

    AdamW does not feel the scale of a loss, so such cells are near-replicates. The standard deviation of few values is
    too small on average; it is divided by c4, which is what it is too small by for normal values.
    """
    share_C = prompt_share(scores)
    groups = {}
    for share in np.unique(share_C):
        cells = scores.loc[:, share_C == share]
        if (size := cells.shape[1]) > 1:
            c4 = np.sqrt(2 / (size - 1)) * np.exp(gammaln(size / 2) - gammaln((size - 1) / 2))
            groups[share] = 100 * cells.std(axis=1, ddof=1) / c4 / cells.mean(axis=1)
    made: pd.Series[float] = pd.concat(groups, names=["share"])
    return made


def magnitude_slope(gain: pd.DataFrame) -> MagnitudeSlope:
    """Whether the magnitude matters beside the ratio: slope of the gain in log2(λ_p + λ_r) within equal ratios.

    A slope for each panel; the models' means are the sample (t with as many degrees of freedom as models, less one).
    """
    share_C = prompt_share(gain)
    size_C = np.log2([prompt + response for prompt, response in pairs(gain)])
    several_C = np.array([(share_C == share).sum() > 1 for share in share_C])
    x = pd.Series(size_C[several_C]).groupby(share_C[several_C]).transform(lambda part: part - part.mean()).to_numpy()
    y_PC = gain.to_numpy()[:, several_C]
    slopes = pd.Series((y_PC @ x) / (x @ x), index=gain.index).groupby("model").mean()
    test = stats.ttest_1samp(slopes, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return MagnitudeSlope(
        slope=float(slopes.mean()), low=float(interval.low), high=float(interval.high), p=float(test.pvalue)
    )
