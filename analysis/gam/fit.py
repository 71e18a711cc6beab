"""The paper's ratio model (section 6): score ~ te(w, r, k=3) + factor(b), built, penalised and smoothed as by R's mgcv.

Weights stand untransformed; errors are Gaussian. Benchmarks shift the surface up and down and do not bend it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import Array
from analysis.gam.basis import Tensor, make_tensor
from analysis.gam.criteria import METHODS, Curve, Solution, solve
from analysis.gam.search import BOUNDS, GCV_TOLERANCE, minimise
from plw.errors import UserError

KNOTS = 3
FREE_SURFACE = 3
"""Of the surface's directions: w, r and w times r bear no penalty."""
ON_SURFACE = 1e-18
"""Of a score's range, squared: residuals of less are none."""


@dataclass(frozen=True, kw_only=True)
class GamFit:
    """A fitted ratio model. Coefficients are in mgcv's coordinates and order: intercept, benchmarks, surface."""

    method: str
    benchmarks: tuple[str, ...]
    """Sorted; the first is the reference level of the treatment contrasts."""
    tensor: Tensor
    coefficient_P: Array
    covariance_PP: Array
    """Bayesian posterior covariance (mgcv's ``Vp``), given the smoothing parameters."""
    clustered_PP: Array
    """Covariance that takes benchmarks, not scores, for independent: what benchmarks with curves of their own leave of
    the certainty (a sandwich over G benchmarks, times G / (G - 1)). Of no use with one or two."""
    edf_P: Array
    """Effective degrees of freedom of each coefficient."""
    smoothing_2: Array
    """Smoothing parameters for w and for r, on mgcv's scale."""
    score: float
    """The minimised criterion: GCV, or minus the (restricted) log-likelihood."""
    scale: float
    """Residual variance, D / (n - edf)."""
    deviance: float
    """Residual sum of squares."""
    log_likelihood: float
    """Gaussian, at the maximum-likelihood variance, as mgcv's ``logLik``."""
    n: int
    converged: bool
    messages: tuple[str, ...]
    weight_range: tuple[float, float]
    ratio_range: tuple[float, float]
    score_range: float
    """Largest less smallest observed score."""

    @property
    def edf_total(self) -> float:
        """Effective degrees of freedom of the whole model."""
        return float(self.edf_P.sum())

    @property
    def edf_surface(self) -> float:
        """Effective degrees of freedom of the surface; 3 is w, r and w times r without any bend."""
        return float(self.edf_P[len(self.benchmarks) :].sum())

    @property
    def surface_coefficient_C(self) -> Array:
        """Of the surface alone, in mgcv's coordinates."""
        return self.coefficient_P[len(self.benchmarks) :]

    @property
    def surface_covariance_CC(self) -> Array:
        """Posterior covariance of ``surface_coefficient_C``."""
        start = len(self.benchmarks)
        return self.covariance_PP[start:, start:]

    @property
    def surface_clustered_CC(self) -> Array:
        """``clustered_PP`` of ``surface_coefficient_C``."""
        start = len(self.benchmarks)
        return self.clustered_PP[start:, start:]

    def surface(self, plw_M: Array, ratio_M: Array) -> Array:
        """[M, C]: the surface's design matrix, whose product with its coefficients sums to 0 over the data."""
        column_MC: Array = self.tensor.matrix(plw_M, ratio_M) @ np.linalg.inv(self.tensor.to_mgcv)
        return column_MC

    def predict(
        self, plw_M: Sequence[float] | Array, ratio_M: Sequence[float] | Array, benchmark_M: Sequence[Any]
    ) -> tuple[Array, Array]:
        """Expected scores and their standard errors (of the mean, given the smoothing parameters).

        Raises:
            UserError: a benchmark that the data did not have; the line names it and its row (from 1).
        """
        codes_M = known_codes(benchmark_M, self.benchmarks)
        surface_MC = self.surface(np.asarray(plw_M, dtype=float), np.asarray(ratio_M, dtype=float))
        return self._linear(np.hstack([_contrasts(codes_M, len(self.benchmarks)), surface_MC]))

    def predict_average(self, plw_M: Array, ratio_M: Array) -> tuple[Array, Array]:
        """The same as a mean over all benchmarks, each counted alike."""
        surface_MC = self.surface(plw_M, ratio_M)
        of_mean = _contrasts(np.arange(len(self.benchmarks)), len(self.benchmarks)).mean(axis=0)
        return self._linear(np.hstack([np.tile(of_mean, (len(surface_MC), 1)), surface_MC]))

    def _linear(self, design_MP: Array) -> tuple[Array, Array]:
        variance_M = np.einsum("mp,pq,mq->m", design_MP, self.covariance_PP, design_MP)
        return design_MP @ self.coefficient_P, np.sqrt(np.maximum(variance_M, 0))


