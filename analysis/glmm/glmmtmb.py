"""The same beta mixed model by R's glmmTMB, where it is installed: what the Python engine is held against."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.arrays import Array
from analysis.glmm.design import RAW, Design, make_design
from analysis.glmm.fit import FIXED_EFFECTS, GlmmFit, at_fit
from analysis.glmm.inference import chi_square, f_test, optimum, wald
from analysis.glmm.likelihood import FULL
from analysis.glmm.messages import NOT_CONVERGED, design_messages, fallback_message, singular_messages
from analysis.glmm.optimise import Problem
from analysis.r_bridge import R_SCRIPTS, require_r, run_r
from plw.errors import UserError

GLMM_SCRIPT = R_SCRIPTS / "glmm.R"


def fit_glmm_r(
    score_N: Sequence[float] | Array,
    plw_N: Sequence[float] | Array,
    benchmark_N: Sequence[Any],
    model_N: Sequence[Any],
    *,
    polynomial: str = RAW,
    seed_N: Sequence[Any] | None = None,
) -> GlmmFit:
    """``fit_glmm`` by R: the same arguments, the same answer.

    Raises:
        UserError: the rows cannot hold the model, R is not there, or it failed; the line says why.
    """
    design = make_design(score_N, plw_N, benchmark_N, model_N, polynomial=polynomial, seed_N=seed_N)
    require_r("glmmTMB")
    fit = fit_designs_r({"data": design})["data"]
    if isinstance(fit, str):
        raise UserError(fit)
    return fit


def fit_designs_r(designs: Mapping[str, Design]) -> dict[str, GlmmFit | str]:
    """Fit every design in one R process; where a fit failed, or R as a whole, the reason stands in its place."""
    if not designs:
        return {}
    names = list(designs)
    try:
        answer = run_r(GLMM_SCRIPT, [_table(list(designs.values()))], designs[names[0]].polynomial)
    except UserError as error:
        return dict.fromkeys(names, str(error))
    fits: dict[str, GlmmFit | str] = {}
    for number, name in enumerate(names):
        told = answer["fits"].get(str(number), {})
        if "fixed" in told:
            fits[name] = _from_r(designs[name], told, answer["version"])
        else:
            fits[name] = f"R could not fit it: {told.get('error', 'no answer')}"
    return fits


def _table(designs: Sequence[Design]) -> pd.DataFrame:
    """The rows of all designs; labels are passed as numbers, so no name of a benchmark or model can break the table."""
    tables = []
    for number, design in enumerate(designs):
        columns = {"dataset": number, "score": design.score_N, "w_p": design.w_N}
        columns |= {"benchmark": design.benchmark_N, "model": design.model_N}
        if design.seed_N is not None:
            columns["seed"] = design.seed_N
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables)


def _from_r(design: Design, told: dict[str, Any], version: str) -> GlmmFit:
    fixed_3 = np.array([told["fixed"][name] for name in FIXED_EFFECTS])
    covariance_33 = np.array(told["covariance"], dtype=np.float64)
    errors = np.sqrt(np.diag(covariance_33))
    raw_33 = design.basis_CC @ covariance_33 @ design.basis_CC.T
    top = optimum(design.basis_CC @ fixed_3, raw_33, len(design.benchmarks))
    of_wald = wald(fixed_3, covariance_33)
    given = told["variances"] or {}
    variances = {name: given.get(name) for name in ("model", "seed") if name == "model" or design.seed_N is not None}
    slopes = told["benchmark_covariance"]
    fit = GlmmFit(
        fixed=dict(zip(FIXED_EFFECTS, (float(value) for value in fixed_3), strict=True)),
        fixed_se={name: float(e) if np.isfinite(e) else None for name, e in zip(FIXED_EFFECTS, errors, strict=True)},
        fixed_covariance=covariance_33,
        random={"benchmark": None if slopes is None else np.array(slopes, dtype=np.float64), **variances},
        dispersion=told["dispersion"],
        log_likelihood=told["log_likelihood"],
        wald=of_wald,
        wald_f=f_test(of_wald, len(design.benchmarks)),
        lrt=chi_square(told["lrt_chisq"]),
        optimum=top,
        converged=bool(told["converged"]),
        messages=(),
        n=told["n"],
        engine=f"r ({version})",
        polynomial=design.polynomial,
        random_part=told["random_part"],
        design=design,
    )
    return replace(fit, messages=tuple(_words(fit, told["messages"])))


def _words(fit: GlmmFit, told: Sequence[str]) -> list[str]:
    """Our own words on how the fit ended, then glmmTMB's."""
    lines = []
    if not fit.converged:
        lines.append(NOT_CONVERGED)
    elif fit.random_part != FULL:
        lines.append(fallback_message(fit.random_part, "singular" if any("singular" in line for line in told) else ""))
    problem = Problem(fit.design, slopes=fit.random_part)
    lines += [
        *singular_messages(problem, at_fit(problem, fit)),
        *design_messages(fit.design),
        *filter(None, [fit.optimum.remark]),
    ]
    for line in told:
        text = " ".join(str(line).split()).replace("Model convergence problem; ", "")
        lines.append("glmmTMB: " + text.removesuffix(" See vignette('troubleshooting')").removesuffix("."))
    return lines
