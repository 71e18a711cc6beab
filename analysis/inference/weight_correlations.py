"""Do the best weights go with what the data or the base model are like? Rank correlations, by permutation.

A study has few datasets and few base models, so few points: with three datasets no correlation can have a p below 1/3.
What a p can be at the least is said beside it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis.arrays import Array, Index
from analysis.inference.weight_ratio import by_ratio
from analysis.published.wit_grid import WeightGrid, best_pairs
from plw.progress import count

MIN_POINTS = 3
ALL_ORDERS = 5040
"""So many orders (of seven points) are gone through one by one; of more a sample is drawn."""
CORRELATION_DRAWS, CORRELATION_SEED = 4999, 0
OTHER_LEVEL = {"dataset": "model", "model": "dataset"}
NAME_OF_LEVEL = {"dataset": "dataset", "model": "base model"}


@dataclass(frozen=True, kw_only=True)
class Covariate:
    """A number that each dataset, or each base model, has."""

    name: str
    level: str
    """``dataset`` or ``model``."""
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's, the mean over the levels of the other factor."""

    covariate: str
    level: str
    target: str
    """``λ_p``, ``λ_r`` or ``share of the prompt``, each of the best cell or ratio of a panel."""
    rho: float
    points: int
    """Datasets or base models that have the covariate."""
    slices: int
    """Base models (or datasets) over which the correlation is averaged."""
    p: float
    smallest_p: float
    """The least that this number of points can give."""


@dataclass(frozen=True, kw_only=True)
class Correlations:
    """What could be computed, and a line for each covariate that could not."""

    rows: tuple[RankCorrelation, ...]
    notes: tuple[str, ...]


def best_weight_correlations(grid: WeightGrid, covariates: tuple[Covariate, ...]) -> Correlations:
    """Correlate each panel's best weights with every covariate.

    A covariate belongs to whole datasets (or base models), so its values are exchanged among these, not among panels.
    """
    targets = best_weights(grid)
    rows: list[RankCorrelation] = []
    notes: list[str] = []
    for covariate in covariates:
        there = [name for name in targets.index.unique(covariate.level) if name in covariate.values]
        value_N = np.array([covariate.values[name] for name in there], dtype=float)
        if len(there) < MIN_POINTS:
            known = count(len(there), NAME_OF_LEVEL[covariate.level])
            notes.append(f"{covariate.name}: known of {known}; a rank correlation needs {MIN_POINTS}.")
        elif np.ptp(value_N) == 0:
            notes.append(f"{covariate.name}: the same for every {NAME_OF_LEVEL[covariate.level]}.")
        else:
            found = list(_correlations(covariate, targets, there, value_N))
            rows += found
            if not found:
                name = NAME_OF_LEVEL[covariate.level]
                notes.append(f"{covariate.name}: the best weights are the same for every {name}.")
    return Correlations(rows=tuple(rows), notes=tuple(notes))


def best_weights(grid: WeightGrid) -> pd.DataFrame:
    """λ_p and λ_r of the best cell of each panel, and the prompt's share of the best ratio (mean of its cells)."""
    best = pd.DataFrame(list(best_pairs(grid.average).values()), index=grid.average.index, columns=["λ_p", "λ_r"])
    return best.assign(**{"share of the prompt": by_ratio(grid.average).idxmax(axis=1).astype(float)})


def _correlations(
    covariate: Covariate, targets: pd.DataFrame, there: list[str], value_N: Array
) -> Iterator[RankCorrelation]:
    order_ZN = _orders(len(there))
    for target in targets:
        table = targets[target].unstack(OTHER_LEVEL[covariate.level]).reindex(there)
        table = table.loc[:, table.notna().all() & (table.nunique() > 1)]
        if table.empty:
            continue
        rank_NM = np.stack([_standard(table[name].to_numpy(dtype=float)) for name in table], axis=1)
        of_value_N = _standard(value_N)
        rho_Z = (of_value_N[order_ZN] @ rank_NM).mean(axis=1)
        reached = np.abs(rho_Z) >= abs(rho_Z[0]) - 1e-9
        yield RankCorrelation(
            covariate=covariate.name, level=covariate.level, target=str(target), rho=float(rho_Z[0]), points=len(there),
            slices=rank_NM.shape[1], p=float(reached.mean()), smallest_p=_smallest(value_N, len(order_ZN)),
        )  # fmt: skip


def _standard(value_N: Array) -> Array:
    """Ranks with mean 0 and length 1: products of two of them are Spearman's correlation."""
    rank_N = rankdata(value_N)
    centred_N = rank_N - rank_N.mean()
    made_N: Array = centred_N / np.linalg.norm(centred_N)
    return made_N


def _orders(points: int) -> Index:
    """Orders of the points, the one that was found first: all of them, or that one and random ones."""
    if factorial(points) <= ALL_ORDERS:
        return np.array(list(permutations(range(points))), dtype=np.intp)
    generator = np.random.default_rng(CORRELATION_SEED)
    drawn = np.tile(np.arange(points, dtype=np.intp), (CORRELATION_DRAWS + 1, 1))
    drawn[1:] = generator.permuted(drawn[1:], axis=1)
    return drawn


def _smallest(value_N: Array, orders: int) -> float:
    """Two-sided: the order of a correlation of 1 and its reverse; more orders where values are tied."""
    ties = np.prod([factorial(int(count)) for count in np.unique(value_N, return_counts=True)[1]])
    return float(min(1.0, max(2 * ties / factorial(len(value_N)), 1 / orders)))
