"""The beta mixed model of Table 3: score ~ w_p + w_p^2, with slopes that vary by benchmark and levels by base model.

Maximum likelihood by the Laplace approximation, as glmmTMB fits it (PLW paper, section 5.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.arrays import Array
from analysis.glmm.design import RAW, Design, make_design
from analysis.glmm.inference import ChiSquareTest, FTest, ParabolaOptimum, chi_square, f_test, optimum, wald
from analysis.glmm.likelihood import DIAGONAL, FULL, NONE
from analysis.glmm.messages import NOT_CONVERGED, UNBOUNDED, design_messages, fallback_message, singular_messages
from analysis.glmm.optimise import SINGULAR, Maximum, Problem, maximise

FIXED_EFFECTS = ("intercept", "w", "w2")
PYTHON = "python"
FALLBACKS = (FULL, DIAGONAL, NONE)


@dataclass(frozen=True, kw_only=True)
class GlmmFit:
    """A fitted model. Numbers are None, or NaN within arrays, where the fit gave none; the messages say why.

    ``fixed`` and their covariance are on the logit scale, in the basis that ``polynomial`` names. ``random`` holds
    ``benchmark`` (2 x 2 covariance of the slopes, None without random slopes), ``model`` and, where asked for, ``seed``
    (variances; None where there is one level only). ``dispersion`` is φ of beta(μ φ, (1 - μ) φ).
    """

    fixed: dict[str, float]
    fixed_se: dict[str, float | None]
    fixed_covariance: Array
    random: dict[str, Any]
    dispersion: float
    log_likelihood: float
    wald: ChiSquareTest
    wald_f: FTest
    """Wald's statistic by the degrees of freedom that the benchmarks allow."""
    lrt: ChiSquareTest
    optimum: ParabolaOptimum
    converged: bool
    messages: tuple[str, ...]
    n: int
    engine: str
    polynomial: str
    random_part: str
    """``correlated slopes`` is the paper's; the others are simpler models that were taken instead."""
    design: Design

    @property
    def raw_fixed(self) -> Array:
        """Intercept and coefficients of w_p and w_p^2, whatever the basis of the fit."""
        return np.asarray(self.design.basis_CC @ np.array([self.fixed[name] for name in FIXED_EFFECTS]))


def fit_glmm(
    score_N: Sequence[float] | Array,
    plw_N: Sequence[float] | Array,
    benchmark_N: Sequence[Any],
    model_N: Sequence[Any],
    *,
    polynomial: str = RAW,
    seed_N: Sequence[Any] | None = None,
) -> GlmmFit:
    """Fit the model to one dataset's scores.

    Args:
        score_N: scores in [0, 1]. Where a 0 or a 1 occurs all of them are squeezed to (y (n - 1) + 0.5) / n; scores
            that lie inside (0, 1) are taken as they are.
        plw_N: prompt weights in [0, 1]; the model's w_p is PLW ** 0.30103.
        benchmark_N: labels; the slopes of both terms vary by benchmark, with a correlation.
        model_N: labels of base models, each with a random intercept.
        polynomial: ``raw``, or ``orthogonal``: R's ``poly(w, 2)``. They are different models, since the random slopes
            have no intercept.
        seed_N: labels of training seeds, each with a random intercept too, where given.

    Raises:
        UserError: the rows cannot hold the model; see ``make_design``.
    """
    return fit_design(make_design(score_N, plw_N, benchmark_N, model_N, polynomial=polynomial, seed_N=seed_N))


def fit_design(design: Design, warm: GlmmFit | None = None) -> GlmmFit:
    """``fit_glmm`` of rows that were checked before; ``warm`` is a fit of similar rows to begin the search from."""
    messages = []
    for slopes in FALLBACKS:
        problem = Problem(design, slopes=slopes)
        start_P = None if warm is None or warm.random_part != slopes else _off_zero(problem, at_fit(problem, warm))
        best = maximise(problem, start_P)
        if best.converged or best.unbounded:
            break
        messages.append(f"the model with {slopes} did not converge (largest gradient {best.gradient:.2g})")
    if best.converged and slopes != FULL:
        messages.append(fallback_message(slopes))
    null_problem = Problem(design, slopes=problem.slopes, null=True)
    null, best = _nested(null_problem, problem, best, warm is not None)
    return _collect(problem, best, null, messages)


def at_fit(problem: Problem, fit: GlmmFit) -> Array:
    """A fit's estimates as parameters of a problem of the same polynomial and random part."""
    variances = {name: fit.random.get(name) for name in problem.intercepts}
    deviations = {name: float(np.sqrt(value or 0.0)) for name, value in variances.items()}
    covariance_22 = np.zeros((2, 2)) if fit.random["benchmark"] is None else np.asarray(fit.random["benchmark"])
    fixed_3 = np.array([fit.fixed[name] for name in FIXED_EFFECTS])
    return problem.parameters(fixed_3, fit.dispersion, covariance_22, deviations)


