"""Draws new scores from a fitted beta mixed model, and the parametric bootstrap of the optimum that rests on it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from analysis.arrays import Array, covariance_root
from analysis.glmm.design import Design
from analysis.glmm.fit import FIXED_EFFECTS, GlmmFit, fit_design
from analysis.glmm.inference import best_w
from analysis.levels import TAILS
from analysis.scores.frame import weight_from_scale
from plw.errors import UserError
from plw.progress import Progress, no_progress

EDGE = 1e-9
"""A drawn score that rounds to 0 or 1 is moved inside by this much."""


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """The best weight in refits to scores drawn from the fit.

    A refit counts with the weight between 0 and 1 at which its curve is highest, which is 0 or 1 where the curve has
    no top inside; ``inside`` is the share that has one. ``low`` and ``high`` are the 2.5% and 97.5% quantiles.
    """

    low: float | None
    high: float | None
    inside: float
    n: int
    failed: int
    seed: int


def simulate_scores(
    fit: GlmmFit, design: Design, generator: np.random.Generator, effects: Array | None = None
) -> Array:
    """Scores of the design's rows under the fitted model.

    Args:
        fit: gives fixed effects, variances and dispersion. Its polynomial must be the design's.
        design: gives the rows; its benchmarks, models and seeds may be others than the fit's, drawn from the same
            variances.
        generator: source of all randomness.
        effects: what the random effects add to each row's η; drawn anew where not given.
    """
    eta_N = linear_predictor(fit, design) + (sample_effects(fit, design, generator) if effects is None else effects)
    mean_N = expit(eta_N)
    score_N = generator.beta(mean_N * fit.dispersion, (1 - mean_N) * fit.dispersion)
    return np.asarray(np.clip(score_N, EDGE, 1 - EDGE))


def linear_predictor(fit: GlmmFit, design: Design) -> Array:
    """[N]: η, the linear predictor of the fixed effects on the logit scale, at a design's rows."""
    return np.asarray(design.columns_NC @ np.array([fit.fixed[name] for name in FIXED_EFFECTS]))


def sample_effects(fit: GlmmFit, design: Design, generator: np.random.Generator) -> Array:
    """What newly drawn random effects add to each row's η."""
    effect_N = np.zeros(design.n)
    if fit.random["benchmark"] is not None:
        slope_G2 = (
            generator.standard_normal((len(design.benchmarks), 2))
            @ covariance_root(np.asarray(fit.random["benchmark"])).T
        )
        effect_N += (design.columns_NC[:, 1:] * slope_G2[design.benchmark_N]).sum(axis=1)
    for name, code_N in (("model", design.model_N), ("seed", design.seed_N)):
        variance = fit.random.get(name)
        if variance is not None and code_N is not None:
            effect_N += np.sqrt(variance) * generator.standard_normal(int(code_N.max()) + 1)[code_N]
    return effect_N


def refits(fit: GlmmFit, n: int, seed: int, progress: Progress = no_progress) -> Iterator[GlmmFit]:
    """Fits to ``n`` sets of scores drawn from the fit; the same seed gives the same."""
    for index in range(n):
        generator = np.random.default_rng([seed, index])
        yield fit_design(replace(fit.design, score_N=simulate_scores(fit, fit.design, generator)), warm=fit)
        progress(index + 1, n, "bootstrap")


def bootstrap_optimum(fit: GlmmFit, n: int, seed: int = 0, progress: Progress | None = None) -> Bootstrap:
    """Interval of the best weight by the parametric bootstrap: draw random effects and scores from the fit, fit again.

    Args:
        fit: a converged fit.
        n: number of draws; some hundred for an interval.
        seed: of the draws.
        progress: told of each.

    Raises:
        UserError: the fit did not converge.
    """
    if not fit.converged:
        raise UserError("the fit did not converge, so there is no model to draw from")
    best, inside, failed = [], 0, 0
    for again in refits(fit, n, seed, progress or no_progress):
        if not again.converged:
            failed += 1
            continue
        _, w, w2 = again.raw_fixed
        best.append(best_w(w, w2))
        inside += again.optimum.plw is not None
    ends = np.quantile(best, TAILS) if best else None
    low, high = (None, None) if ends is None else (weight_from_scale(end) for end in ends)
    return Bootstrap(low=low, high=high, inside=inside / max(len(best), 1), n=n, failed=failed, seed=seed)