def fit_gam(
    score_N: Sequence[float] | Array,
    plw_N: Sequence[float] | Array,
    ratio_N: Sequence[float] | Array,
    benchmark_N: Sequence[Any],
    *,
    method: str = "gcv",
    gcv_tolerance: float = GCV_TOLERANCE,
) -> GamFit:
    """Fit the ratio model.

    Args:
        score_N: any finite numbers; the errors are Gaussian, so nothing binds them to 0 to 1.
        plw_N: prompt weights, untransformed.
        ratio_N: generation ratios R_g.
        benchmark_N: label of each row's benchmark. One benchmark alone has no factor.
        method: ``gcv`` (mgcv's default, and so the paper's as far as is known), ``reml`` or ``ml``.
        gcv_tolerance: of GCV's search; by default mgcv's, which stops before the minimum (see ``minimise``).

    Raises:
        UserError: fewer than 3 weights or ratios, constant scores, more coefficients than scores, or data that do not
            determine the surface; the line says what was found.
    """
    if method not in METHODS:
        raise UserError(f"method={method} is not known; allowed: {', '.join(METHODS)}")
    score, plw, ratio = (np.asarray(values, dtype=float) for values in (score_N, plw_N, ratio_N))
    names, codes_N = np.unique([str(label) for label in benchmark_N], return_inverse=True)
    check_data(score, plw, ratio, len(names))
    tensor = make_tensor(plw, ratio, KNOTS)
    design_NP = np.hstack([_contrasts(codes_N, len(names)), tensor.matrix(plw, ratio)])
    curve = _curve(design_NP, score, tensor)
    best = minimise(curve, method, gcv_tolerance)
    fit = solve(curve, best.rho_2)
    to_mgcv = _whole(tensor.to_mgcv, len(names))
    scale = fit.deviance / (len(score) - fit.edf)
    return GamFit(
        method=method,
        benchmarks=tuple(str(name) for name in names),
        tensor=tensor,
        coefficient_P=_with_mean(to_mgcv @ fit.coefficient_P, score),
        covariance_PP=scale * to_mgcv @ fit.inverse_PP @ to_mgcv.T,
        clustered_PP=to_mgcv @ _clustered(design_NP, score - score.mean(), fit, codes_N) @ to_mgcv.T,
        edf_P=_edf(fit, curve, to_mgcv),
        smoothing_2=np.exp(best.rho_2),
        score=best.value,
        scale=scale,
        deviance=fit.deviance,
        log_likelihood=-len(score) / 2 * (np.log(2 * np.pi * fit.deviance / len(score)) + 1),
        n=len(score),
        converged=best.converged,
        messages=(
            *_messages(best.rho_2, fit, len(names), converged=best.converged),
            *(
                ["the scores lie on the surface to rounding: standard errors and intervals of 0 are no certainty"]
                if fit.deviance < ON_SURFACE * len(score) * float(np.ptp(score)) ** 2
                else []
            ),
            *data_messages(score, len(names)),
        ),
        weight_range=(float(plw.min()), float(plw.max())),
        ratio_range=(float(ratio.min()), float(ratio.max())),
        score_range=float(np.ptp(score)),
    )


