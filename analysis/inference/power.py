"""How large a study must be to find an effect of the size that was fitted, by simulation."""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
import pandas as pd

from analysis.glmm.bootstrap import simulate_scores
from analysis.glmm.design import Design
from analysis.glmm.fit import GlmmFit, fit_design
from analysis.levels import SIGNIFICANCE
from plw.errors import UserError
from plw.progress import Progress, no_progress


def simulated_power(
    fit: GlmmFit,
    *,
    seeds: Sequence[int] = (1, 3),
    benchmarks: Sequence[int] = (13,),
    studies: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Share of simulated studies in which the weight matters at 5%.

    A study has the fit's weights and base models; its benchmarks are new draws from the slopes' distribution, its
    seeds repeat every cell, with an intercept of their own where the fit has a variance of seeds. It is fitted as the
    fit was.

    Args:
        fit: gives the size of the effect and of everything that hides it.
        seeds: numbers of seeds a study might have.
        benchmarks: numbers of benchmarks it might have.
        studies: simulated studies for each pair.
        seed: of the simulation.
        progress: told of each study.

    Returns:
        One row a pair: ``seeds``, ``benchmarks``, ``scores`` (rows of a study), ``studies``, ``converged``, and the
        power of the F test, of Wald's and of the likelihood-ratio test (``power_f``, ``power_wald``, ``power_lrt``)
        with the Monte Carlo standard error of the first (``error``). Studies that did not converge count as finding
        nothing.

    Raises:
        UserError: the fit did not converge, or a size is out of range.
    """
    if not fit.converged:
        raise UserError("the fit did not converge, so there is no effect to simulate from")
    if min(seeds) < 1 or min(benchmarks) < 2 or studies < 1:
        raise UserError("a power calculation needs at least one seed, two benchmarks and one study")
    tell, done, total = progress or no_progress, 0, len(seeds) * len(benchmarks) * studies
    rows = []
    for count in seeds:
        for size in benchmarks:
            design = study_design(fit, seeds=count, benchmarks=size)
            found = []
            for number in range(studies):
                generator = np.random.default_rng([seed, count, size, number])
                again = fit_design(replace(design, score_N=simulate_scores(fit, design, generator)), warm=fit)
                found.append(
                    [again.converged, *(_found(again, p) for p in (again.wald_f.p, again.wald.p, again.lrt.p))]
                )
                done += 1
                tell(done, total, f"{count} seeds, {size} benchmarks")
            converged, by_f, by_wald, by_lrt = (float(value) for value in np.mean(found, axis=0))
            rows.append({
                "seeds": count, "benchmarks": size, "scores": design.n, "studies": studies, "converged": converged,
                "power_f": by_f, "error": _error(by_f, studies), "power_wald": by_wald, "power_lrt": by_lrt,
            })  # fmt: skip
    return pd.DataFrame(rows)


def study_design(fit: GlmmFit, *, seeds: int, benchmarks: int) -> Design:
    """The rows of a full study: the fit's weights x base models, for so many benchmarks and seeds."""
    design = fit.design
    weights = np.unique(design.w_N)
    axes = np.meshgrid(np.arange(benchmarks), np.arange(len(design.models)), np.arange(seeds), weights, indexing="ij")
    benchmark_N, model_N, seed_N = (axis.ravel().astype(np.intp) for axis in axes[:3])
    w_N = np.asarray(axes[3].ravel(), dtype=np.float64)
    # An orthogonal basis is tied to the rows that it was made of; the coefficients keep their meaning in that one.
    return replace(
        design,
        score_N=np.full(len(w_N), 0.5),
        w_N=w_N,
        benchmark_N=benchmark_N,
        model_N=model_N,
        seed_N=seed_N if fit.random.get("seed") is not None else None,
        benchmarks=tuple(f"benchmark {number + 1}" for number in range(benchmarks)),
        seeds=tuple(str(number + 1) for number in range(seeds)) if fit.random.get("seed") is not None else (),
    )


def _error(share: float, studies: int) -> float:
    """Of a share of studies, by Agresti and Coull: not 0 where none or all of a few found something."""
    more = (share * studies + 2) / (studies + 4)
    return sqrt(more * (1 - more) / (studies + 4))


def _found(fit: GlmmFit, p: float | None) -> bool:
    return fit.converged and p is not None and p < SIGNIFICANCE
