"""Simulation-based residuals of a fitted beta mixed model, and the checks that DHARMa (Hartig) makes with them.

A scaled residual is the share of simulated scores below the observed one: uniform on (0, 1) where the model holds.
Rows of one study share random effects, so p-values come from the same statistics of the simulated studies, each held
against the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from analysis.arrays import Array
from analysis.glmm.bootstrap import linear_predictor, simulate_scores
from analysis.glmm.fit import GlmmFit, at_fit
from analysis.glmm.optimise import Problem
from plw.errors import UserError

RESIDUAL_QUANTILES = (0.25, 0.5, 0.75)
MIN_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class ResidualChecks:
    """Residuals of one fit and the checks made with them.

    ``residual_N`` are the scaled residuals, in the order of the rows; ``expected_N`` and ``sorted_N`` are the points
    of a QQ plot against the uniform distribution, ``band_N2`` the middle 95% of simulated studies there. ``fitted_N``
    is the mean score that the fit gives each row, ``w_N`` its w_p. Columns of ``checks``: check, statistic, p, and
    what a small p means.
    """

    residual_N: Array
    expected_N: Array
    sorted_N: Array
    band_N2: Array
    fitted_N: Array
    w_N: Array
    checks: pd.DataFrame
    conditional: bool
    draws: int
    seed: int


def residual_checks(fit: GlmmFit, *, draws: int = 500, seed: int = 0, conditional: bool = False) -> ResidualChecks:
    """Simulate scores from the fit and compare the observed ones with them; the same seed gives the same.

    Args:
        fit: a fitted model.
        draws: number of simulated studies.
        seed: of the simulation.
        conditional: keep the random effects at their modes, and so check the beta distribution and the curve alone; by
            default they are drawn anew, which checks the whole model.

    Raises:
        UserError: fewer draws than a p-value of 0.01 needs.
    """
    if draws < MIN_DRAWS:
        raise UserError(f"draws is {draws}; at least {MIN_DRAWS} are needed")
    design, generator = fit.design, np.random.default_rng(seed)
    effect_N = mode_effects(fit) if conditional else None
    drawn_ZN = np.stack([simulate_scores(fit, design, generator, effect_N) for _ in range(draws)])
    mean_N = expit(linear_predictor(fit, design) + (0.0 if effect_N is None else effect_N))
    observed_N, residual_ZN = scaled_residuals(design.score_N, drawn_ZN)
    statistics = _statistics(fit, mean_N, drawn_ZN)
    rows = []
    for name, (of_residuals, two_sided, meaning) in statistics.items():
        value = of_residuals(observed_N, design.score_N)
        under_Z = np.array([of_residuals(residual_ZN[i], drawn_ZN[i]) for i in range(draws)])
        rows.append({"check": name, "statistic": value, "p": _p_value(value, under_Z, two_sided), "meaning": meaning})
    count = design.n
    return ResidualChecks(
        residual_N=observed_N,
        expected_N=(np.arange(count) + 0.5) / count,
        sorted_N=np.sort(observed_N),
        band_N2=np.quantile(np.sort(residual_ZN, axis=1), [0.025, 0.975], axis=0).T,
        fitted_N=mean_N,
        w_N=design.w_N,
        checks=pd.DataFrame(rows),
        conditional=conditional,
        draws=draws,
        seed=seed,
    )


def scaled_residuals(score_N: Array, drawn_ZN: Array) -> tuple[Array, Array]:
    """Each score's place among the drawn ones of its row, from 0 to 1; and each drawn score's among all of them.

    A score above ``k`` of ``S`` draws gets (k + 0.5) / (S + 1), the middle of the step that it stands on.

    Returns:
        The residuals of the scores (N) and of each draw (S, N).
    """
    draws = len(drawn_ZN)
    sorted_ZN = np.sort(drawn_ZN, axis=0)
    below_N = np.array([np.searchsorted(sorted_ZN[:, i], value) for i, value in enumerate(score_N)])
    # A draw is held against the others and the observed score, so that both have the same number of rivals.
    rank_ZN = stats.rankdata(drawn_ZN, axis=0) - 1 + (drawn_ZN > score_N)
    return (below_N + 0.5) / (draws + 1), (rank_ZN + 0.5) / (draws + 1)


def mode_effects(fit: GlmmFit) -> Array:
    """What the random effects at their modes add to each row's η."""
    problem = Problem(fit.design, slopes=fit.random_part)
    psi_P = at_fit(problem, fit)
    problem.likelihood(psi_P)
    loading_NQ = problem.likelihood.loadings(psi_P[problem.terms + 1 :])
    return np.asarray(loading_NQ @ problem.likelihood.mode_Q)


