"""Table 3 of the paper: does the prompt weight change the scores, and where is the optimum? A model a dataset."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.glmm.design import TERMS, Design, make_design
from analysis.glmm.fit import GlmmFit, fit_design
from analysis.glmm.glmmtmb import fit_designs_r
from analysis.glmm.likelihood import FULL
from plw import __version__
from plw.errors import UserError
from plw.progress import count

GLMM = "beta mixed model"


@dataclass(frozen=True, kw_only=True)
class Regression:
    """score ~ w_p + w_p^2 of one dataset. Numbers are None where the fit gave none; the messages say why.

    The coefficients are on the logit scale of the squeezed score.
    """

    dataset: str
    engine: str
    """The model's name, and after a comma the simpler random part where one was taken."""
    n: int
    p: float | None = None
    """Of Wald's test that both terms of w_p are 0."""
    w: float | None = None
    w2: float | None = None
    intercept: float | None = None
    w_se: float | None = None
    w2_se: float | None = None
    intercept_se: float | None = None
    optimum: float | None = None
    """λ* = (-b1 / (2 b2)) ** (1 / 0.30103), where the curve has a maximum within the weights 0 and 1."""
    optimum_low: float | None = None
    optimum_high: float | None = None
    p_lrt: float | None = None
    """Of the likelihood-ratio test of the same two terms."""
    p_f: float | None = None
    """Of Wald's statistic against F, which holds its level where benchmarks are few; see ``docs/statistics.md``."""
    converged: bool = False
    messages: tuple[str, ...] = ()
    details: dict[str, Any] | None = None
    """``version``: what fitted it."""
    fit: GlmmFit | None = None
    """The whole fit, for residual checks, bootstrap and power."""


def regressions(rows: pd.DataFrame, engine: str = "python") -> list[Regression]:
    """Fit every dataset.

    Seeds get a random intercept where a dataset has more than one.

    Args:
        rows: of a ``TidyFrame``; those without a ``scaled`` score are left out.
        engine: ``python``, or ``r`` for glmmTMB.
    """
    designs: dict[str, Design] = {}
    fits = []
    for name, of_dataset in rows.groupby("dataset"):
        dataset, known = str(name), of_dataset.dropna(subset=["scaled"])
        if _too_few(known):
            reason = f"{_counted(known)} of benchmarks whose scores differ do not determine a parabola"
            if known.empty:
                reason = "every benchmark has the same score in all cells, and so no place on the relative scale"
            if _too_few(of_dataset):
                reason = f"{_counted(of_dataset)} do not determine a parabola"
            fits.append(failed(dataset, len(known), reason))
            continue
        try:
            designs[dataset] = dataset_design(known)
        except UserError as error:
            fits.append(failed(dataset, len(known), str(error)))
    answers: dict[str, GlmmFit | str] = (
        fit_designs_r(designs) if engine == "r" else {name: fit_design(design) for name, design in designs.items()}
    )
    for name, answer in answers.items():
        done = failed(name, designs[name].n, answer) if isinstance(answer, str) else from_fit(name, answer)
        fits.append(done)
    return sorted(fits, key=lambda fit: fit.dataset)


def _too_few(rows: pd.DataFrame) -> bool:
    return bool(rows["w_p"].nunique() < TERMS or len(rows) <= TERMS)


def _counted(rows: pd.DataFrame) -> str:
    return f"{count(rows['w_p'].nunique(), 'weight')} and {count(len(rows), 'score')}"


def dataset_design(known: pd.DataFrame, polynomial: str = "raw") -> Design:
    """The rows of one dataset as the model takes them: the relative scores, squeezed since they hold 0 and 1.

    Raises:
        UserError: the rows cannot hold the model.
    """
    seeds = list(known["seed"]) if "seed" in known and known["seed"].nunique() > 1 else None
    return make_design(
        known["scaled"].to_numpy(dtype=float),
        known["prompt_weight"].to_numpy(dtype=float),
        list(known["benchmark"]),
        list(known["model"]),
        polynomial=polynomial,
        seed_N=seeds,
    )


def from_fit(dataset: str, fit: GlmmFit) -> Regression:
    """The row of Table 3 that a fit makes."""
    intercept, w, w2 = (float(value) for value in fit.raw_fixed)
    version = f"plw {__version__}, the Laplace approximation in Python" if fit.engine == "python" else fit.engine
    return Regression(
        dataset=dataset,
        engine=GLMM if fit.random_part == FULL else f"{GLMM}, {fit.random_part}",
        n=fit.n,
        p=fit.wald.p,
        p_lrt=fit.lrt.p,
        p_f=fit.wald_f.p,
        w=w,
        w2=w2,
        intercept=intercept,
        w_se=fit.fixed_se["w"],
        w2_se=fit.fixed_se["w2"],
        intercept_se=fit.fixed_se["intercept"],
        optimum=fit.optimum.plw,
        optimum_low=fit.optimum.low,
        optimum_high=fit.optimum.high,
        converged=fit.converged,
        messages=fit.messages,
        details={"version": version},
        fit=fit,
    )


def failed(dataset: str, n: int, reason: str) -> Regression:
    """The row of Table 3 of a dataset that could not be fitted; the reason is its message."""
    return Regression(dataset=dataset, engine=GLMM, n=n, messages=(reason,))
