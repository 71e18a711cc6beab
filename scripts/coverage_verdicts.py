"""Simulated studies: do the tests of a kind of benchmark hold their level, and what do they find?

    OMP_NUM_THREADS=1 nice -n 15 python scripts/coverage_verdicts.py --studies 500

Each study has 13 benchmarks in four groups. A score errs by its documents (300 each), by its cell (all benchmarks of a
cell together) and, where bases differ, by a slope of its own for each base model and benchmark. *Null*: the weight
moves nothing on average. *Long*: long answers rise by 10 points. *Opposed*: of the multiple choice two benchmarks rise
by 5 points and two fall by 5.

*Alarms* is the share of studies in which Holm's correction shows something to move that does not, over the four groups
and over the thirteen benchmarks.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.inference.omnibus import combined_p, omnibus_p
from analysis.inference.weight_curve import fit_curve
from analysis.items.compare import holm
from analysis.levels import SIGNIFICANCE
from analysis.scores.frame import EXPONENT, TidyFrame, tidy_frame

GROUPS = {
    **{f"choice {n}": "multiple_choice" for n in range(4)},
    "short": "short_generation",
    **{f"translation {n}": "translation" for n in range(6)},
    **{f"long {n}": "long_generation" for n in range(2)},
}
TEN = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
FIVE = (0.0, 0.01, 0.05, 0.2, 1.0)
THREE = (0.0, 0.1, 1.0)
"""The mini study's."""
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
    "6 base models that differ, 3 weights": (6, THREE, 0.05),
    "3 base models that differ, 3 weights": (3, THREE, 0.05),
}
"""Name -> base models, weights, standard deviation of a base model's own slope in w_p."""


def study(
    generator: np.random.Generator,
    bases: int,
    weights: tuple[float, ...],
    slope_sd: float,
    effect: Mapping[str, float],
    *,
    documents: int = DOCUMENTS,
    levels: tuple[float, float] = (0.3, 0.7),
) -> pd.DataFrame:
    """The scores of one dataset; a benchmark's level is drawn evenly from between ``levels``."""
    rows = []
    own = {(base, name): generator.normal(0, slope_sd) for base in range(bases) for name in GROUPS}
    level = {(base, name): generator.uniform(*levels) for base in range(bases) for name in GROUPS}
    for base in range(bases):
        for weight in weights:
            w_p, shared = weight**EXPONENT, generator.normal(0, CELL_SD)
            for name, group in GROUPS.items():
                chance = level[base, name] + (effect.get(name, 0.0) + own[base, name]) * w_p + shared
                score = generator.binomial(documents, np.clip(chance, 0.01, 0.99)) / documents
                rows.append(
                    {"dataset": "data", "model": f"base {base}", "seed": 1, "prompt_weight": weight, "w_p": w_p,
                     "benchmark": name, "group": group, "metric": "acc", "value": score, "score01": score}
                )  # fmt: skip
    return pd.DataFrame(rows)


def simulated_frame(rows: pd.DataFrame) -> TidyFrame:
    """A study's scores as a report has them."""
    rows = rows.assign(response_weight=1.0, r_g=1.0, suite="simulated", stderr=None, n=None, headline=True)
    return tidy_frame(rows, GROUPS)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one study says: uncorrected p of each group and benchmark."""

    together: Mapping[str, float]
    """Group -> of its benchmarks together, as the verdicts have it."""
    mean: Mapping[str, float]
    """Group -> of the mean of its benchmarks."""
    alone: Mapping[str, float]
    """Benchmark -> F test of its curve."""

    def alarms(self, moved: Mapping[str, float]) -> tuple[bool, bool]:
        """Whether Holm's correction shows a group, or a benchmark, that does not move."""
        still = {GROUPS[name] for name in GROUPS} - {GROUPS[name] for name in moved}
        return _any_shown(self.together, still), _any_shown(self.alone, set(GROUPS) - set(moved))


def _any_shown(p: Mapping[str, float], among: set[str]) -> bool:
    corrected = dict(zip(p, holm([*p.values()]), strict=True))
    return any(corrected[name] < SIGNIFICANCE for name in among)


def find(rows: pd.DataFrame) -> Found:
    """Every test of one dataset."""
    table = rows.pivot_table(index=["model", "w_p"], columns="benchmark", values="score01")
    base_N, w_N = ([*table.index.get_level_values(level)] for level in ("model", "w_p"))
    w_N = np.array(w_N)
    alone = {name: fit_curve(table[name].to_numpy(), w_N, base_N, base_N) for name in GROUPS}
    together, mean = {}, {}
    for group in dict.fromkeys(GROUPS.values()):
        score_NG = table[[name for name in GROUPS if GROUPS[name] == group]].to_numpy()
        curve = fit_curve(score_NG.mean(axis=1), w_N, base_N, base_N)
        mean[group] = together[group] = curve.p
        if score_NG.shape[1] > 1 and curve.over_bases:
            together[group] = combined_p(curve.p, [alone[name].p for name in GROUPS if GROUPS[name] == group])
        elif score_NG.shape[1] > 1:
            together[group] = omnibus_p(score_NG, w_N, base_N, PERMUTATIONS)
    return Found(together=together, mean=mean, alone={name: curve.p for name, curve in alone.items()})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="simulated studies a setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), help="names of settings; all by default")
    options = parser.parse_args()
    print(
        f"| {options.studies} studies | effect | {' | '.join(f'{group}: together, mean' for group in SHOWN)} "
        "| F of one still benchmark | alarms: groups, benchmarks |"
    )
    print(f"| --- | --- |{' ---: |' * (len(SHOWN) + 2)}")
    for name in options.settings:
        bases, weights, slope_sd = SETTINGS[name]
        for effect_name, effect in EFFECTS.items():
            studies = [
                find(study(np.random.default_rng([options.seed, number]), bases, weights, slope_sd, effect))
                for number in range(options.studies)
            ]
            groups = " | ".join(
                f"{np.mean([s.together[group] < SIGNIFICANCE for s in studies]):.3f}, "
                f"{np.mean([s.mean[group] < SIGNIFICANCE for s in studies]):.3f}"
                for group in SHOWN
            )
            still = [s.alone[each] < SIGNIFICANCE for s in studies for each in set(GROUPS) - set(effect)]
            alarms = ", ".join(f"{share:.3f}" for share in np.mean([s.alarms(effect) for s in studies], axis=0))
            print(f"| {name} | {effect_name} | {groups} | {np.mean(still):.3f} | {alarms} |", flush=True)


if __name__ == "__main__":
    main()