def _off_zero(problem: Problem, psi_P: Array) -> Array:
    """At 0 the gradient by a standard deviation is 0 by symmetry: a search that begins there would stay there."""
    theta_P = psi_P[problem.terms + 1 :]
    return np.concatenate([psi_P[: problem.terms + 1], np.where(np.abs(theta_P) < SINGULAR, 0.05, theta_P)])


def _nested(null_problem: Problem, problem: Problem, best: Maximum, warm: bool) -> tuple[Maximum, Maximum]:
    """The model without both terms, and the full model again where the null one found a higher likelihood."""
    start_P = np.concatenate([best.psi_P[:1], best.psi_P[problem.terms :]])
    null = maximise(null_problem, _off_zero(null_problem, start_P) if warm else None)
    if null.log_likelihood > best.log_likelihood and best.converged:
        start_P = np.concatenate([null.psi_P[:1], [0.0, 0.0], null.psi_P[1:]])
        again = maximise(problem, start_P)
        best = again if again.log_likelihood > best.log_likelihood else best
    return null, best


def _collect(problem: Problem, best: Maximum, null: Maximum, messages: list[str]) -> GlmmFit:
    design = problem.design
    fixed_3 = problem.fixed(best.psi_P)
    covariance_33 = _fixed_covariance(problem, best)
    deviations = problem.deviations(best.psi_P)
    raw_33 = design.basis_CC @ covariance_33 @ design.basis_CC.T
    top = optimum(design.basis_CC @ fixed_3, raw_33, len(design.benchmarks))
    of_wald = wald(fixed_3, covariance_33) if best.converged else chi_square(None)
    ratio = 2 * (best.log_likelihood - null.log_likelihood) if best.converged and null.converged else None
    if not best.converged:
        messages.append(UNBOUNDED if best.unbounded else NOT_CONVERGED)
    elif not null.converged:
        messages.append("no likelihood-ratio test: the model without both terms did not converge")
    messages = [
        *messages,
        *singular_messages(problem, best.psi_P),
        *design_messages(design),
        *filter(None, [top.remark]),
    ]
    variances = {name: deviations[name] ** 2 if name in deviations else None for name in ("model", "seed")}
    if design.seed_N is None:
        del variances["seed"]
    slopes = None if problem.slopes == NONE else problem.benchmark_covariance(best.psi_P)
    errors = np.sqrt(np.diag(covariance_33))
    return GlmmFit(
        fixed=dict(zip(FIXED_EFFECTS, (float(value) for value in fixed_3), strict=True)),
        fixed_se={name: float(e) if np.isfinite(e) else None for name, e in zip(FIXED_EFFECTS, errors, strict=True)},
        fixed_covariance=covariance_33,
        random={"benchmark": slopes, **variances},
        dispersion=float(np.exp(best.psi_P[problem.terms])),
        log_likelihood=best.log_likelihood,
        wald=of_wald,
        wald_f=f_test(of_wald, len(design.benchmarks)),
        lrt=chi_square(ratio),
        optimum=top,
        converged=best.converged,
        messages=tuple(messages),
        n=design.n,
        engine=PYTHON,
        polynomial=design.polynomial,
        random_part=problem.slopes,
        design=design,
    )


def _fixed_covariance(problem: Problem, best: Maximum) -> Array:
    """Of the fixed effects, from the inverse of the whole Hessian.

    A standard deviation at its bound 0 has no cross derivatives with the other parameters, by symmetry, so these
    errors hold it fixed there; a direction of the random part without curvature is left out.
    """
    terms = problem.terms
    hessian_PP = best.hessian_PP
    if not np.isfinite(hessian_PP).all():
        return np.full((terms, terms), np.nan)
    fixed_CC, cross_CP, rest_PP = hessian_PP[:terms, :terms], hessian_PP[:terms, terms:], hessian_PP[terms:, terms:]
    information_CC = fixed_CC - cross_CP @ np.linalg.pinv(rest_PP, rcond=1e-8, hermitian=True) @ cross_CP.T
    if np.linalg.eigvalsh(information_CC)[0] <= 0:
        return np.full((terms, terms), np.nan)
    map_CC = problem.fixed_map()
    return np.asarray(map_CC @ np.linalg.inv(information_CC) @ map_CC.T)


def glmm_json(fit: GlmmFit) -> dict[str, Any]:
    """The fit as plain numbers; what is unknown is None."""
    slopes = fit.random["benchmark"]
    return {
        "fixed": dict(fit.fixed),
        "fixed_se": dict(fit.fixed_se),
        "random": fit.random | {"benchmark": None if slopes is None else np.asarray(slopes).tolist()},
        "dispersion": fit.dispersion,
        "log_likelihood": fit.log_likelihood,
        "wald": vars(fit.wald),
        "wald_f": vars(fit.wald_f),
        "lrt": vars(fit.lrt),
        "optimum": {"plw": fit.optimum.plw, "low": fit.optimum.low, "high": fit.optimum.high},
        "converged": fit.converged,
        "messages": list(fit.messages),
        "n": fit.n,
        "polynomial": fit.polynomial,
        "engine": fit.engine,
        "random_part": fit.random_part,
    }
