"""The marginal likelihood of the beta mixed model by the Laplace approximation, with its exact gradient.

With random effects b = Λ u and u standard normal, the approximation is the joint density at its mode over u, times
(2π)^(q/2) |H|^(-1/2) with H the observed second derivative there; it does not depend on whether b or u is integrated,
so it is glmmTMB's (Brooks et al. 2017; Kristensen et al. 2016). Λ may have zeros, so a singular fit is an ordinary
point.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, gammaln, psi, zeta

from analysis.arrays import Array, Index

FULL, DIAGONAL, NONE = "correlated slopes", "uncorrelated slopes", "no random slopes"
SLOPE_PARAMETERS = {FULL: 3, DIAGONAL: 2, NONE: 0}
LOG_PHI_LIMIT = 20.0
"""Of log φ on both sides; scores that lie on the curve itself would drive it to infinity."""
ETA_LIMIT = 30.0
"""On the logit scale; beyond it the mean is 0 or 1 in all but name."""


@dataclass(frozen=True, kw_only=True)
class BetaDerivatives:
    """Log density of each row and its derivatives by η = logit(μ) (``d1``...) and by log φ (``phi``)."""

    value_N: Array
    d1_N: Array
    d2_N: Array
    d3_N: Array
    phi_N: Array
    d1_phi_N: Array
    d2_phi_N: Array


class BetaRows:
    """The log density of beta(μ φ, (1 - μ) φ) at fixed scores."""

    def __init__(self, score_N: Array) -> None:
        self.log_N = np.log(score_N)
        self.log_rest_N = np.log1p(-score_N)
        self.logit_N = self.log_N - self.log_rest_N

    def value_N(self, eta_N: Array, phi: float) -> Array:
        """Log density of each row."""
        mean_N = _mean(eta_N)
        a_N, b_N = mean_N * phi, (1 - mean_N) * phi
        constant_N = gammaln(phi) - gammaln(a_N) - gammaln(b_N)
        return np.asarray(constant_N + (a_N - 1) * self.log_N + (b_N - 1) * self.log_rest_N)

    def two(self, eta_N: Array, phi: float) -> tuple[Array, Array]:
        """First and second derivative by η, as Newton's method takes them."""
        mean_N = _mean(eta_N)
        a_N, b_N = mean_N * phi, (1 - mean_N) * phi
        m_N = mean_N * (1 - mean_N)
        by_mean_N = phi * (self.logit_N - psi(a_N) + psi(b_N))
        by_mean2_N = -(phi**2) * (zeta(2, a_N) + zeta(2, b_N))
        return by_mean_N * m_N, by_mean2_N * m_N**2 + by_mean_N * m_N * (1 - 2 * mean_N)

    def all(self, eta_N: Array, phi: float) -> BetaDerivatives:
        """Every derivative that the gradient of the Laplace approximation takes."""
        mean_N = _mean(eta_N)
        rest_N = 1 - mean_N
        a_N, b_N = mean_N * phi, rest_N * phi
        m_N = mean_N * rest_N
        slope_N = m_N * (1 - 2 * mean_N)
        psi_a_N, psi_b_N, tri_a_N, tri_b_N = psi(a_N), psi(b_N), zeta(2, a_N), zeta(2, b_N)
        tetra_a_N, tetra_b_N = -2 * zeta(3, a_N), -2 * zeta(3, b_N)
        score_N = self.logit_N - psi_a_N + psi_b_N
        mean1_N, mean2_N = phi * score_N, -(phi**2) * (tri_a_N + tri_b_N)
        mean3_N = -(phi**3) * (tetra_a_N - tetra_b_N)
        mean1_phi_N = score_N - phi * (mean_N * tri_a_N - rest_N * tri_b_N)
        mean2_phi_N = -2 * phi * (tri_a_N + tri_b_N) - phi**2 * (mean_N * tetra_a_N + rest_N * tetra_b_N)
        phi1_N = psi(phi) - mean_N * (psi_a_N - self.log_N) - rest_N * (psi_b_N - self.log_rest_N)
        return BetaDerivatives(
            value_N=self.value_N(eta_N, phi),
            d1_N=mean1_N * m_N,
            d2_N=mean2_N * m_N**2 + mean1_N * slope_N,
            d3_N=mean3_N * m_N**3 + 3 * mean2_N * m_N * slope_N + mean1_N * m_N * (1 - 6 * m_N),
            phi_N=phi * phi1_N,
            d1_phi_N=phi * mean1_phi_N * m_N,
            d2_phi_N=phi * (mean2_phi_N * m_N**2 + mean1_phi_N * slope_N),
        )


