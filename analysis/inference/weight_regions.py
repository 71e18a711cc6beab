"""Which pairs of weights are not shown to be below the best of their panel, and the error that this rests on.

The best of many noisy numbers is high by chance, so cells that lie close below it may be as good. Multiple comparisons
with the best (Hsu 1984) keep all of them: the region of a panel holds its truly best pair in 95 % of studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from analysis.arrays import Array
from analysis.levels import CONFIDENCE
from analysis.published.wit_grid import (
    CONVENTIONAL,
    PANEL,
    WEIGHT_PAIR,
    LossWeights,
    WeightGrid,
    on_responses,
    pairs,
    prompt_share,
)
from plw.errors import UserError

COMPARISON_DRAWS, COMPARISON_SEED = 40_000, 0


@dataclass(frozen=True, kw_only=True)
class CellError:
    """What a repetition of one cell would differ by, in percent of the usual loss's average in the panel."""

    deviation_P: "pd.Series[float]"
    """Standard deviation, by panel."""
    df: float
    """Degrees of freedom that each of them rests on; infinite where the benchmarks' own errors are taken."""
    source: str
    """What they are from, in words."""


@dataclass(frozen=True, kw_only=True)
class PanelRegion:
    """The pairs of one panel that are not shown to be below its best. Gains in percent over the usual loss."""

    dataset: str
    model: str
    best: LossWeights
    best_gain: float
    deviation: float
    margin: float
    """A cell this far below the best, or farther, is shown to be below it."""
    good: tuple[LossWeights, ...]
    looked_at: tuple[LossWeights, ...]

    def holds(self, weights: LossWeights) -> bool | None:
        """Whether a pair is in the region; None where the grid has no such pair."""
        return weights in self.good if weights in self.looked_at else None


def cell_error(grid: WeightGrid) -> CellError:
    """The error of a cell: over seeds where there are several, else over cells of equal ratio or over items.

    Cells of equal λ_p / λ_r repeat one training where the scale of the loss does not matter; where it does, their
    scatter is too large and the regions are too wide. Where rounding is all that tells such trainings apart, their
    scatter is too small: the larger one counts, of it and of the benchmarks' errors over items. Cells with λ_r = 0 do
    not count.

    Raises:
        UserError: none of the three is there.
    """
    if (found := _over_seeds(grid)) is not None:
        return found
    known = [found for found in (_over_equal_ratios(grid), _over_items(grid)) if found is not None]
    if not known:
        raise UserError(
            "the error of a cell is not known: there are no cells of equal ratio, no second seed and no standard errors"
        )
    return max(known, key=lambda error: float(error.deviation_P.median()))


def _over_seeds(grid: WeightGrid) -> CellError | None:
    if grid.of_seed is None:
        return None
    table = on_responses(grid.of_seed)
    seeds = table.groupby(level=PANEL).size()
    variance_P = table.groupby(level=PANEL).var(ddof=1).mean(axis=1) / seeds
    if variance_P.isna().any():
        return None
    df = float(table.shape[1] * (seeds.min() - 1))
    return _relative(grid, np.sqrt(variance_P), df, f"its spread over seeds ({seeds.min()} a cell)")


def _over_equal_ratios(grid: WeightGrid) -> CellError | None:
    average = on_responses(grid.average)
    share_C = prompt_share(average)
    several = [average.loc[:, share_C == share] for share in np.unique(share_C) if (share_C == share).sum() > 1]
    if not several:
        return None
    df = float(sum(cells.shape[1] - 1 for cells in several))
    squares_P = sum((cells.sub(cells.mean(axis=1), axis=0) ** 2).sum(axis=1) for cells in several)
    return _relative(grid, np.sqrt(squares_P / df), df, "the scatter of cells of equal ratio in the panel")


def _over_items(grid: WeightGrid) -> CellError | None:
    if grid.item_error is None:
        return None
    error_P = on_responses(grid.item_error).mean(axis=1)
    return _relative(grid, error_P, np.inf, "the benchmarks' own standard errors over items, as if not paired")


def _relative(grid: WeightGrid, deviation_P: "pd.Series[float]", df: float, source: str) -> CellError:
    return CellError(deviation_P=100 * deviation_P / grid.average[CONVENTIONAL], df=df, source=source)


def panel_regions(grid: WeightGrid) -> tuple[list[PanelRegion], CellError]:
    """The region of every panel, and the error that it rests on.

    Raises:
        UserError: no error is known; see ``cell_error``.
    """
    error, gain = cell_error(grid), grid.gain
    reach = comparison_quantile(gain.shape[1], error.df) * np.sqrt(2)
    columns = pairs(gain)
    found = []
    for (dataset, model), deviation in zip(gain.index.to_list(), error.deviation_P[gain.index], strict=True):
        own_C = gain.loc[(dataset, model)].to_numpy(dtype=float)
        margin = float(reach * deviation)
        found.append(
            PanelRegion(
                dataset=str(dataset),
                model=str(model),
                best=columns[int(own_C.argmax())],
                best_gain=float(own_C.max()),
                deviation=float(deviation),
                margin=margin,
                good=tuple(pair for pair, value in zip(columns, own_C, strict=True) if value >= own_C.max() - margin),
                looked_at=tuple(columns),
            )
        )
    return found, error


@cache
def comparison_quantile(cells: int, df: float) -> float:
    """One-sided 95 % point of the largest of cells - 1 studentised differences from one cell (Dunnett's), by draws."""
    if cells < 2:
        return 0.0
    generator = np.random.default_rng(COMPARISON_SEED)
    # A cell at a time, so that no array of draws by cells is held.
    own_Z = generator.standard_normal(COMPARISON_DRAWS)
    largest_Z = np.full(COMPARISON_DRAWS, -np.inf)
    for _ in range(cells - 1):
        np.maximum(largest_Z, generator.standard_normal(COMPARISON_DRAWS) - own_Z, out=largest_Z)
    largest_Z /= np.sqrt(2)
    if np.isfinite(df):
        largest_Z /= np.sqrt(generator.chisquare(df, COMPARISON_DRAWS) / df)
    return float(np.quantile(largest_Z, CONFIDENCE))


def good_in(regions: Sequence[PanelRegion]) -> "pd.Series[int]":
    """(λ_p, λ_r) -> in how many panels the pair is in the region, most first."""
    counts: dict[LossWeights, int] = {}
    for region in regions:
        for pair in region.good:
            counts[pair] = counts.get(pair, 0) + 1
    index = pd.MultiIndex.from_tuples(list(counts), names=WEIGHT_PAIR)
    made: pd.Series[int] = pd.Series(list(counts.values()), index=index, dtype=int)
    return made.sort_values(ascending=False, kind="stable")


def in_region(gain: pd.DataFrame, regions: Sequence[PanelRegion]) -> pd.DataFrame:
    """Whether each cell is in its panel's region, laid out as ``gain``."""
    good_PC: Array = np.array([[bool(region.holds(pair)) for pair in pairs(gain)] for region in regions])
    return pd.DataFrame(good_PC, index=gain.index, columns=gain.columns)
