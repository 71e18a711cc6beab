"""Simulated studies: how often do intervals of gains over weight 0 exclude 0 where the weight does nothing?

    OMP_NUM_THREADS=1 python -m scripts.coverage_gains --studies 500

The studies are those of ``coverage_verdicts.py`` without any effect: 13 benchmarks, three weights, and a standard
deviation of one point that all benchmarks of a cell share.
"""

import argparse

import numpy as np

from analysis.inference.bootstrap import bootstrap_aggregates
from scripts.coverage_verdicts import THREE, simulated_frame, study

DRAWS = 500
"""Fewer than a report has: enough for a level of 5 %."""


def excludes_0(seed: int, number: int, bases: int, slope_sd: float) -> list[bool]:
    """Of one study the gains of the simple aggregate over weight 0, one for each other weight."""
    rows = study(np.random.default_rng([seed, number]), bases, THREE, slope_sd, {})
    found = bootstrap_aggregates(simulated_frame(rows), references=(0.0,), draws=DRAWS)
    gains = found[(found["kind"] == "simple") & (found["quantity"] != "aggregate")]
    return [bool(low > 0 or high < 0) for low, high in zip(gains["low"], gains["high"], strict=True)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="simulated studies a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bases", type=int, nargs="*", default=[1, 2, 3, 4, 6])
    options = parser.parse_args()
    print("| base models | own slopes, SD | intervals that exclude 0 | studies with such an interval |")
    print("| ---: | ---: | ---: | ---: |")
    for slope_sd in (0.0, 0.05):
        for bases in options.bases:
            found = np.array([excludes_0(options.seed, n, bases, slope_sd) for n in range(options.studies)])
            print(f"| {bases} | {slope_sd:g} | {found.mean():.3f} | {found.any(axis=1).mean():.3f} |", flush=True)


if __name__ == "__main__":
    main()