def check_data(score_N: Array, plw_N: Array, ratio_N: Array, benchmarks: int) -> None:
    """Refuse what no engine could fit; the same for Python and R.

    Raises:
        UserError: see ``fit_gam``.
    """
    for name, values in (("score", score_N), ("prompt weight", plw_N), ("ratio", ratio_N)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise UserError(f"row {bad[0] + 1}: the {name} is not a finite number")
    for name, values in (("prompt weight", plw_N), ("ratio", ratio_N)):
        if len(np.unique(values)) < KNOTS:
            found = ", ".join(f"{value:g}" for value in np.unique(values)) or "none"
            raise UserError(f"the ratio model needs {KNOTS} different values of the {name} or more; found {found}")
    if np.ptp(score_N) == 0:
        raise UserError(f"all {len(score_N)} scores are {score_N[0]:g}; there is nothing to fit")
    columns = benchmarks + KNOTS**2 - 1
    if len(score_N) <= columns:
        raise UserError(f"the ratio model has {columns} coefficients; {len(score_N)} scores are too few for it")


def gam_json(fit: GamFit, mean_M: Array, error_M: Array) -> dict[str, Any]:
    """The numbers of a fit and of predictions, as ``plw fit gam --json`` writes them.

    ``edf`` has one number a coefficient (intercept, benchmarks, 8 of the surface), ``smoothing`` one each for w and r.
    """
    return {
        "edf": fit.edf_P.tolist(), "edf_total": fit.edf_total, "edf_surface": fit.edf_surface,
        "smoothing": fit.smoothing_2.tolist(), "score": fit.score, "scale": fit.scale,
        "log_likelihood": fit.log_likelihood, "predictions": mean_M.tolist(), "predictions_se": error_M.tolist(),
        "coefficients": fit.coefficient_P.tolist(), "method": fit.method, "n": fit.n,
        "benchmarks": list(fit.benchmarks), "engine": "python", "converged": fit.converged,
        "messages": list(fit.messages),
    }  # fmt: skip


def _curve(design_NP: Array, score_N: Array, tensor: Tensor) -> Curve:
    # Centred scores keep the digits of the residual sum of squares; the intercept takes the mean back.
    centred_N = score_N - score_N.mean()
    parametric = design_NP.shape[1] - len(tensor.mean_C)
    penalty_2P = np.hstack([np.zeros((2, parametric)), tensor.penalty_2C])
    free_NP = design_NP[:, penalty_2P.sum(axis=0) == 0]
    if np.linalg.matrix_rank(free_NP / np.linalg.norm(free_NP, axis=0)) < free_NP.shape[1]:
        raise UserError(
            "the scores do not determine the ratio model: the effects of weight, ratio and benchmark cannot be told "
            "apart (is a benchmark measured at one ratio only, or a ratio at one weight only?)"
        )
    return Curve(
        gram_PP=design_NP.T @ design_NP,
        product_P=design_NP.T @ centred_N,
        square=float(centred_N @ centred_N),
        n=len(score_N),
        penalty_2P=penalty_2P,
        tensor=tensor,
    )


def _with_mean(coefficient_P: Array, score_N: Array) -> Array:
    with_mean_P: Array = coefficient_P.copy()
    with_mean_P[0] += score_N.mean()
    return with_mean_P


def _clustered(design_NP: Array, score_N: Array, fit: Solution, codes_N: NDArray[np.intp]) -> Array:
    residual_N = score_N - design_NP @ fit.coefficient_P
    groups = int(codes_N.max()) + 1
    pull_GP = np.zeros((groups, design_NP.shape[1]))
    np.add.at(pull_GP, codes_N, design_NP * residual_N[:, None])
    half_GP = pull_GP @ fit.inverse_PP
    covariance: Array = half_GP.T @ half_GP * groups / max(groups - 1, 1)
    return covariance


def _edf(fit: Solution, curve: Curve, to_mgcv: Array) -> Array:
    """The diagonal of (X'X + S)^-1 X'X in mgcv's coordinates."""
    hat = fit.inverse_PP @ curve.gram_PP
    edf_P: Array = np.einsum("ij,ji->i", to_mgcv @ hat, np.linalg.inv(to_mgcv))
    return edf_P


def _whole(to_mgcv: Array, parametric: int) -> Array:
    """The change of coordinates for all columns: the parametric ones stay."""
    whole = np.eye(parametric + len(to_mgcv))
    whole[parametric:, parametric:] = to_mgcv
    return whole


def _contrasts(codes_N: NDArray[np.intp], levels: int) -> Array:
    """[N, levels]: the intercept, and a column for each level but the first."""
    column_NG = np.eye(levels)[codes_N]
    column_NG[:, 0] = 1
    return column_NG


def known_codes(benchmark_M: Sequence[Any], benchmarks: tuple[str, ...]) -> NDArray[np.intp]:
    """The places of labels among the benchmarks of a fit.

    Raises:
        UserError: a label that is none of them.
    """
    places = {name: place for place, name in enumerate(benchmarks)}
    for row, label in enumerate(benchmark_M):
        if str(label) not in places:
            known = ", ".join(benchmarks)
            raise UserError(f"row {row + 1}: benchmark {str(label)!r} is not in the data; known: {known}")
    return np.array([places[str(label)] for label in benchmark_M], dtype=np.intp)


def data_messages(score_N: Array, benchmarks: int) -> list[str]:
    """What to know of data that can be fitted all the same; the same for Python and R."""
    lines = []
    if benchmarks == 1:
        lines.append("one benchmark only: the model has no benchmark factor")
    if score_N.min() < 0 or score_N.max() > 1:
        lines.append(f"scores lie between {score_N.min():g} and {score_N.max():g}; they are taken as they are")
    return lines


def _messages(rho_2: Array, fit: Solution, parametric: int, *, converged: bool) -> list[str]:
    lines = []
    if not converged:
        lines.append("the search for the smoothing parameters has not converged: read the fit with care")
    if fit.edf - parametric < FREE_SURFACE + 0.01:
        lines.append("the surface is smoothed to its limit: it has no bend, only effects of w, r and their product")
    elif (rho_2 >= BOUNDS[1]).any():
        names = [name for name, rho in zip(("weight", "ratio"), rho_2, strict=True) if rho >= BOUNDS[1]]
        lines.append(f"the surface is smoothed to its limit along the {' and the '.join(names)}: straight there")
    return lines
