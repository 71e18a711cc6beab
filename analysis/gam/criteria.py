"""How smooth the surface is to be: GCV, REML and ML as functions of two log smoothing parameters, with gradients.

Gaussian errors with unknown variance, taken out of the likelihoods at its optimum (Wood 2011, JRSS B 73(1), and
Wood 2017, section 6). Every matrix here has P rows, so a value costs microseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from analysis.arrays import Array
from analysis.gam.basis import Tensor

METHODS = ("gcv", "reml", "ml")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What the criteria need of the data: P columns, of which the last C are the surface's."""

    gram_PP: Array
    """X'X."""
    product_P: Array
    """X'y."""
    square: float
    """y'y, of the centred score."""
    n: int
    penalty_2P: Array
    """Diagonals of both penalties; 0 for the columns that bear none."""
    tensor: Tensor

    @cached_property
    def free(self) -> int:
        """Columns that bear no penalty."""
        return int((self.penalty_2P.sum(axis=0) == 0).sum())

    @cached_property
    def penalised_P(self) -> NDArray[np.bool_]:
        """Whether a column bears a penalty."""
        return np.asarray(self.penalty_2P.sum(axis=0) > 0)

    @cached_property
    def penalty_constant(self) -> float:
        """What log|S| of the penalised directions is more in mgcv's coordinates than here, at any smoothing."""
        penalty_C = self.tensor.penalty_2C.sum(axis=0)
        value_C = np.linalg.eigvalsh(in_mgcv(np.diag(penalty_C), self.tensor))[self.tensor.free :]
        return float(np.log(value_C).sum() - np.log(penalty_C[penalty_C > 0]).sum())

    @cached_property
    def volume(self) -> float:
        """What log|X'X + S| is less in mgcv's coordinates than here."""
        return 2 * float(np.linalg.slogdet(self.tensor.to_mgcv)[1])

    @cached_property
    def penalised_part(self) -> tuple[Array, float]:
        """X'X of the directions that mgcv's penalties bear on, and what its log determinant is more there than here.

        These directions are orthogonal to the free ones in mgcv's coordinates, which makes them a choice: the free part
        of a penalised column is integrated out with it.
        """
        tensor = self.tensor
        columns, bearing = len(tensor.mean_C), len(tensor.mean_C) - tensor.free
        vectors = np.linalg.eigh(in_mgcv(np.diag(tensor.penalty_2C.sum(axis=0)), tensor))[1][:, tensor.free :]
        direction_CC = np.linalg.solve(tensor.to_mgcv, vectors)
        unit_CC = direction_CC @ np.linalg.inv(direction_CC[:bearing])
        gram_CC = unit_CC.T @ self.gram_PP[-columns:, -columns:] @ unit_CC
        return gram_CC, 2 * float(np.linalg.slogdet(direction_CC[:bearing])[1])


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The penalised least-squares fit at given smoothing parameters."""

    coefficient_P: Array
    inverse_PP: Array
    """(X'X + S)^-1; times the scale it is the coefficients' posterior covariance."""
    penalty_2P: Array
    """Both penalties times their smoothing parameters."""
    log_determinant: float
    """log|X'X + S|."""
    deviance: float
    """Residual sum of squares."""
    edf: float
    """tr((X'X + S)^-1 X'X)."""


def in_mgcv(form_CC: Array, tensor: Tensor) -> Array:
    """A quadratic form of the surface's coordinates, such as a penalty, by mgcv's coefficients."""
    back = np.linalg.inv(tensor.to_mgcv)
    there: Array = back.T @ form_CC @ back
    return there


def solve(curve: Curve, rho_2: Array) -> Solution:
    """Fit by penalised least squares at given log smoothing parameters for w and r."""
    penalty_2P = np.exp(rho_2)[:, None] * curve.penalty_2P
    penalty_P = penalty_2P.sum(axis=0)
    inverse_PP, log_determinant = _inverse(curve.gram_PP + np.diag(penalty_P))
    coefficient_P = inverse_PP @ curve.product_P
    # y'y - b'X'y - b'Sb would cancel too, but only digits that no score has.
    deviance = curve.square - coefficient_P @ curve.product_P - coefficient_P @ (penalty_P * coefficient_P)
    return Solution(
        coefficient_P=coefficient_P,
        inverse_PP=inverse_PP,
        penalty_2P=penalty_2P,
        log_determinant=log_determinant,
        deviance=max(float(deviance), np.finfo(float).tiny),
        edf=float(len(coefficient_P) - np.diag(inverse_PP) @ penalty_P),
    )


def gcv(curve: Curve, rho_2: Array) -> tuple[float, Array]:
    """Generalised cross-validation, n D / (n - edf)², and its gradient."""
    fit = solve(curve, rho_2)
    penalty_P = fit.penalty_2P.sum(axis=0)
    pull_2P = fit.penalty_2P * fit.coefficient_P
    deviance_2 = 2 * (pull_2P @ fit.inverse_PP) @ (penalty_P * fit.coefficient_P)
    edf_2 = fit.penalty_2P @ (fit.inverse_PP**2 @ penalty_P - np.diag(fit.inverse_PP))
    left = curve.n - fit.edf
    value = curve.n * fit.deviance / left**2
    return value, value * (deviance_2 / fit.deviance + 2 * edf_2 / left)


def reml(curve: Curve, rho_2: Array) -> tuple[float, Array]:
    """Minus the restricted log-likelihood, and its gradient."""
    fit = solve(curve, rho_2)
    determinant = fit.log_determinant - curve.volume - curve.penalty_constant
    trace_2 = fit.penalty_2P @ np.diag(fit.inverse_PP)
    return _marginal(curve, fit, curve.n - curve.free, determinant, trace_2)


def ml(curve: Curve, rho_2: Array) -> tuple[float, Array]:
    """Minus the log-likelihood with the penalised coefficients integrated out, and its gradient."""
    fit = solve(curve, rho_2)
    gram_CC, volume = curve.penalised_part
    penalty_2C = fit.penalty_2P[:, curve.penalised_P]
    inverse_CC, log_determinant = _inverse(gram_CC + np.diag(penalty_2C.sum(axis=0)))
    determinant = log_determinant + volume - curve.penalty_constant
    return _marginal(curve, fit, curve.n, determinant, penalty_2C @ np.diag(inverse_CC))


CRITERIA: dict[str, Callable[[Curve, Array], tuple[float, Array]]] = {"gcv": gcv, "reml": reml, "ml": ml}


def _marginal(curve: Curve, fit: Solution, degrees: int, log_determinant: float, trace_2: Array) -> tuple[float, Array]:
    """Minus a marginal log-likelihood with the scale at its optimum, from log|X'X + S| and its derivatives."""
    squares_2 = fit.penalty_2P @ fit.coefficient_P**2
    penalised = fit.deviance + squares_2.sum()
    bearing_2C = fit.penalty_2P[:, curve.penalised_P]
    penalty_C = bearing_2C.sum(axis=0)
    value = degrees / 2 * (1 + np.log(2 * np.pi * penalised / degrees))
    value += (log_determinant - np.log(penalty_C).sum()) / 2
    gradient_2 = degrees * squares_2 / (2 * penalised) + (trace_2 - (bearing_2C / penalty_C).sum(axis=1)) / 2
    return float(value), gradient_2


def _inverse(matrix: Array) -> tuple[Array, float]:
    """Inverse and log determinant of a positive definite matrix, whatever the scales of its diagonal."""
    scale = np.diag(matrix) ** -0.5
    factor = linalg.cholesky(matrix * scale * scale[:, None], lower=True, check_finite=False)
    half = linalg.solve_triangular(factor, np.diag(scale), lower=True, check_finite=False)
    return half.T @ half, float(2 * np.log(np.diag(factor)).sum() - 2 * np.log(scale).sum())
