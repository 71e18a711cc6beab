"""Finds the maximum of the beta mixed model's marginal likelihood, and the curvature there."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from analysis.arrays import Array
from analysis.glmm.design import Design, powers
from analysis.glmm.likelihood import DIAGONAL, FULL, LOG_PHI_LIMIT, NONE, SLOPE_PARAMETERS, Laplace

STARTS = (0.7, 0.15, 2.0)
"""Standard deviations of the random effects from which the searches begin, in units of the scores' scatter."""
SINGULAR = 1e-3
"""A standard deviation along some direction of the random effects that counts as 0, in the same units."""
GRADIENT = 1e-3
"""Largest derivative at a maximum, by parameters that are scaled so that 1 is a large change."""
HESSIAN_STEP = 1e-4


@dataclass(frozen=True, kw_only=True)
class Maximum:
    """Where the search ended. ``psi_P`` and ``hessian_PP`` are by the scaled parameters of ``Problem``."""

    psi_P: Array
    log_likelihood: float
    hessian_PP: Array
    gradient: float
    converged: bool
    unbounded: bool
    """The dispersion grew beyond all bounds: the scores lie on the curves themselves."""


class Problem:
    """The likelihood of one design and random part, in parameters that a search likes.

    The fixed columns are orthogonal, the slopes' columns have root mean square 1, and the unit of η is ``scatter``, the
    standard deviation of the scores about one curve on the logit scale. So 1 is a large change of every parameter,
    whether the scores spread over all of 0 to 1 or over a thousandth of it.
    """

    def __init__(self, design: Design, *, slopes: str = FULL, null: bool = False) -> None:
        columns_NC = powers(design.w_N)[:, : 1 if null else 3]
        basis_NC, upper_CC = np.linalg.qr(columns_NC)
        self.design, self.slopes, self.null = design, slopes, null
        self.scatter = _scatter(design)
        self.fixed_NC = basis_NC * np.sqrt(design.n) * self.scatter
        self._to_powers_CC = np.linalg.inv(upper_CC) * np.sqrt(design.n) * self.scatter
        slope_N2 = design.columns_NC[:, 1:]
        self.scale_2 = np.sqrt((slope_N2**2).mean(axis=0)) / self.scatter
        self.intercepts = {"model": design.model_N} if len(design.models) > 1 else {}
        if design.seed_N is not None and len(design.seeds) > 1:
            self.intercepts["seed"] = design.seed_N
        groups = tuple(self.intercepts.values())
        self.likelihood = Laplace(
            design.score_N, self.fixed_NC, slope_N2 / self.scale_2, design.benchmark_N, groups, slopes, self.scatter
        )

    @property
    def terms(self) -> int:
        """Number of fixed effects."""
        return int(self.fixed_NC.shape[1])

    def fixed_map(self) -> Array:
        """Matrix that makes the fixed effects in the design's basis from the scaled ones."""
        if self.null:
            return np.asarray(self._to_powers_CC)
        return np.asarray(np.linalg.solve(self.design.basis_CC, self._to_powers_CC))

    def fixed(self, psi_P: Array) -> Array:
        """The fixed effects in the design's basis."""
        return np.asarray(self.fixed_map() @ psi_P[: self.terms])

    def triangle(self, psi_P: Array) -> Array:
        """Λ of the slopes on the scaled columns: lower triangular, (2, 2)."""
        theta_P = psi_P[self.terms + 1 :]
        if self.slopes == NONE:
            return np.zeros((2, 2))
        if self.slopes == DIAGONAL:
            return np.diag(theta_P[:2])
        return np.array([[theta_P[0], 0.0], [theta_P[1], theta_P[2]]])

    def benchmark_covariance(self, psi_P: Array) -> Array:
        """Covariance of the slopes in the design's basis, (2, 2)."""
        loading_22 = self.triangle(psi_P) / self.scale_2[:, None]
        return np.asarray(loading_22 @ loading_22.T)

    def deviations(self, psi_P: Array) -> dict[str, float]:
        """Standard deviation of each random intercept."""
        theta_P = psi_P[self.terms + 1 + SLOPE_PARAMETERS[self.slopes] :]
        return {name: abs(float(value)) * self.scatter for name, value in zip(self.intercepts, theta_P, strict=True)}

    def parameters(
        self, fixed_C: Array, dispersion: float, covariance_22: Array, deviations: dict[str, float]
    ) -> Array:
        """ψ of given fixed effects, dispersion, slopes' covariance and intercepts' standard deviations."""
        psi_C = np.linalg.solve(self.fixed_map(), fixed_C)
        theta: list[float] = []
        if self.slopes != NONE:
            scaled_22 = covariance_22 * np.outer(self.scale_2, self.scale_2)
            a = np.sqrt(max(scaled_22[0, 0], 0.0))
            b = scaled_22[0, 1] / a if a > 0 else 0.0
            c = np.sqrt(max(scaled_22[1, 1] - b**2, 0.0))
            theta = [a, b, c] if self.slopes == FULL else [a, c]
        theta += [deviations.get(name, 0.0) / self.scatter for name in self.intercepts]
        return np.concatenate([psi_C, [np.log(dispersion)], theta])

    def start(self, deviation: float) -> Array:
        """Least squares on the logit scale, the dispersion that its residuals have, and one standard deviation."""
        score_N = self.design.score_N
        logit_N = np.log(score_N) - np.log1p(-score_N)
        psi_C = self.fixed_NC.T @ logit_N / (self.design.n * self.scatter**2)
        mean_N = 1 / (1 + np.exp(-self.fixed_NC @ psi_C))
        spread = float(((score_N - mean_N) ** 2).mean())
        phi = float(np.clip((mean_N * (1 - mean_N)).mean() / max(spread, 1e-12) - 1, 1.0, 1e8))
        theta_P = np.full(SLOPE_PARAMETERS[self.slopes] + len(self.intercepts), deviation)
        if self.slopes == FULL:
            theta_P[1] = -0.5 * deviation
        return np.concatenate([psi_C, [np.log(phi)], theta_P])

    def is_singular(self, psi_P: Array) -> bool:
        """Whether some direction of the random part has no variance."""
        spread = [*np.linalg.svd(self.triangle(psi_P), compute_uv=False)] if self.slopes != NONE else []
        levels = [value / self.scatter for value in self.deviations(psi_P).values()]
        return min([*spread, *levels], default=1.0) < SINGULAR