def quantile_statistic(residual_N: Array, predictor_N: Array) -> float:
    """How far the quarters of the residuals move with a predictor: the largest of three rank-score statistics.

    For each quantile τ the indicators τ - 1{r < τ} are regressed on 1, x and x^2 (Gutenbrunner and others 1993); each
    statistic is chi-square with 3 degrees of freedom where rows are independent and the model holds.
    """
    scale = (predictor_N - predictor_N.mean()) / (predictor_N.std() or 1.0)
    basis_NC, _ = np.linalg.qr(np.stack([np.ones_like(scale), scale, scale**2], axis=1))
    values = []
    for tau in RESIDUAL_QUANTILES:
        score_C = basis_NC.T @ (tau - (residual_N < tau))
        values.append(float(score_C @ score_C) / (tau * (1 - tau)))
    return max(values)


def uniformity(residual_N: Array) -> float:
    """Kolmogorov's distance from the uniform distribution."""
    ordered_N = np.sort(residual_N)
    step_N = np.arange(len(ordered_N) + 1) / len(ordered_N)
    return float(max((step_N[1:] - ordered_N).max(), (ordered_N - step_N[:-1]).max()))


def _statistics(
    fit: GlmmFit, mean_N: Array, drawn_ZN: Array
) -> Mapping[str, tuple[Callable[[Array, Array], float], bool, str]]:
    """Check -> its statistic of residuals and scores, whether both tails count, and what a small p means."""
    design = fit.design
    center_N = drawn_ZN.mean(axis=0)
    spread = float(((drawn_ZN - center_N) ** 2).mean())
    edge = 1.0 / (len(drawn_ZN) + 1)

    def dispersion(_: Array, score_N: Array) -> float:
        return float(((score_N - center_N) ** 2).mean() / spread)

    def outliers(residual_N: Array, _: Array) -> float:
        return float(((residual_N < edge) | (residual_N > 1 - edge)).mean())

    def along(predictor_N: Array) -> Callable[[Array, Array], float]:
        return lambda residual_N, _: quantile_statistic(residual_N, predictor_N)

    def between(code_N: "np.ndarray[tuple[int, ...], np.dtype[np.intp]]") -> Callable[[Array, Array], float]:
        sizes = np.bincount(code_N)
        return lambda residual_N, _: float(
            (sizes * (np.bincount(code_N, residual_N) / sizes - 0.5) ** 2).max() * 12  # in units of its variance
        )

    return {
        "uniformity": (lambda residual_N, _: uniformity(residual_N), False, "the distribution is another one"),
        "dispersion": (dispersion, True, "scores spread more (above 1) or less (below 1) than the model's"),
        "outliers": (outliers, True, "more, or fewer, scores outside all simulated ones than expected"),
        "quantiles by w_p": (
            along(design.w_N),
            False,
            "the curve or the spread changes with the weight in another way",
        ),
        "quantiles by fitted": (along(mean_N), False, "the link or the spread does not fit over the range of scores"),
        "mean by benchmark": (between(design.benchmark_N), False, "some benchmark lies off its curve"),
        "mean by model": (between(design.model_N), False, "some base model lies off its level"),
    }


def _p_value(value: float, under_Z: Array, two_sided: bool) -> float:
    """Share of simulated studies, the observed one included, whose statistic is as far out."""
    draws = len(under_Z)
    upper = (1 + int((under_Z >= value).sum())) / (draws + 1)
    if not two_sided:
        return upper
    return min(1.0, 2 * min(upper, (1 + int((under_Z <= value).sum())) / (draws + 1)))
