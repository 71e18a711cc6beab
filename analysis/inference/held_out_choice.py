"""What a choice of weights is worth where it was not made: the best of many, chosen without what it is measured on.

The best of 35 noisy numbers is high by chance alone (the winner's curse). Here the pair is chosen on some panels or
benchmarks and measured on the others, by five rules from one pair for all to one for each panel.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.arrays import Array
from analysis.published.wit_findings import left_out_gains, mean_interval
from analysis.published.wit_grid import CONVENTIONAL, WeightGrid, best_fixed_pair, pairs, panels

ITSELF = "nothing: measured where it was chosen"


@dataclass(frozen=True, kw_only=True)
class HeldOutGain:
    """One rule and one way of leaving out. Gains in percent of the usual loss's average."""

    rule: str
    left_out: str
    mean: float
    low: float
    """95 % interval over other base models and datasets, drawn anew."""
    high: float
    median: float
    wins: int
    panels: int

    @property
    def measured_elsewhere(self) -> bool:
        """Whether the choice was not made on what it is measured on."""
        return self.left_out != ITSELF


def held_out_choices(grid: WeightGrid) -> list[HeldOutGain]:
    """Every rule that the grid allows: several models, datasets or benchmarks are needed to leave one out."""
    return [_summary(rule, left_out, gain_P) for rule, left_out, gain_P in _choices(grid)]


def _choices(grid: WeightGrid) -> Iterator[tuple[str, str, "pd.Series[float]"]]:
    gain = grid.gain
    several = {level: gain.index.get_level_values(level).nunique() > 1 for level in ("model", "dataset")}
    one, own = "one pair for all", "a pair for each panel"
    fixed = best_fixed_pair(gain)
    yield one, ITSELF, gain[fixed]
    for level in ("model", "dataset"):
        if several[level]:
            yield one, level, left_out_gains(gain, level).reindex(gain.index)
    if len(grid.benchmarks) > 1:
        yield one, "benchmark", _benchmark_left_out(grid, lambda rest: np.full(len(rest), _best_column(rest)))
    for level, other in (("dataset", "model"), ("model", "dataset")):
        if several["model"] and several["dataset"]:
            parts = [left_out_gains(part, other) for _, part in gain.groupby(level=level, sort=False)]
            yield f"a pair for each {level}", other, pd.concat(parts).reindex(gain.index)
    yield own, ITSELF, gain.max(axis=1)
    if len(grid.benchmarks) > 1:
        yield own, "benchmark", _benchmark_left_out(grid, lambda rest: rest.to_numpy().argmax(axis=1))


def _best_column(average: pd.DataFrame) -> int:
    relative = average.div(average[CONVENTIONAL], axis=0)
    return int(relative.to_numpy().mean(axis=0).argmax())


def _benchmark_left_out(grid: WeightGrid, choose: Callable[[pd.DataFrame], Array]) -> "pd.Series[float]":
    """Points gained on each benchmark by the pair that the others choose, together, in percent of the average."""
    tables = {name: panels(grid.scores, name) for name in grid.benchmarks}
    usual = pairs(grid.average).index(CONVENTIONAL)
    gained_P = np.zeros(len(grid.average))
    base_P = np.zeros(len(grid.average))
    for name, own in tables.items():
        rest: pd.DataFrame = sum(table for other, table in tables.items() if other != name)  # type: ignore[assignment]
        score_PC = own.to_numpy(dtype=float)
        gained_P += score_PC[np.arange(len(own)), choose(rest).astype(int)] - score_PC[:, usual]
        base_P += score_PC[:, usual]
    return pd.Series(100 * gained_P / base_P, index=grid.average.index)


def _summary(rule: str, left_out: str, gain_P: "pd.Series[float]") -> HeldOutGain:
    low, high = mean_interval(gain_P)
    return HeldOutGain(
        rule=rule, left_out=left_out, mean=float(gain_P.mean()), low=low, high=high, median=float(gain_P.median()),
        wins=int((gain_P > 0).sum()), panels=len(gain_P),
    )  # fmt: skip
