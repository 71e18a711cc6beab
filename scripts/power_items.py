"""Power of paired items against that of scores, at the size of a study of one dataset and one benchmark.

    OMP_NUM_THREADS=1 nice -n 15 python scripts/power_items.py --studies 500

Each base model answers the same right-or-wrong items at every weight. An item has a difficulty for each base model that
the weights share, and answers flip at random beside it, so that two weights agree on most items. The effect is a slope
in w_p on the logit scale. Compared are the F test of the curve of scores (as the verdicts have it), the paired items of
weight 1 against 0, and the paired items of any weight against 0 after Holm's correction. Each base model is taken as
given; none has a slope of its own.
"""

import argparse

import numpy as np
from scipy.special import expit

from analysis.inference.weight_curve import fit_curve
from analysis.items.clustered import clustered_mean
from analysis.items.compare import holm
from analysis.levels import SIGNIFICANCE
from analysis.scores.frame import EXPONENT

WEIGHTS = np.array([0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0])
EFFECTS = (0.0, 0.15, 0.3, 0.6)
SIZES = {"2 base models, 108 items": (2, 108), "2 base models, 1,838 items": (2, 1838)}


def answers(generator: np.random.Generator, bases: int, items: int, slope: float) -> np.ndarray:
    """Right or wrong, [base, weight, item]."""
    easy_AN = generator.normal(0.3, 2.5, size=(1, items)) + generator.normal(0, 1.5, size=(bases, items))
    chance = expit(easy_AN[:, None, :] + slope * (WEIGHTS**EXPONENT)[None, :, None])
    return (generator.random(chance.shape) < chance).astype(float)


def tests(right: np.ndarray) -> tuple[float, float, float]:
    """P of the curve, of weight 1 against 0, and the smallest corrected p of any weight against 0."""
    bases, weights, items = right.shape
    base_N = [str(base) for base in range(bases) for _ in range(weights)]
    curve = fit_curve(right.mean(axis=2).ravel(), np.tile(WEIGHTS**EXPONENT, bases), base_N, base_N)
    item_N = np.tile(np.arange(items), bases)
    each = [clustered_mean((right[:, place] - right[:, 0]).ravel(), item_N).p for place in range(1, weights)]
    return curve.p, each[-1], min(holm(each))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="simulated studies a setting")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"| {options.studies} studies | slope | points | scores, F | items, 1 against 0 | items, any against 0 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (bases, items) in SIZES.items():
        for slope in EFFECTS:
            found, points = [], []
            for number in range(options.studies):
                right = answers(np.random.default_rng([options.seed, number]), bases, items, slope)
                found.append([p < SIGNIFICANCE for p in tests(right)])
                points.append(100 * (right[:, -1] - right[:, 0]).mean())
            shares = " | ".join(f"{share:.3f}" for share in np.mean(found, axis=0))
            print(f"| {name} | {slope:g} | {np.mean(points):.1f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
