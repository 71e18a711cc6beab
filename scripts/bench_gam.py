"""Time a fit of the ratio model beside mgcv's, on the same simulated study: 13 benchmarks, ten weights, five ratios.

    OMP_NUM_THREADS=1 python scripts/bench_gam.py --rounds 5

R's time is that of ``gam()`` alone, without its start; both are medians of rounds that take turns. R's first fit in a
process also loads what it needs, as ours does, so each round of ours fits once before it is timed, and R's fit is timed
as it comes from a fresh process.
"""

import argparse
import time

import numpy as np

from analysis.gam.fit import fit_gam
from analysis.gam.mgcv import fit_gam_r
from analysis.r_bridge import r_has

WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
RATIOS = (0.042, 0.082, 1.0, 3.27, 7.83)


def study(seed: int) -> tuple[np.ndarray, ...]:
    """Scores, weights, ratios and benchmarks."""
    generator = np.random.default_rng(seed)
    w_N, r_N, b_N = (axis.ravel() for axis in np.meshgrid(WEIGHTS, RATIOS, np.arange(13)))
    curve_N = 0.35 * w_N**0.3 - 0.3 * w_N**0.6 + 0.04 * np.log(r_N) * w_N**0.3
    return 0.5 + curve_N + generator.normal(0, 0.03, len(w_N)), w_N, r_N, b_N


def main() -> None:
    """Take turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for method in ("gcv", "reml", "ml"):
        ours, theirs = [], []
        for seed in range(rounds):
            rows = study(seed)
            fit_gam(*rows, method=method)
            begun = time.perf_counter()
            fit_gam(*rows, method=method)
            ours.append(time.perf_counter() - begun)
            if r_has("mgcv"):
                grid = (rows[1][:1], rows[2][:1], rows[3][:1])
                theirs.append(float(fit_gam_r(*rows, grid, method=method)["seconds"]))
        words = f"{method}: {1e3 * np.median(ours):.1f} ms"
        if theirs:
            words += f", mgcv {1e3 * np.median(theirs):.1f} ms, {np.median(np.array(theirs) / ours):.1f} times ours"
        print(words)


if __name__ == "__main__":
    main()
