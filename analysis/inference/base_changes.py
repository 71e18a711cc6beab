"""How far each base model's own scores move, where a verdict is of several: what their mean hides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.arrays import Array
from analysis.inference.weight_curve import fit_curve

SAME_WEIGHT = 1e-9
"""On the scale of w_p: what is left is rounding."""


@dataclass(frozen=True, kw_only=True)
class BaseChange:
    """One base model's mean score over the weight; ``change`` is on the score's own range, higher is better."""

    model: str
    change: float | None
    """Of its own parabola, cut at the ends of the range: from the smallest weight to the place that was asked for; None
    where that is beyond its own weights."""
    largest: float
    """Likewise, to the place among its own weights where it is farthest from where it begins."""
    p: float | None
    """Of the base model alone: the test of the curve of its mean over benchmarks (``WeightCurve.p``)."""
    p_holm: float | None = None
    """Corrected over the base models of all groups of the dataset."""
    moved: bool = False


def base_changes(
    score_NG: Array, w_N: Array, base_N: Sequence[str], run_N: Sequence[str], place_w: float, *, tested: bool
) -> list[BaseChange]:
    """One for each base model whose weights determine a curve, in the order of their names.

    Args:
        score_NG: Scores on 0 to 1, one row a cell and one column a benchmark.
        w_N: The cells' weights on the scale of w_p.
        base_N: Base model.
        run_N: Training run: base model and seed together.
        place_w: Where the change is asked for, on the scale of w_p.
        tested: Whether to test each base model alone; else no ``p`` is given.
    """
    found = []
    terms = min(2, len(np.unique(w_N)) - 1)
    for base in sorted(set(base_N)):
        rows = [row for row, name in enumerate(base_N) if name == base]
        own_w = w_N[rows]
        # Of fewer weights than the others a base model's curve would be another.
        if terms < 1 or len(np.unique(own_w)) <= terms or own_w.min() > w_N.min():
            continue
        runs = [run_N[row] for row in rows]
        mean_N = score_NG[rows].mean(axis=1)
        change, largest = _changes(mean_N, own_w, runs, terms, place_w)
        p = _p(mean_N, own_w, runs) if tested else None
        reached = place_w <= own_w.max() + SAME_WEIGHT
        found.append(BaseChange(model=base, change=change if reached else None, largest=largest, p=p))
    return found


def _changes(score_N: Array, w_N: Array, run_N: Sequence[str], terms: int, place_w: float) -> tuple[float, float]:
    """Of the least-squares parabola with a level for each run: at the place, and where it is farthest."""
    run = np.unique(np.asarray(run_N, dtype=str), return_inverse=True)[1]
    level_NC = (run[:, None] == np.arange(run.max() + 1)).astype(float)
    design_NC = np.concatenate([level_NC, np.stack([w_N ** (term + 1) for term in range(terms)], axis=1)], axis=1)
    coefficients = np.linalg.pinv(design_NC) @ score_N
    level, slope_C = coefficients[:-terms].mean(), coefficients[-terms:]
    at_M = np.array([w_N.min(), place_w, *np.linspace(w_N.min(), w_N.max(), 201)])
    score_M = np.clip(level + sum(slope_C[term] * at_M ** (term + 1) for term in range(terms)), 0, 1)
    change_M = score_M - score_M[0]
    return float(change_M[1]), float(change_M[np.abs(change_M).argmax()])


def _p(score_N: Array, w_N: Array, run_N: Sequence[str]) -> float | None:
    curve = fit_curve(score_N, w_N, ["base"] * len(w_N), run_N)
    return curve.p if curve is not None and curve.decides and not curve.still else None
