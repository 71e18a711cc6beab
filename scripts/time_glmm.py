"""Seconds of one fit of the mixed model, 260 rows, on one core; and glmmTMB's on the same rows, where R is installed.

    OMP_NUM_THREADS=1 python scripts/time_glmm.py --repeats 20

Both fit the full model and the one without both terms, with standard errors. R's time is taken within R, after a
first fit, so it holds neither the start of R nor of the package.
"""

import argparse
import json
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis.glmm.design import make_design
from analysis.glmm.fit import fit_design
from analysis.r_bridge import r_has

R_CODE = """
suppressPackageStartupMessages(library(glmmTMB))
d <- read.csv(commandArgs(TRUE)[1])
d$b <- factor(d$b)
d$m <- factor(d$m)
one <- function() for (fixed in c("w + I(w^2)", "1")) {
  formula <- as.formula(paste("y ~", fixed, "+ (0 + w + I(w^2) | b) + (1 | m)"))
  glmmTMB(formula, family = beta_family(), data = d)
}
one()
cat(replicate(as.integer(commandArgs(TRUE)[2]), system.time(one())[["elapsed"]]))
"""
WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    score, weight, benchmark, model = study()
    design = make_design(score, weight, benchmark, model)
    fit_design(design)
    seconds = []
    for _ in range(options.repeats):
        begun = time.perf_counter()
        fit_design(design)
        seconds.append(time.perf_counter() - begun)
    told: dict[str, object] = {"machine": platform.machine(), "rows": design.n, "python_s": float(np.median(seconds))}
    if r_has("glmmTMB"):
        by_r = r_seconds(pd.DataFrame({"y": score, "w": design.w_N, "b": benchmark, "m": model}), options.repeats)
        told |= {"glmmTMB_s": by_r, "python / glmmTMB": float(np.median(seconds)) / by_r}
    print(json.dumps(told, indent=1))


def study() -> tuple[np.ndarray, ...]:
    """Scores of a study of the paper's size, with their weights, benchmarks and models."""
    generator = np.random.default_rng(1)
    weight, benchmark, model = (axis.ravel() for axis in np.meshgrid(WEIGHTS, np.arange(13), np.arange(2)))
    w = weight**0.30103
    slope = (np.array([5.6, -4.3]) + generator.standard_normal((13, 2)))[benchmark]
    mean = expit(-1.0 + 0.3 * model + slope[:, 0] * w + slope[:, 1] * w**2)
    return generator.beta(mean * 40, (1 - mean) * 40), weight, benchmark, model


def r_seconds(rows: pd.DataFrame, repeats: int) -> float:
    """The median of glmmTMB's times."""
    with tempfile.TemporaryDirectory() as folder:
        table, code = Path(folder) / "rows.csv", Path(folder) / "time.R"
        rows.to_csv(table, index=False)
        code.write_text(R_CODE)
        done = subprocess.run(
            ["Rscript", "--vanilla", str(code), str(table), str(repeats)], capture_output=True, text=True, check=True
        )
    return float(np.median([float(word) for word in done.stdout.split()]))


if __name__ == "__main__":
    main()
