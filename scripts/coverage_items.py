"""Simulated comparisons of two models: do the intervals of paired differences cover, and do the tests hold their level?

    OMP_NUM_THREADS=1 nice -n 15 python scripts/coverage_items.py --studies 500 --json coverage-items.json

Each study is two models on the same items, with a difference of known size. Right or wrong: an item's chance is its own
(a normal ability on the logit scale) and both models share it, so that outcomes are paired. Clusters: items of one
passage share a part of it, and of its difference, in unequal numbers. BLEU: segments of random words, each of which a
model gets right with a chance of its own for the segment. Win rates: a win, a draw or a loss a prompt.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from analysis.items.compare import compare_pairs
from analysis.items.pairs import Pairs
from analysis.levels import CONFIDENCE, SIGNIFICANCE
from plw.results.corpus_metrics import corpus_scores
from plw.results.items import MEAN

Maker = Callable[[np.random.Generator, float], Pairs]
BENCHMARKS = 13
"""Of a study whose family of tests is looked at."""


def right_or_wrong(generator: np.random.Generator, shift: float, *, n: int) -> Pairs:
    """Items of their own difficulty; ``shift`` is on the logit scale."""
    ability_N = generator.normal(0.3, 1.5, size=n)
    a_N, b_N = (generator.random(n) < expit(ability_N + move) for move in (0.0, shift))
    return pairs("acc", a_N, b_N)


def passages(
    generator: np.random.Generator, shift: float, *, clusters: int, graded: bool = False, unequal: bool = True
) -> Pairs:
    """Items in passages of 1 to 16 items, with ability and difference shared in part."""
    size_G = generator.geometric(1 / 5, size=clusters).clip(max=16) if unequal else np.full(clusters, 5)
    cluster_N = np.repeat(np.arange(clusters), size_G)
    ability_N = generator.normal(0.3, 1.0, size=clusters)[cluster_N] + generator.normal(0, 1, size=len(cluster_N))
    move_N = shift + generator.normal(0, 0.8, size=clusters)[cluster_N]
    chances = [expit(ability_N), expit(ability_N + move_N)]
    if graded:  # a probability an item, as TruthfulQA's mc2
        a_N, b_N = (generator.beta(4 * chance_N, 4 * (1 - chance_N)) for chance_N in chances)
    else:
        a_N, b_N = (generator.random(len(cluster_N)) < chance_N for chance_N in chances)
    return pairs("acc", a_N, b_N, cluster_N)


def translations(generator: np.random.Generator, shift: float, *, n: int) -> Pairs:
    """The counts of sacreBLEU for segments of 5 to 30 words in which each n-gram matches if all of its words do."""
    length_N = generator.integers(5, 31, size=n)
    quality_N = generator.normal(0.5, 1.0, size=n)
    sides = [_segment_counts(generator, length_N, expit(quality_N + move)) for move in (0.0, shift)]
    return Pairs(
        benchmark="wmt", metric="bleu", aggregation="bleu", higher_is_better=True, a_NC=sides[0], b_NC=sides[1],
        cluster_N=np.arange(n), run_N=np.zeros(n, dtype=np.intp),
    )  # fmt: skip


def _segment_counts(generator: np.random.Generator, length_N: np.ndarray, chance_N: np.ndarray) -> np.ndarray:
    longest = int(length_N.max())
    right_NT = (generator.random((len(length_N), longest)) < chance_N[:, None]) & (
        np.arange(longest) < length_N[:, None]
    )
    matches, totals = [], []
    run_NT = right_NT
    for order in range(1, 5):
        matches.append(run_NT.sum(axis=1))
        totals.append(np.maximum(length_N - order + 1, 0))
        run_NT = run_NT[:, :-1] & right_NT[:, order:]
    return np.stack([length_N, length_N, *matches, *totals], axis=1).astype(float)


def win_rates(generator: np.random.Generator, shift: float, *, n: int) -> Pairs:
    """Points of 0, 50 or 100 against one opponent; a prompt favours both models alike."""
    favour_N = generator.normal(-0.5, 1.2, size=n)
    sides = []
    for move in (0.0, shift):
        draw_N, win_N = generator.random(n) < 0.15, generator.random(n) < expit(favour_N + move)
        sides.append(np.where(draw_N, 50.0, 100.0 * win_N))
    return pairs("win_rate", *sides)


def runs(generator: np.random.Generator, shift: float, *, n: int, seeds: int) -> Pairs:
    """Training runs that each move all of their items, on the same right-or-wrong items."""
    ability_N = generator.normal(0.3, 1.5, size=n)
    parts = []
    for _ in range(seeds):
        move = shift + generator.normal(0, 0.2)
        parts.append([generator.random(n) < expit(ability_N + of_side) for of_side in (0.0, move)])
    a_N, b_N = (np.concatenate(side) for side in zip(*parts, strict=True))
    return pairs("acc", a_N, b_N, np.tile(np.arange(n), seeds), np.repeat(np.arange(seeds), n))


def pairs(
    metric: str, a_N: np.ndarray, b_N: np.ndarray, cluster_N: np.ndarray | None = None, run_N: np.ndarray | None = None
) -> Pairs:
    """Of a metric that is a mean."""
    return Pairs(
        benchmark=metric, metric=metric, aggregation=MEAN, higher_is_better=True,
        a_NC=a_N.astype(float)[:, None], b_NC=b_N.astype(float)[:, None],
        cluster_N=np.arange(len(a_N)) if cluster_N is None else cluster_N,
        run_N=np.zeros(len(a_N), dtype=np.intp) if run_N is None else run_N,
        unit=None if run_N is None else "training run", unit_N=run_N,
    )  # fmt: skip


SETTINGS: dict[str, tuple[Maker, float]] = {
    "right or wrong, 1,838 items": (partial(right_or_wrong, n=1838), 0.2),
    "right or wrong, 100 items": (partial(right_or_wrong, n=100), 0.4),
    "right or wrong, 30 items": (partial(right_or_wrong, n=30), 0.6),
    "in 300 passages of 1 to 16 items": (partial(passages, clusters=300), 0.2),
    "in 40 passages of 1 to 16 items": (partial(passages, clusters=40), 0.4),
    "in 40 passages of 5 items": (partial(passages, clusters=40, unequal=False), 0.4),
    "probabilities in 100 passages": (partial(passages, clusters=100, graded=True), 0.3),
    "BLEU, 1,000 segments": (partial(translations, n=1000), 0.1),
    "BLEU, 200 segments": (partial(translations, n=200), 0.2),
    "win rate, 805 prompts": (partial(win_rates, n=805), 0.2),
    "win rate, 170 prompts": (partial(win_rates, n=170), 0.4),
    "3 training runs, 500 items": (partial(runs, n=500, seeds=3), 0.3),
    "6 training runs, 500 items": (partial(runs, n=500, seeds=6), 0.3),
}
"""Name -> how a benchmark is made, and its difference on the logit scale."""


def true_difference(make: Maker, shift: float, seed: int) -> float:
    """On the score's scale: the mean over many more items than a study has."""
    found, generator = [], np.random.default_rng([seed, 10**6])
    for _ in range(400):
        one = make(generator, shift)
        if one.aggregation == MEAN:
            found.append((float((one.b_NC - one.a_NC).sum()), len(one.a_NC)))
        else:
            found.append((one.a_NC.sum(axis=0), one.b_NC.sum(axis=0)))
    if make(generator, shift).aggregation == MEAN:
        return sum(total for total, _ in found) / sum(count for _, count in found)
    sums = [np.sum([pair[side] for pair in found], axis=0)[None, :] for side in (0, 1)]
    a, b = (corpus_scores("bleu", side) for side in sums)
    return float(b[0] - a[0])


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the studies of one setting found."""

    covers: float
    level: float
    power: float
    excluded_wrongly: float
    """Share of studies that call two models equivalent within exactly the difference that they have."""
    sacrebleu_level: float | None


def tally(make: Maker, shift: float, studies: int, seed: int) -> Tally:
    """Cover of a true difference, and of the test its level without one and its power with it."""
    truth = true_difference(make, shift, seed)
    covers, power, wrong, level, theirs = [], [], [], [], []
    (first,) = compare_pairs([make(np.random.default_rng(seed), shift)])
    margin = abs(truth) / (first.scale or 1.0)
    for number in range(studies):
        (row,) = compare_pairs([make(np.random.default_rng([seed, number, 1]), shift)], margin)
        covers.append(row.low <= truth <= row.high)
        power.append(row.p < SIGNIFICANCE)
        wrong.append(row.equivalent)
        (null,) = compare_pairs([make(np.random.default_rng([seed, number, 0]), 0.0)])
        level.append(null.p < SIGNIFICANCE)
        theirs.append(null.p_sacrebleu is not None and null.p_sacrebleu < SIGNIFICANCE)
    return Tally(
        covers=float(np.mean(covers)), level=float(np.mean(level)), power=float(np.mean(power)),
        excluded_wrongly=float(np.mean(wrong)),
        sacrebleu_level=float(np.mean(theirs)) if null.p_sacrebleu is not None else None,
    )  # fmt: skip


def families(studies: int, seed: int) -> float:
    """Share of studies of thirteen benchmarks without any difference in which Holm's correction shows one."""
    makers: list[Maker] = [
        *[partial(right_or_wrong, n=400)] * 4, partial(passages, clusters=80), *[partial(translations, n=200)] * 6,
        partial(win_rates, n=805), partial(win_rates, n=170),
    ]  # fmt: skip
    alarms = []
    for number in range(studies):
        generator = np.random.default_rng([seed, number, 2])
        rows = compare_pairs([make(generator, 0.0) for make in makers])
        alarms.append(any(row.shown for row in rows))
    return float(np.mean(alarms))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="simulated studies a setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), help="names of settings; all by default")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    error = (CONFIDENCE * (1 - CONFIDENCE) / options.studies) ** 0.5
    told: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "studies": options.studies}
    print(
        f"| {options.studies} studies (Monte Carlo error {error:.3f}) | interval covers | level | power | "
        "equivalence, level |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in options.settings:
        begun = time.process_time()
        found = tally(*SETTINGS[name], options.studies, options.seed)
        told[name] = vars(found) | {"seconds": time.process_time() - begun}
        theirs = "" if found.sacrebleu_level is None else f" (sacreBLEU's p: {found.sacrebleu_level:.3f})"
        print(
            f"| {name} | {found.covers:.3f} | {found.level:.3f}{theirs} | {found.power:.3f} | "
            f"{found.excluded_wrongly:.3f} |",
            flush=True,
        )
    told["holm"] = families(options.studies, options.seed)
    print(f"Holm over {BENCHMARKS} benchmarks without any difference: {told['holm']:.3f} of studies show one.")
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
