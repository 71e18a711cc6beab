"""Simulated studies of the paper's size: does the interval of the optimum cover, and do the tests hold their level?

    python scripts/coverage_glmm.py --studies 500 --processes 2 --json coverage.json

Each study has 13 (or 10) benchmarks, 2 base models and the paper's ten weights, 260 (200) scores. Half the studies
have the curve of Table 3's Short (optimum 0.242), half none at all (both terms 0); all have slopes that vary by
benchmark.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit

from analysis.glmm.fit import fit_glmm
from analysis.levels import CONFIDENCE
from analysis.scores.frame import EXPONENT

WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
INTERCEPT, SHORT, NULL = -1.043, (5.590, -4.284), (0.0, 0.0)
SLOPE_SD, SLOPE_CORRELATION, MODEL_SD, DISPERSION = (1.2, 1.0), -0.6, 0.35, 40.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one study's fit says."""

    converged: bool
    singular: bool
    plw: float | None
    low: float | None
    high: float | None
    wald_p: float | None
    lrt_p: float | None
    f_p: float | None
    seconds: float


def simulate(
    generator: np.random.Generator, *, benchmarks: int, models: int, curve: tuple[float, float]
) -> tuple[np.ndarray, ...]:
    """Scores of one study, with their weights, benchmarks and models."""
    weight, benchmark, model = (axis.ravel() for axis in np.meshgrid(WEIGHTS, np.arange(benchmarks), np.arange(models)))
    w = weight**EXPONENT
    covariance = np.diag(SLOPE_SD) @ [[1, SLOPE_CORRELATION], [SLOPE_CORRELATION, 1]] @ np.diag(SLOPE_SD)
    slope = generator.multivariate_normal(curve, covariance, size=benchmarks)[benchmark]
    level = INTERCEPT + generator.normal(0, MODEL_SD, size=models)[model]
    mean = expit(level + slope[:, 0] * w + slope[:, 1] * w**2)
    return generator.beta(mean * DISPERSION, (1 - mean) * DISPERSION), weight, benchmark, model


def study(seed: int, *, benchmarks: int, models: int, curve: tuple[float, float]) -> Outcome:
    """Simulate one study and fit it."""
    rows = simulate(np.random.default_rng(seed), benchmarks=benchmarks, models=models, curve=curve)
    begun = time.process_time()
    fit = fit_glmm(*rows)
    return Outcome(
        converged=fit.converged, singular=any("singular" in line for line in fit.messages), plw=fit.optimum.plw,
        low=fit.optimum.low, high=fit.optimum.high, wald_p=fit.wald.p, lrt_p=fit.lrt.p, f_p=fit.wald_f.p,
        seconds=time.process_time() - begun,
    )  # fmt: skip


def share(hits: list[bool]) -> dict[str, float]:
    """A share with its Monte Carlo standard error."""
    mean = float(np.mean(hits))
    return {"share": mean, "error": float(np.sqrt(mean * (1 - mean) / len(hits))), "of": len(hits)}


def summary(outcomes: list[Outcome], curve: tuple[float, float]) -> dict[str, object]:
    """Coverage where there is an optimum, level of the tests where there is no curve."""
    good = [outcome for outcome in outcomes if outcome.converged]
    told: dict[str, object] = {
        "converged": share([outcome.converged for outcome in outcomes]),
        "singular": share([outcome.singular for outcome in outcomes]),
        "mean_seconds": float(np.mean([outcome.seconds for outcome in outcomes])),
    }
    for name in ("wald_p", "lrt_p", "f_p"):
        told[name + " < 0.05"] = share([getattr(outcome, name) < 0.05 for outcome in good])
    if curve != NULL:
        truth = (-curve[0] / (2 * curve[1])) ** (1 / EXPONENT)
        inside = [outcome for outcome in good if outcome.low is not None and outcome.high is not None]
        told["optimum"] = truth
        told["has an optimum inside"] = share([outcome.plw is not None for outcome in good])
        told[f"{CONFIDENCE:.0%} interval covers"] = share([outcome.low <= truth <= outcome.high for outcome in inside])
        told["true optimum below the interval"] = share([truth < outcome.low for outcome in inside])
        told["true optimum above the interval"] = share([truth > outcome.high for outcome in inside])
        told["median estimate"] = float(np.median([outcome.plw for outcome in inside]))
        told["median width"] = float(np.median([outcome.high - outcome.low for outcome in inside]))
    return told


def settings(sizes: list[tuple[int, int]]) -> Iterator[tuple[str, int, int, tuple[float, float]]]:
    """Every size of study, with and without a curve."""
    for benchmarks, models in sizes:
        for name, curve in (("short", SHORT), ("null", NULL)):
            yield f"{name}, {benchmarks} benchmarks, {models} models", benchmarks, models, curve


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="simulated studies a setting")
    parser.add_argument("--first-seed", type=int, default=0, help="studies have seeds from here on")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--size", nargs=2, type=int, action="append", metavar=("BENCHMARKS", "MODELS"))
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    told = {}
    with ProcessPoolExecutor(options.processes) as pool:
        for name, benchmarks, models, curve in settings(options.size or [(13, 2), (10, 2)]):
            one = partial(study, benchmarks=benchmarks, models=models, curve=curve)
            outcomes = list(
                pool.map(one, range(options.first_seed, options.first_seed + options.studies), chunksize=10)
            )
            told[name] = summary(outcomes, curve)
            print(name, json.dumps(told[name], indent=1))
    if options.json:
        options.json.write_text(json.dumps({"machine": platform.processor() or platform.machine(), **told}, indent=1))


if __name__ == "__main__":
    main()
