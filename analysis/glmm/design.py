"""What the beta mixed model is fitted to: scores inside (0, 1), the polynomial of the weight, and the rows' groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.arrays import Array, Index
from analysis.scores.frame import weight_scale
from plw.errors import UserError

RAW, ORTHOGONAL = "raw", "orthogonal"
POLYNOMIALS = (RAW, ORTHOGONAL)
TERMS = 3
"""Of a parabola: intercept, w_p and w_p^2."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """The rows of one fit.

    ``score_N`` lies inside (0, 1); ``w_N`` is PLW ** 0.30103. ``basis_CC`` makes the columns of the polynomial from
    (1, w, w^2): ``columns_NC = powers_NC @ basis_CC``, so ``basis_CC @ coefficients`` are those of the raw polynomial.
    ``benchmark_N``, ``model_N`` and ``seed_N`` number the labels in ``benchmarks``, ``models`` and ``seeds``; a fit
    without a random intercept per seed has ``seed_N`` None.
    """

    score_N: Array
    w_N: Array
    polynomial: str
    basis_CC: Array
    benchmark_N: Index
    model_N: Index
    seed_N: Index | None
    benchmarks: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.score_N)

    @property
    def columns_NC(self) -> Array:
        """Intercept and the polynomial's two terms, in the basis of the fit."""
        return powers(self.w_N) @ self.basis_CC


def make_design(
    score_N: Sequence[float] | Array,
    plw_N: Sequence[float] | Array,
    benchmark_N: Sequence[Any],
    model_N: Sequence[Any],
    *,
    polynomial: str = RAW,
    seed_N: Sequence[Any] | None = None,
) -> Design:
    """Check the rows and bring them into the form of the likelihood.

    Scores are squeezed by ``squeeze`` only where a 0 or a 1 occurs among them, and then all of them: a set that lies
    inside (0, 1) is fitted as it is.

    Raises:
        UserError: an unknown polynomial, columns of unequal length, a value that is not finite or outside 0 to 1,
            fewer than two benchmarks or three weights, too few rows, or scores that are all the same.
    """
    if polynomial not in POLYNOMIALS:
        raise UserError(f"polynomial is {polynomial!r}; allowed are {' and '.join(POLYNOMIALS)}")
    score, plw = np.asarray(score_N, dtype=np.float64), np.asarray(plw_N, dtype=np.float64)
    lengths = {len(score), len(plw), len(benchmark_N), len(model_N), len(score if seed_N is None else seed_N)}
    if len(lengths) > 1:
        raise UserError(f"the columns have {' and '.join(str(length) for length in sorted(lengths))} rows")
    _check_unit("score", score)
    _check_unit("PLW", plw)
    benchmark, benchmarks = _codes(benchmark_N)
    model, models = _codes(model_N)
    seed, seeds = (None, ()) if seed_N is None else _codes(seed_N)
    _check_spread(score, plw, benchmarks)
    squeezed = bool(score.min() <= 0 or score.max() >= 1)
    w = weight_scale(plw)
    return Design(
        score_N=squeeze(score) if squeezed else score,
        w_N=w,
        polynomial=polynomial,
        basis_CC=orthogonal_basis(w) if polynomial == ORTHOGONAL else np.eye(TERMS),
        benchmark_N=benchmark,
        model_N=model,
        seed_N=seed,
        benchmarks=benchmarks,
        models=models,
        seeds=seeds,
    )


def squeeze(score_N: Array) -> Array:
    """(y (n - 1) + 0.5) / n: brings 0 and 1 inside the open interval of a beta distribution (a choice of ours)."""
    return (score_N * (len(score_N) - 1) + 0.5) / len(score_N)


def powers(w_N: Array) -> Array:
    """[N, 3]: the columns 1, w and w^2."""
    return np.stack([np.ones_like(w_N), w_N, w_N**2], axis=1)


def orthogonal_basis(w_N: Array) -> Array:
    """The basis of R's ``poly(w, 2)`` with an intercept: columns of unit length, leading terms positive."""
    mean = w_N.mean()
    first_N = w_N - mean
    norm = float(first_N @ first_N)
    slope = float(first_N**2 @ w_N) / norm
    second_N = first_N * (w_N - slope) - norm / len(w_N)
    one, two = np.sqrt(norm), np.sqrt(float(second_N @ second_N))
    return np.array([
        [1.0, -mean / one, (mean * slope - norm / len(w_N)) / two],
        [0.0, 1 / one, -(mean + slope) / two],
        [0.0, 0.0, 1 / two],
    ])  # fmt: skip


def _check_unit(what: str, value_N: Array) -> None:
    if not len(value_N):
        raise UserError("there is no row")
    bad = np.flatnonzero(~((value_N >= 0) & (value_N <= 1)))
    if len(bad):
        raise UserError(f"row {bad[0] + 1}: {what} is {value_N[bad[0]]:g}; allowed is 0 to 1")


def _check_spread(score_N: Array, plw_N: Array, benchmarks: tuple[str, ...]) -> None:
    weights = len(np.unique(plw_N))
    if len(benchmarks) < 2:
        raise UserError(f"one benchmark only ({benchmarks[0]}); slopes that differ by benchmark need at least two")
    if weights < TERMS:
        found = "one weight only" if weights == 1 else f"only {weights} weights"
        raise UserError(f"{found} (PLW {', '.join(f'{plw:g}' for plw in np.unique(plw_N))}); a parabola needs three")
    if score_N.min() == score_N.max():
        raise UserError(f"every score is {score_N[0]:g}; there is nothing to explain")
    if len(score_N) <= 2 * TERMS:
        raise UserError(f"{len(score_N)} rows are too few for the model's parameters")


def _codes(label_N: Sequence[Any]) -> tuple[Index, tuple[str, ...]]:
    """Numbers of the labels in sorted order, and the labels."""
    labels, code_N = np.unique(np.asarray([str(label) for label in label_N]), return_inverse=True)
    return code_N.astype(np.intp), tuple(str(label) for label in labels)
