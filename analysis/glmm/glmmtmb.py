"""The same beta mixed model by R's glmmTMB, where it is installed: what the Python engine is held against."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.glmm.design import RAW, Array, Design, make_design
from analysis.glmm.fit import NAMES, GlmmFit, at_fit
from analysis.glmm.inference import chi_square, f_test, optimum, wald
from analysis.glmm.likelihood import FULL
from analysis.glmm.messages import NOT_CONVERGED, design_words, fallback_words, singular_words
from analysis.glmm.optimise import Problem
from plw.errors import UserError

SCRIPT = Path(__file__).parents[1] / "R" / "glmm.R"
R_TIMEOUT_S = 600
NEEDS = "needs Rscript with the packages glmmTMB and jsonlite"


@cache
def r_available() -> bool:
    """Whether Rscript is there and has the packages of ``R/glmm.R``."""
    if shutil.which("Rscript") is None:
        return False
    code = 'quit(status = !all(c("glmmTMB", "jsonlite") %in% rownames(installed.packages())))'
    return subprocess.run(["Rscript", "-e", code], capture_output=True, check=False).returncode == 0


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
    if not r_available():
        raise UserError(f"engine r {NEEDS}; engine python needs neither")
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
        answer = _call_r([designs[name] for name in names])
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return dict.fromkeys(names, f"R failed: {_last_line(error)}")
    fits: dict[str, GlmmFit | str] = {}
    for number, name in enumerate(names):
        told = answer["fits"].get(str(number), {})
        if "fixed" in told:
            fits[name] = _from_r(designs[name], told, answer["version"])
        else:
            fits[name] = f"R could not fit it: {told.get('error', 'no answer')}"
    return fits


def _call_r(designs: Sequence[Design]) -> dict[str, Any]:
    """Labels are passed as numbers, so no name of a benchmark or model can break the table."""
    tables = []
    for number, design in enumerate(designs):
        columns = {"dataset": number, "score": design.score_N, "w_p": design.w_N}
        columns |= {"benchmark": design.benchmark_N, "model": design.model_N}
        if design.seed_N is not None:
            columns["seed"] = design.seed_N
        tables.append(pd.DataFrame(columns))
    with tempfile.TemporaryDirectory(prefix="plw-glmm-") as folder:
        table, out = Path(folder) / "scores.csv", Path(folder) / "fits.json"
        pd.concat(tables).to_csv(table, index=False, float_format="%.17g")
        command = ["Rscript", "--vanilla", str(SCRIPT), str(table), str(out), designs[0].polynomial]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=R_TIMEOUT_S)
        answer: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return answer


def _from_r(design: Design, told: dict[str, Any], version: str) -> GlmmFit:
    fixed_3 = np.array([told["fixed"][name] for name in NAMES])
    covariance_33 = np.array(told["covariance"], dtype=np.float64)
    errors = np.sqrt(np.diag(covariance_33))
    raw_33 = design.basis_CC @ covariance_33 @ design.basis_CC.T
    top = optimum(design.basis_CC @ fixed_3, raw_33, len(design.benchmarks))
    of_wald = wald(fixed_3, covariance_33)
    given = told["variances"] or {}
    variances = {name: given.get(name) for name in ("model", "seed") if name == "model" or design.seed_N is not None}
    slopes = told["benchmark_covariance"]
    fit = GlmmFit(
        fixed=dict(zip(NAMES, (float(value) for value in fixed_3), strict=True)),
        fixed_se={name: float(e) if np.isfinite(e) else None for name, e in zip(NAMES, errors, strict=True)},
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
        lines.append(fallback_words(fit.random_part, "singular" if any("singular" in line for line in told) else ""))
    problem = Problem(fit.design, slopes=fit.random_part)
    lines += [
        *singular_words(problem, at_fit(problem, fit)),
        *design_words(fit.design),
        *filter(None, [fit.optimum.remark]),
    ]
    for line in told:
        text = " ".join(str(line).split()).replace("Model convergence problem; ", "")
        lines.append("glmmTMB: " + text.removesuffix(" See vignette('troubleshooting')").removesuffix("."))
    return lines


def _last_line(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
