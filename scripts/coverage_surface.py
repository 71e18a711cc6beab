"""How often the response surface's intervals hold the truth, on simulated grids (docs/statistics-weights.md).

    python scripts/coverage_surface.py --studies 150

A grid has 30 pairs of weights with λ_r above 0. Scores follow a parabola; benchmarks, datasets and base models have
random parabolas of their own where they are three or more, of the standard deviation given; the noise is 1.5 points.
"""

import argparse
import sys
from itertools import product

SIZES = ((5, 3, 5), (5, 3, 2), (5, 1, 1))
"""Benchmarks, datasets and base models."""
SPREADS = ((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (2.0, 2.0, 2.0))
"""Of their coefficients."""
NOISE = 1.5


def main() -> int:
    """Print a row a size and spread."""
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=150, help="simulated grids of each size and spread")
    studies = parser.parse_args().studies
    print("| benchmarks, datasets, base models | spread of their coefficients | at the place | over all places | λ_p |")
    print("| --- | --- | ---: | ---: | ---: |")
    for size, spread in product(SIZES, SPREADS):
        held = np.mean([_study(size, spread, seed) for seed in range(studies)], axis=0)
        print(f"| {size} | {spread} | {' | '.join(f'{share:.0%}' for share in held)} |", flush=True)
    return 0


def _study(size: tuple[int, int, int], spread: tuple[float, float, float], seed: int) -> tuple[bool, bool, bool]:
    """Whether the gain's interval at the place, that over all places, and the top's λ_p hold the truth."""
    import numpy as np
    import pandas as pd

    from analysis.inference.weight_surface import fit_weight_surface, surface_terms
    from analysis.published.wit_grid import CONVENTIONAL, WeightGrid, true_average

    generator = np.random.default_rng(seed)
    weights = np.array([(p / 5, r / 5) for p in range(6) for r in range(1, 6)])
    own = [
        (scale if levels > 2 else 0.0) * generator.standard_normal((levels, 5))
        for levels, scale in zip(size, spread, strict=True)
    ]

    def truth(pair: "np.ndarray") -> "np.ndarray":
        return 50 - 6 * (pair[..., 0] - 0.4) ** 2 - 3 * (pair[..., 1] - 0.7) ** 2

    units = []
    for levels in product(*map(range, size)):
        slope = sum(part[level] for part, level in zip(own, levels, strict=True))
        score = truth(weights) + surface_terms(weights) @ slope + NOISE * generator.standard_normal(len(weights))
        benchmark, dataset, model = (f"{name}{level}" for name, level in zip("bdm", levels, strict=True))
        units.append(
            pd.DataFrame(weights, columns=["prompt_weight", "response_weight"]).assign(
                benchmark=benchmark, dataset=dataset, model=model, score=score + 5 * generator.standard_normal()
            )
        )
    scores = pd.concat(units, ignore_index=True)
    names = tuple(dict.fromkeys(scores["benchmark"]))
    surface = fit_weight_surface(
        WeightGrid(scores=scores, benchmarks=names, average=true_average(scores, names)), names, "all"
    )
    gain = surface.gain_over(CONVENTIONAL)
    true = float(truth(np.array(surface.top)) - truth(np.array(CONVENTIONAL)))
    low, high = surface.interval()["λ_p"]
    return gain.low <= true <= gain.high, gain.low_chosen <= true <= gain.high_chosen, low - 1e-9 <= 0.4 <= high + 1e-9


if __name__ == "__main__":
    sys.exit(main())