def _scatter(design: Design) -> float:
    """Standard deviation of the scores about their own parabola, on the logit scale."""
    logit_N = np.log(design.score_N) - np.log1p(-design.score_N)
    powers_NC = powers(design.w_N)
    residual_N = logit_N - powers_NC @ np.linalg.lstsq(powers_NC, logit_N)[0]
    return float(np.clip(np.sqrt((residual_N**2).mean()), 1e-8, 10.0))


def maximise(problem: Problem, warm_P: Array | None = None) -> Maximum:
    """The highest maximum that is found; further starts are tried where the first ends badly or on the boundary.

    Args:
        problem: what to maximise.
        warm_P: parameters to begin from, where something near the maximum is known; then nothing else is tried as long
            as the search from there ends well.
    """
    starts = [problem.start(deviation) for deviation in STARTS]
    best = _climb(problem, starts[0] if warm_P is None else warm_P)
    if best.unbounded or (best.converged and (warm_P is not None or not problem.is_singular(best.psi_P))):
        return best
    for start_P in starts[warm_P is None :]:
        other = _climb(problem, start_P)
        better = other.log_likelihood > best.log_likelihood + 1e-7
        if (other.converged, better) > (best.converged, False) or (better and other.converged == best.converged):
            best = other
    return best


def _climb(problem: Problem, start_P: Array) -> Maximum:
    """BFGS with exact gradients, then Newton steps by the Hessian that the standard errors need anyway."""
    likelihood = problem.likelihood
    likelihood.mode_Q = np.zeros(likelihood.effects)
    psi_P = start_P
    for _ in range(3):
        found = optimize.minimize(
            likelihood, psi_P, jac=True, method="BFGS",
            options={"gtol": 1e-4, "maxiter": 300, "hess_inv0": _guess(problem, psi_P)},
        )  # fmt: skip
        unbounded = bool(abs(found.x[problem.terms]) > LOG_PHI_LIMIT - 1)
        if unbounded:
            return Maximum(
                psi_P=_limited(found.x, problem.terms), log_likelihood=-float(found.fun), gradient=np.inf,
                hessian_PP=np.full((len(psi_P), len(psi_P)), np.nan), converged=False, unbounded=True,
            )  # fmt: skip
        psi_P, hessian_PP = _polish(likelihood, np.asarray(found.x))
        downhill_P = _escape(hessian_PP)
        if downhill_P is None:
            break
        psi_P = psi_P + 0.1 * downhill_P
    value, gradient_P = likelihood(psi_P)
    gradient = float(np.abs(gradient_P).max())
    return Maximum(
        psi_P=psi_P,
        log_likelihood=-value,
        hessian_PP=hessian_PP,
        gradient=gradient,
        converged=bool(np.isfinite(value) and gradient < GRADIENT and downhill_P is None),
        unbounded=False,
    )


def _limited(psi_P: Array, terms: int) -> Array:
    limited_P = psi_P.copy()
    limited_P[terms] = np.clip(psi_P[terms], -LOG_PHI_LIMIT, LOG_PHI_LIMIT)
    return limited_P


def _guess(problem: Problem, psi_P: Array) -> Array:
    """A diagonal inverse Hessian of the right orders of magnitude."""
    rows, terms = problem.design.n, problem.terms
    precision_P = np.full(len(psi_P), 10.0)
    precision_P[:terms] = rows * np.clip(0.2 * np.exp(psi_P[terms]) * problem.scatter**2, 0.1, 100.0)
    precision_P[terms] = rows / 2
    return np.diag(1 / precision_P)


def _polish(likelihood: Laplace, psi_P: Array) -> tuple[Array, Array]:
    hessian_PP = numeric_hessian(likelihood, psi_P)
    for _ in range(3):
        value, gradient_P = likelihood(psi_P)
        if np.abs(gradient_P).max() < 1e-7 or not np.isfinite(hessian_PP).all():
            break
        step_P = np.linalg.pinv(hessian_PP, rcond=1e-9, hermitian=True) @ gradient_P
        new, _ = likelihood(psi_P - step_P)
        if not new <= value + 1e-10:
            break
        psi_P = psi_P - step_P
    return psi_P, hessian_PP


def numeric_hessian(likelihood: Laplace, psi_P: Array, step: float = HESSIAN_STEP) -> Array:
    """Central differences of the exact gradient, made symmetric."""
    rows = []
    for index in range(len(psi_P)):
        move_P = np.zeros_like(psi_P)
        move_P[index] = step
        rows.append((likelihood(psi_P + move_P)[1] - likelihood(psi_P - move_P)[1]) / (2 * step))
    hessian_PP = np.array(rows)
    return np.asarray((hessian_PP + hessian_PP.T) / 2)


def _escape(hessian_PP: Array) -> Array | None:
    """A direction in which the point is a maximum of minus the likelihood, hence a saddle; None at a true minimum."""
    if not np.isfinite(hessian_PP).all():
        return None
    values, vectors_PP = np.linalg.eigh(hessian_PP)
    return np.asarray(vectors_PP[:, 0]) if values[0] < -1e-3 else None
