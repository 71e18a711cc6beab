"""Simulated studies in which the weight does nothing: how often does each look at the verdicts name something?

    OMP_NUM_THREADS=1 python -m scripts.coverage_headline --studies 250

The studies are those of ``coverage_verdicts.py``, but for documents and levels where a row names them. The verdicts and
sentences are those of a report.
"""

import argparse

import numpy as np

from analysis.inference import omnibus
from analysis.inference.verdicts import scope_verdicts
from analysis.report.verdict_text import study_sentences
from scripts.coverage_verdicts import FIVE, TEN, THREE, simulated_frame, study

PERMUTATIONS = 399
"""Fewer than a report has: enough for a level of 5 %."""
SETTINGS = {
    "1 base model, 10 weights": (1, TEN, 0.0, {}),
    "2 base models, 10 weights": (2, TEN, 0.0, {}),
    "2 base models, 10 weights, 10 documents": (2, TEN, 0.0, {"documents": 10}),
    "3 base models that differ, 5 weights": (3, FIVE, 0.05, {}),
    "6 base models that differ, 3 weights": (6, THREE, 0.05, {}),
    "6 base models, 5 weights, 50 documents, levels of 0.95 to 0.99": (
        6, FIVE, 0.0, {"documents": 50, "levels": (0.95, 0.99)},
    ),
}  # fmt: skip
"""Name -> base models, weights, standard deviation of a base model's own slope in w_p, what else."""


def looks(seed: int, number: int, name: str) -> tuple[bool, bool, bool, bool, float]:
    """Whether kinds, benchmarks, single base models and the headline name something; intervals of kinds that hold 0."""
    bases, weights, slope_sd, other = SETTINGS[name]
    rows = study(np.random.default_rng([seed, number]), bases, weights, slope_sd, {}, **other)
    found = scope_verdicts(simulated_frame(rows))
    kinds, benchmarks = ([v for v in found if v.scope == scope] for scope in ("group", "benchmark"))
    ends = [(v.change_low, v.change_high) for v in kinds if v.change_low is not None and v.change_high is not None]
    return (
        any(v.moved for v in kinds),
        any(v.moved for v in benchmarks),
        any(base.moved for v in kinds for base in v.bases if not v.moved),
        "nothing is shown to move:" not in study_sentences(found),
        float(np.mean([low <= 0 <= high for low, high in ends])) if ends else float("nan"),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=250, help="simulated studies a setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), help="names of settings; all by default")
    options = parser.parse_args()
    omnibus.omnibus_p.__defaults__ = (PERMUTATIONS,)
    print("| base models, weights | kinds | benchmarks | single base models | the headline | intervals hold 0 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in options.settings:
        shares = np.nanmean([looks(options.seed, number, name) for number in range(options.studies)], axis=0)
        print(f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