class Laplace:
    """Minus the log marginal likelihood at parameters ψ = (coefficients, log φ, θ), and its gradient.

    θ are the entries of Λ: of the slopes' lower triangle (a, b, c; without b where they are uncorrelated; none without
    random slopes), then one standard deviation for each random intercept. The sign of a column of Λ does not matter.

    Args:
        score_N: inside (0, 1).
        fixed_NC: columns of the fixed effects.
        slope_N2: columns of the random slopes.
        benchmark_N: number of each row's benchmark.
        intercepts: for each random intercept the numbers of its rows' groups.
        slopes: ``FULL``, ``DIAGONAL`` or ``NONE``.
        unit: of the intercepts' standard deviations, on the logit scale.
    """

    def __init__(
        self,
        score_N: Array,
        fixed_NC: Array,
        slope_N2: Array,
        benchmark_N: Index,
        intercepts: tuple[Index, ...],
        slopes: str = FULL,
        unit: float = 1.0,
    ) -> None:
        self.rows = BetaRows(score_N)
        self.fixed_NC, self.slope_N2, self.slopes, self.unit = fixed_NC, slope_N2, slopes, unit
        self.row_N = np.arange(len(score_N))
        sizes = [0 if slopes == NONE else 2 * (int(benchmark_N.max()) + 1)]
        self.first_N = 2 * benchmark_N
        self.columns = []
        for group_N in intercepts:
            self.columns.append(sum(sizes) + group_N)
            sizes.append(int(group_N.max()) + 1)
        self.effects = sum(sizes)
        self.terms = fixed_NC.shape[1]
        self.parameters = self.terms + 1 + SLOPE_PARAMETERS[slopes] + len(intercepts)
        self.mode_Q = np.zeros(self.effects)
        """Where the next search for the mode begins; the mode of the last call."""

    def __call__(self, psi_P: Array) -> tuple[float, Array]:
        """Value and gradient; infinity where there is no mode to be found."""
        beta_C, log_phi, theta_P = self._split(psi_P)
        phi = float(np.exp(np.clip(log_phi, -LOG_PHI_LIMIT, LOG_PHI_LIMIT)))
        loading_NQ = self.loadings(theta_P)
        offset_N = self.fixed_NC @ beta_C
        if not np.isfinite(offset_N).all() or not self._find_mode(offset_N, loading_NQ, phi):
            return np.inf, np.zeros_like(psi_P)
        value, gradient_P = self._value_and_gradient(offset_N, loading_NQ, phi)
        if abs(log_phi) >= LOG_PHI_LIMIT:
            gradient_P[self.terms] = 0.0
        return value, gradient_P

    def loadings(self, theta_P: Array) -> Array:
        """Z Λ: what each standard normal effect adds to each row's η."""
        loading_NQ = np.zeros((len(self.row_N), self.effects))
        if self.slopes != NONE:
            a, b, c = self._triangle(theta_P)
            loading_NQ[self.row_N, self.first_N] = a * self.slope_N2[:, 0] + b * self.slope_N2[:, 1]
            loading_NQ[self.row_N, self.first_N + 1] = c * self.slope_N2[:, 1]
        deviations = theta_P[SLOPE_PARAMETERS[self.slopes] :]
        for column_N, deviation in zip(self.columns, deviations, strict=True):
            loading_NQ[self.row_N, column_N] = deviation * self.unit
        return loading_NQ

    def _split(self, psi_P: Array) -> tuple[Array, float, Array]:
        return psi_P[: self.terms], float(psi_P[self.terms]), psi_P[self.terms + 1 :]

    def _triangle(self, theta_P: Array) -> tuple[float, float, float]:
        a, *middle, c = (float(value) for value in theta_P[: SLOPE_PARAMETERS[self.slopes]])
        return a, middle[0] if middle else 0.0, c

    def _find_mode(self, offset_N: Array, loading_NQ: Array, phi: float) -> bool:
        """Newton's method over u, with steps halved until the joint density rises."""
        for start_Q in (self.mode_Q, np.zeros(self.effects)):
            mode_Q = self._newton(start_Q, offset_N, loading_NQ, phi)
            if mode_Q is not None:
                self.mode_Q = mode_Q
                return True
        return False

    def _newton(self, start_Q: Array, offset_N: Array, loading_NQ: Array, phi: float) -> Array | None:
        def joint(u_Q: Array) -> float:
            value_N = self.rows.value_N(offset_N + loading_NQ @ u_Q, phi)
            return float(0.5 * u_Q @ u_Q - value_N.sum())

        u_Q, value = start_Q, joint(start_Q)
        for _ in range(100):
            d1_N, d2_N = self.rows.two(offset_N + loading_NQ @ u_Q, phi)
            gradient_Q = u_Q - loading_NQ.T @ d1_N
            step_Q = _newton_step(gradient_Q, loading_NQ, d2_N)
            if step_Q is None or not np.isfinite(value):
                return None
            decrement = float(gradient_Q @ step_Q)
            if decrement < 1e-14:
                return np.asarray(u_Q - step_Q)
            scale = 1.0
            while (new := joint(u_Q - scale * step_Q)) > value + 1e-9 or np.isnan(new):
                scale /= 2
                if scale < 1e-8:
                    return None if decrement > 1e-8 else u_Q
            u_Q, value = u_Q - scale * step_Q, new
        return None

    def _value_and_gradient(self, offset_N: Array, loading_NQ: Array, phi: float) -> tuple[float, Array]:
        """The mode moves with ψ: its derivative comes from the implicit function theorem, through ``pull_Q``."""
        u_Q = self.mode_Q
        at = self.rows.all(offset_N + loading_NQ @ u_Q, phi)
        hessian_QQ = np.eye(self.effects) - loading_NQ.T @ (at.d2_N[:, None] * loading_NQ)
        try:
            factor = cho_factor(hessian_QQ, lower=True)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(self.parameters)
        value = 0.5 * u_Q @ u_Q - at.value_N.sum() + np.log(np.diag(factor[0])).sum()
        solved_NQ = cho_solve(factor, loading_NQ.T).T
        leverage_N = np.einsum("nq,nq->n", solved_NQ, loading_NQ)
        of_determinant_N = -0.5 * leverage_N * at.d3_N
        pull_Q = cho_solve(factor, loading_NQ.T @ of_determinant_N)
        pull_N = loading_NQ @ pull_Q
        by_eta_N = of_determinant_N - at.d1_N + at.d2_N * pull_N

        def by_loading(column_N: Index) -> Array:
            direct_N = by_eta_N * u_Q[column_N] + at.d1_N * pull_Q[column_N]
            return np.asarray(direct_N - at.d2_N * solved_NQ[self.row_N, column_N])

        by_theta: list[float] = []
        if self.slopes != NONE:
            one_N, two_N = by_loading(self.first_N), by_loading(self.first_N + 1)
            by_theta.append(float(one_N @ self.slope_N2[:, 0]))
            if self.slopes == FULL:
                by_theta.append(float(one_N @ self.slope_N2[:, 1]))
            by_theta.append(float(two_N @ self.slope_N2[:, 1]))
        by_theta += [float(by_loading(column_N).sum()) * self.unit for column_N in self.columns]
        by_phi = float(at.d1_phi_N @ pull_N - at.phi_N.sum() - 0.5 * leverage_N @ at.d2_phi_N)
        return float(value), np.concatenate([self.fixed_NC.T @ by_eta_N, [by_phi], by_theta])


def _mean(eta_N: Array) -> Array:
    return np.asarray(expit(np.clip(eta_N, -ETA_LIMIT, ETA_LIMIT)))


def _newton_step(gradient_Q: Array, loading_NQ: Array, d2_N: Array) -> Array | None:
    """H^-1 g; where H is not positive definite (far from the mode), rows that curve the wrong way are left out."""
    for curvature_N in (-d2_N, np.maximum(-d2_N, 0.0)):
        hessian_QQ = np.eye(len(gradient_Q)) + loading_NQ.T @ (curvature_N[:, None] * loading_NQ)
        try:
            return np.asarray(cho_solve(cho_factor(hessian_QQ, lower=True), gradient_Q))
        except (np.linalg.LinAlgError, ValueError):
            continue
    return None
