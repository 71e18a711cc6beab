"""Simulated studies of the paper's size: does the ratio model's interval hold the best weight, and when does it star?

    python scripts/coverage_gam.py --studies 500 --json coverage.json

Each study has the paper's ten weights and five ratios, 13 benchmarks (or ``--benchmarks``) and 2 base models. Truths:
``inside`` is a surface that the model can take on exactly, ``outside`` one that it cannot (a parabola in w_p whose top
moves with the ratio; three knots in the untransformed weight cannot follow it), ``own curves`` is ``inside`` with a
curve of its own for every benchmark, which the model takes for noise, and ``none`` has no effect of the weight.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analysis.gam.fit import GamFit, fit_gam
from analysis.gam.optimum import RatioOptimum, optima, weights
from analysis.levels import CONFIDENCE
from analysis.scores.frame import EXPONENT

WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
RATIOS = (0.042, 0.082, 1.0, 3.27, 7.83)
AT = (0.5, 1.0, 2.0, 4.0, 7.0)
MODELS = 2
NOISE, OWN_CURVES = 0.2, 0.3
"""Standard deviations: of a score, and of a benchmark's own slope in w_p (on scores scaled to 0 and 1)."""
TRUTHS = ("inside", "outside", "own curves", "none")


def bump(w_N: np.ndarray, r_N: np.ndarray) -> np.ndarray:
    """A parabola in w_p whose top goes from w_p 0.75 at the smallest ratio to 0.45 at the largest."""
    return -0.6 * (w_N**EXPONENT - (0.75 - 0.3 * r_N / 7.83)) ** 2


def design(benchmarks: int) -> tuple[np.ndarray, ...]:
    """Weights, ratios, benchmarks and models of a study's scores."""
    return tuple(axis.ravel() for axis in np.meshgrid(WEIGHTS, RATIOS, np.arange(benchmarks), np.arange(MODELS)))


def nearest_surface(rows: tuple[np.ndarray, ...]) -> GamFit:
    """The model's surface that is nearest to the bump: fitted to it without noise."""
    w_N, r_N, b_N, _ = rows
    tiny = np.random.default_rng(0).normal(0, 1e-3, len(w_N))
    return fit_gam(bump(w_N, r_N) + tiny, w_N, r_N, b_N, method="reml")


def simulate(generator: np.random.Generator, truth: str, rows: tuple[np.ndarray, ...], near: GamFit) -> np.ndarray:
    """Scores of one study."""
    w_N, r_N, b_N, m_N = rows
    benchmarks = b_N.max() + 1
    score_N = generator.normal(0, 0.1, benchmarks)[b_N] + generator.normal(0, NOISE, len(w_N)) + 0.05 * m_N
    if truth == "outside":
        score_N += bump(w_N, r_N)
    elif truth != "none":
        score_N += near.surface(w_N, r_N) @ near.surface_coefficient_C
    if truth == "own curves":
        score_N += generator.normal(0, OWN_CURVES, benchmarks)[b_N] * w_N**EXPONENT
    return score_N


def best_weights(truth: str, near: GamFit) -> list[float] | None:
    """The best weight at each ratio; None where the weight has no effect."""
    if truth == "none":
        return None
    if truth != "outside":
        return [best.plw for best in optima(near, AT, draws=1)]
    weight_M = weights(near)
    return [float(weight_M[np.argmax(bump(weight_M, np.full(len(weight_M), r)))]) for r in AT]


def studies(truth: str, method: str, number: int, draws: int, benchmarks: int) -> Iterator[list[RatioOptimum]]:
    """The optima of each simulated study; every method sees the same studies."""
    rows = design(benchmarks)
    near = nearest_surface(rows)
    for seed in range(number):
        score_N = simulate(np.random.default_rng(seed), truth, rows, near)
        fit = fit_gam(score_N, rows[0], rows[1], rows[2], method=method)
        yield optima(fit, AT, draws=draws, seed=seed)


def measure(truth: str, method: str, number: int, draws: int, benchmarks: int) -> dict[str, object]:
    """Shares over all studies, ratio by ratio."""
    best = best_weights(truth, nearest_surface(design(benchmarks)))
    found = list(studies(truth, method, number, draws, benchmarks))
    by_ratio = []
    for place, ratio in enumerate(AT):
        here = [study[place] for study in found]
        row: dict[str, object] = {
            "ratio": ratio,
            "starred": float(np.mean([item.starred for item in here])),
            "undetermined": float(np.mean([item.undetermined for item in here])),
            "width in w_p": float(np.median([item.high**EXPONENT - item.low**EXPONENT for item in here])),
        }
        if best is not None:
            # Half a step of the grid of weights is no miss.
            room, true = 0.001, best[place] ** EXPONENT
            row["best"] = best[place]
            row["median"] = float(np.median([item.plw for item in here]))
            ends = {
                "covered": [(item.low, item.high) for item in here],
                "covered over scores": [(item.score_low, item.score_high) for item in here],
            }
            for name, pairs in ends.items():
                held = [low**EXPONENT - room <= true <= high**EXPONENT + room for low, high in pairs]
                row[name] = float(np.mean(held))
        by_ratio.append(row)
    return {"truth": truth, "method": method, "studies": number, "by_ratio": by_ratio}


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--benchmarks", type=int, default=13)
    parser.add_argument("--truths", nargs="*", default=TRUTHS, choices=TRUTHS)
    parser.add_argument("--methods", nargs="*", default=("gcv", "reml"), choices=("gcv", "reml", "ml"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    begun, results = time.time(), []
    for truth in options.truths:
        for method in options.methods:
            result = measure(truth, method, options.studies, options.draws, options.benchmarks)
            results.append(result)
            print(
                f"{truth}, {method}, {options.studies} studies, {options.benchmarks} benchmarks, "
                f"interval {CONFIDENCE:.0%}"
            )
            for row in result["by_ratio"]:
                print("  " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
    seconds = time.time() - begun
    print(f"{seconds:.0f} s on {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    if options.json:
        options.json.write_text(json.dumps({"seconds": seconds, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
