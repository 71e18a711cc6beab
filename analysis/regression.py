"""Table 3 of the paper: does the prompt weight change the scores, and where is the optimum? By R's glmmTMB where it is
installed, and otherwise by an ordinary quadratic fit that says that it is not the paper's model.
"""

import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.frame import weight_from_scale

GLMM = "beta mixed model by glmmTMB"
ORDINARY = "ordinary quadratic fit, not the paper's model"
SCRIPT = Path(__file__).parent / "R" / "glmm.R"
R_TIMEOUT_S = 600
TERMS = 3
"""Of a parabola: intercept, w_p and w_p^2."""


@dataclass(frozen=True, kw_only=True)
class Regression:
    """score ~ w_p + w_p^2 of one dataset. Numbers are None where the fit gave none; the messages say why.

    The mixed model's coefficients are on the logit scale of the squeezed score, the ordinary fit's on the score's own.
    """

    dataset: str
    engine: str
    n: int
    p: float | None = None
    """Of the test that both terms of w_p are 0: Wald's chi-square (mixed model) or F (ordinary fit)."""
    w: float | None = None
    w2: float | None = None
    intercept: float | None = None
    w_se: float | None = None
    w2_se: float | None = None
    intercept_se: float | None = None
    optimum: float | None = None
    """λ* = (-b1 / (2 b2)) ** (1 / 0.30103), where the curve has a maximum within the weights 0 and 1."""
    converged: bool = False
    messages: tuple[str, ...] = ()
    details: dict[str, Any] | None = None
    """Everything that R answered."""


def squeeze(score: "pd.Series[float]") -> "pd.Series[float]":
    """(y (n - 1) + 0.5) / n: brings 0 and 1 inside the open interval of a beta distribution (a choice of ours)."""
    return (score * (len(score) - 1) + 0.5) / len(score)


def optimum(w: float | None, w2: float | None) -> float | None:
    """The prompt weight at the top of the parabola; None where it opens upwards or its top lies outside 0 to 1."""
    if w is None or w2 is None or not w2 < 0:
        return None
    top = -w / (2 * w2)
    return weight_from_scale(top) if 0 <= top <= 1 else None


@cache
def r_available() -> bool:
    """Whether Rscript is there and has the packages of ``R/glmm.R``."""
    if shutil.which("Rscript") is None:
        return False
    code = 'quit(status = !all(c("glmmTMB", "jsonlite") %in% rownames(installed.packages())))'
    return subprocess.run(["Rscript", "-e", code], capture_output=True, check=False).returncode == 0


def regressions(rows: pd.DataFrame, engine: str = "auto") -> list[Regression]:
    """Fit every dataset.

    Args:
        rows: of a ``TidyFrame``; those without a ``scaled`` score are left out.
        engine: ``r``, ``ordinary``, or ``auto``: R where it is installed.
    """
    by_r = engine == "r" or (engine == "auto" and r_available())
    fits = []
    fittable = []
    for dataset, of_dataset in rows.groupby("dataset"):
        known = of_dataset.dropna(subset=["scaled"])
        weights = known["w_p"].nunique()
        if weights < TERMS or len(known) <= TERMS:
            reason = f"{weights} weights and {len(known)} scores that differ do not determine a parabola"
            fits.append(_failed(str(dataset), len(known), reason, GLMM if by_r else ORDINARY))
        elif by_r:
            fittable.append(known.assign(score=squeeze(known["scaled"])))
        else:
            fits.append(fit_ordinary(str(dataset), known))
    if fittable:
        fits += fit_glmm(pd.concat(fittable))
    return sorted(fits, key=lambda fit: fit.dataset)


def fit_glmm(data: pd.DataFrame) -> list[Regression]:
    """The paper's model for every dataset in ``data`` (columns dataset, score in (0, 1), w_p, benchmark, model), by R.

    A dataset that R cannot fit, or R failing as a whole, gives rows whose messages hold the reason.
    """
    sizes = data.groupby("dataset").size()
    try:
        answer = _call_r(data)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return [_failed(str(name), int(n), f"R failed: {_last_line(error)}") for name, n in sizes.items()]
    return [_from_r(str(name), int(n), answer["fits"].get(name, {}), answer["version"]) for name, n in sizes.items()]


def fit_ordinary(dataset: str, rows: pd.DataFrame) -> Regression:
    """Least squares of the scaled score on w_p and w_p^2, all rows alike: a picture of the trend, without the paper's
    beta distribution and without its random effects, so its p-value takes rows of one benchmark for independent.
    """
    w_N, score_N = rows["w_p"].to_numpy(dtype=float), rows["scaled"].to_numpy(dtype=float)
    design_NC = np.stack([np.ones_like(w_N), w_N, w_N**2], axis=1)
    n = len(score_N)
    coefficient_C, *_ = np.linalg.lstsq(design_NC, score_N, rcond=None)
    residual = float(np.sum((score_N - design_NC @ coefficient_C) ** 2))
    total = float(np.sum((score_N - score_N.mean()) ** 2))
    variance = residual / (n - TERMS)
    se_C = np.sqrt(np.diag(variance * np.linalg.inv(design_NC.T @ design_NC)))
    f = math.inf if variance == 0 else (total - residual) / 2 / variance
    intercept, w, w2 = (float(value) for value in coefficient_C)
    return Regression(
        dataset=dataset,
        engine=ORDINARY,
        n=n,
        p=float(stats.f.sf(f, 2, n - TERMS)),
        intercept=intercept,
        w=w,
        w2=w2,
        intercept_se=float(se_C[0]),
        w_se=float(se_C[1]),
        w2_se=float(se_C[2]),
        optimum=optimum(w, w2),
        converged=True,
    )


def _call_r(data: pd.DataFrame) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="plw-glmm-") as folder:
        table, out = Path(folder) / "scores.csv", Path(folder) / "fits.json"
        data[["dataset", "score", "w_p", "benchmark", "model"]].to_csv(table, index=False)
        command = ["Rscript", "--vanilla", str(SCRIPT), str(table), str(out)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=R_TIMEOUT_S)
        answer: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return answer


def _from_r(dataset: str, n: int, fit: dict[str, Any], version: str) -> Regression:
    if "intercept" not in fit:
        return _failed(dataset, n, f"R could not fit it: {fit.get('error', 'no answer')}")
    simpler = fit["random_slopes"] != "full"
    se = fit["se"]
    return Regression(
        dataset=dataset,
        engine=f"{GLMM}, {fit['random_slopes']}" if simpler else GLMM,
        n=n,
        p=fit["p"],
        w=fit["w"],
        w2=fit["w2"],
        intercept=fit["intercept"],
        w_se=se["w"],
        w2_se=se["w2"],
        intercept_se=se["intercept"],
        optimum=optimum(fit["w"], fit["w2"]),
        converged=bool(fit["converged"]),
        messages=tuple(_messages(fit, simpler)),
        details=fit | {"version": version},
    )


def _messages(fit: dict[str, Any], simpler: bool) -> Iterator[str]:
    if simpler and fit["converged"]:
        yield f"the paper's model did not converge; this is one with {fit['random_slopes']}"
    if not fit["converged"]:
        yield "not converged: its standard errors and p-value cannot be relied on"
    for message in fit["messages"]:
        text = " ".join(str(message).split()).replace("Model convergence problem; ", "")
        yield text.removesuffix(" See vignette('troubleshooting')").removesuffix(".")


def _failed(dataset: str, n: int, reason: str, engine: str = GLMM) -> Regression:
    return Regression(dataset=dataset, engine=engine, n=n, messages=(reason,))


def _last_line(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
