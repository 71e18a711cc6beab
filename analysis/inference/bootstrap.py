"""Bootstrap intervals of the aggregates, and of what a weight gains over another on the same benchmarks.

Scores of one benchmark, or of one base model, go together: a hard benchmark is hard at every weight. So whole
benchmarks and whole base models are drawn with replacement, independently of each other, and a score counts as
often as its benchmark and its model were drawn together (Owen 2007, "The pigeonhole bootstrap", Annals of Applied
Statistics 1(2); rather too wide than too narrow). Seeds are drawn in the same way. All weights of a draw share its
benchmarks, models and seeds, so that gains are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.levels import TAILS
from analysis.scores.aggregates import AGGREGATE_COLUMNS, complete_rows
from analysis.scores.frame import TidyFrame

BOOTSTRAP_DRAWS = 2000
FEW_SEEDS = 8
STAR_UNITS = 6
"""Of fewer benchmarks, or base models, that all rise, an interval by draws of them always excludes 0, which chance
alone does in more than 5 % of studies: 2 * 0.5 ** 5 is above, 2 * 0.5 ** 6 below. What chance in a training does to all
benchmarks of a cell alike is seen between base models only (``scripts/coverage_gains.py``)."""
UNITS = ("benchmarks x models", "benchmarks")
"""What is drawn. With ``benchmarks`` the base models and seeds at hand are taken as the only ones of interest."""


@dataclass(frozen=True, kw_only=True)
class Cube:
    """One dataset's scores of one kind over its complete cells."""

    weight_W: NDArray[np.float64]
    score_WGAS: NDArray[np.float64]
    """weight x benchmark x base model x seed; NaN where there is none."""


def score_cube(complete: pd.DataFrame, dataset: str, kind: str) -> Cube:
    """The scores behind one aggregate of one dataset; ``complete`` is from ``complete_rows``."""
    rows = complete[complete["dataset"] == dataset]
    axes = [rows[name].astype("category") for name in ("prompt_weight", "benchmark", "model", "seed")]
    score_WGAS = np.full([len(axis.cat.categories) for axis in axes], np.nan)
    score_WGAS[tuple(axis.cat.codes.to_numpy() for axis in axes)] = rows[AGGREGATE_COLUMNS[kind]].to_numpy(dtype=float)
    return Cube(weight_W=axes[0].cat.categories.to_numpy(dtype=float), score_WGAS=score_WGAS)


def bootstrap_aggregates(
    frame: TidyFrame,
    *,
    references: Sequence[float] = (0.0, 1.0),
    unit: str = UNITS[0],
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Percentile intervals of both aggregates at every weight, and of their gains over the reference weights.

    The relative scale stays the one of all scores; it is not scaled anew in each draw.

    Args:
        frame: the tidy frame.
        references: prompt weights that the others are compared with.
        unit: one of ``UNITS``.
        draws: bootstrap samples; the same seed gives the same ones.
        seed: of the draws.

    Returns:
        One row per dataset, weight, kind and quantity: ``dataset``, ``prompt_weight``, ``kind`` (``simple``,
        ``relative``), ``quantity`` (``aggregate``, ``gain over PLW 0``, ...), ``unit``, ``estimate``, ``low``,
        ``high``, ``benchmarks`` and ``base_models`` (how many it is of). Bounds are NaN where there are fewer than two
        benchmarks. A dataset without a complete cell has no row.
    """
    rows, complete = [], complete_rows(frame)
    for dataset in sorted(set(complete["dataset"])):
        for kind in AGGREGATE_COLUMNS:
            cube = score_cube(complete, dataset, kind)
            counts = _counts(cube.score_WGAS.shape[1:], unit, draws, np.random.default_rng(seed))
            for name, score_WGAS in _quantities(cube, references).items():
                known_W = np.isfinite(score_WGAS).any(axis=(1, 2, 3))
                for place in np.flatnonzero(known_W):
                    estimate = float(np.nanmean(score_WGAS[place]))
                    low, high = _interval(score_WGAS[place], counts)
                    known = int(np.isfinite(score_WGAS[place]).any(axis=(1, 2)).sum())
                    bases = int(np.isfinite(score_WGAS[place]).any(axis=(0, 2)).sum())
                    found = (kind, name, unit, estimate, low, high, known, bases)
                    rows.append((dataset, float(cube.weight_W[place]), *found))
    measured = ["kind", "quantity", "unit", "estimate", "low", "high", "benchmarks", "base_models"]
    columns = ["dataset", "prompt_weight", *measured]
    return pd.DataFrame(rows, columns=columns)


def _quantities(cube: Cube, references: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    """Name -> scores, or their differences from the same benchmark, model and seed at a reference weight."""
    found = {"aggregate": cube.score_WGAS}
    for reference in references:
        at = np.flatnonzero(cube.weight_W == reference)
        if len(at):
            gain_WGAS = cube.score_WGAS - cube.score_WGAS[at[0]]
            gain_WGAS[at[0]] = np.nan
            found[f"gain over PLW {reference:g}"] = gain_WGAS
    return found


def _counts(
    sizes: tuple[int, ...], unit: str, draws: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], ...]:
    """How often each benchmark, model and seed stands in each draw: arrays [draws, size]."""
    if unit not in UNITS:
        raise ValueError(f"unit must be one of {UNITS}, found {unit!r}")
    drawn = (True, unit == UNITS[0], unit == UNITS[0])
    return tuple(
        generator.multinomial(size, np.full(size, 1 / size), size=draws) if draw else np.ones((draws, size), dtype=int)
        for size, draw in zip(sizes, drawn, strict=True)
    )


def _interval(score_GAS: NDArray[np.float64], counts: tuple[NDArray[np.int64], ...]) -> tuple[float, float]:
    if np.isfinite(score_GAS).any(axis=(1, 2)).sum() < 2:
        return float("nan"), float("nan")
    known_GAS = np.isfinite(score_GAS)
    sums_Z, sizes_Z = (
        _drawn_sums(values, counts) for values in (np.where(known_GAS, score_GAS, 0.0), known_GAS.astype(float))
    )
    mean_Z = sums_Z[sizes_Z > 0] / sizes_Z[sizes_Z > 0]
    low, high = np.quantile(mean_Z, TAILS)
    return float(low), float(high)


def _drawn_sums(value_GAS: NDArray[np.float64], counts: tuple[NDArray[np.int64], ...]) -> NDArray[np.float64]:
    """[Z]: the sum over each draw of the values times how often they stand in it."""
    groups_ZG, models_ZA, seeds_ZS = counts
    if value_GAS.shape[2] <= FEW_SEEDS:
        sums_Z: NDArray[np.float64] = np.einsum("rb,rm,rs,bms->r", *counts, value_GAS, optimize=True)
        return sums_Z
    # Over many seeds one product of matrices is many times faster than what einsum finds.
    over_seeds_ZGA = (seeds_ZS @ value_GAS.reshape(-1, value_GAS.shape[2]).T).reshape(-1, *value_GAS.shape[:2])
    weighted_Z: NDArray[np.float64] = np.einsum("zg,za,zga->z", groups_ZG, models_ZA, over_seeds_ZGA, optimize=True)
    return weighted_Z
