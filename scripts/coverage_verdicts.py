"""Simulated studies: do the tests of a kind of benchmark hold their level, and what do they find?

    OMP_NUM_THREADS=1 nice -n 15 python scripts/coverage_verdicts.py --studies 150

Each study has 13 benchmarks in four groups. A score errs by its documents (300 each), by its cell (all benchmarks of a
cell together) and, where bases differ, by a slope of its own for each base model and benchmark. *Null*: the weight
moves nothing on average. *Long*: long answers rise by 10 points. *Opposed*: of the multiple choice two benchmarks rise
by 5 points and two fall by 5.
"""

import argparse
from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.inference.omnibus import combined_p, omnibus_p
from analysis.inference.weight_curve import fit_curve
from analysis.levels import SIGNIFICANCE
from analysis.scores.frame import EXPONENT

GROUPS = {
    **{f"choice {n}": "multiple_choice" for n in range(4)},
    "short": "short_generation",
    **{f"translation {n}": "translation" for n in range(6)},
    **{f"long {n}": "long_generation" for n in range(2)},
}
TEN = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
FIVE = (0.0, 0.01, 0.05, 0.2, 1.0)
DOCUMENTS, CELL_SD = 300, 0.01
PERMUTATIONS = 499
"""Fewer than a report has: enough for a level of 5 %."""
SHOWN = ("multiple_choice", "translation", "long_generation")
EFFECTS: dict[str, Mapping[str, float]] = {
    "null": {},
    "long": {"long 0": 0.1, "long 1": 0.1},
    "opposed": {"choice 0": 0.05, "choice 1": 0.05, "choice 2": -0.05, "choice 3": -0.05},
}
SETTINGS = {
    "2 base models, 10 weights": (2, TEN, 0.0),
    "6 base models, 5 weights": (6, FIVE, 0.0),
    "6 base models that differ, 5 weights": (6, FIVE, 0.05),
}
"""Name -> base models, weights, standard deviation of a base model's own slope in w_p."""


def study(
    generator: np.random.Generator, bases: int, weights: tuple[float, ...], slope_sd: float, effect: Mapping[str, float]
) -> pd.DataFrame:
    """The scores of one dataset."""
    rows = []
    own = {(base, name): generator.normal(0, slope_sd) for base in range(bases) for name in GROUPS}
    level = {(base, name): generator.uniform(0.3, 0.7) for base in range(bases) for name in GROUPS}
    for base in range(bases):
        for weight in weights:
            w_p, shared = weight**EXPONENT, generator.normal(0, CELL_SD)
            for name, group in GROUPS.items():
                chance = level[base, name] + (effect.get(name, 0.0) + own[base, name]) * w_p + shared
                score = generator.binomial(DOCUMENTS, np.clip(chance, 0.01, 0.99)) / DOCUMENTS
                rows.append(
                    {"dataset": "data", "model": f"base {base}", "seed": 1, "prompt_weight": weight, "w_p": w_p,
                     "benchmark": name, "group": group, "metric": "acc", "value": score, "score01": score}
                )  # fmt: skip
    return pd.DataFrame(rows)


def found(rows: pd.DataFrame, group: str) -> tuple[float, float]:
    """P of one group: of its benchmarks together, as the verdicts have it, and of their mean."""
    table = rows[rows["group"] == group].pivot_table(index=["model", "w_p"], columns="benchmark", values="score01")
    base_N, w_N = ([*table.index.get_level_values(level)] for level in ("model", "w_p"))
    score_NG, w_N = table.to_numpy(), np.array(w_N)
    mean, *each = (fit_curve(score_N, w_N, base_N, base_N) for score_N in (score_NG.mean(axis=1), *score_NG.T))
    if mean.over_bases:
        return combined_p(mean.p, [curve.p for curve in each]), mean.p
    return omnibus_p(score_NG, w_N, base_N, PERMUTATIONS), mean.p


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=150, help="simulated studies a setting")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"| {options.studies} studies | effect | {' | '.join(f'{group}: together, mean' for group in SHOWN)} |")
    print(f"| --- | --- |{' ---: |' * len(SHOWN)}")
    for name, (bases, weights, slope_sd) in SETTINGS.items():
        for effect_name, effect in EFFECTS.items():
            told = []
            for number in range(options.studies):
                generator = np.random.default_rng([options.seed, number])
                rows = study(generator, bases, weights, slope_sd, effect)
                told.append([[p < SIGNIFICANCE for p in found(rows, group)] for group in SHOWN])
            shares = np.mean(told, axis=0)
            cells = " | ".join(f"{together:.2f}, {mean:.2f}" for together, mean in shares)
            print(f"| {name} | {effect_name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
