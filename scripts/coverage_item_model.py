"""Simulated studies of the mini study's size: what does a mixed model of items gain over scores, and does it cover?

    OMP_NUM_THREADS=1 nice -n 15 python scripts/coverage_item_model.py --studies 200 --processes 2

Six base models answer the same 108 right-or-wrong items at three weights (18 cells). On the logit scale an item has a
difficulty, and another beside it for each base model; base models, cells and, where they differ, slopes of base models
and items come on top. Compared are the curve of scores as the verdicts have it, the paired items of weight 1 against 0
as `plw compare` has them (base models as a sample), and the mixed model of `plw fit items`, Gaussian and binomial. The
true difference is that over all base models and items there could be.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit

from analysis.inference.item_model import BINOMIAL, GAUSSIAN, fit_item_designs, make_item_design
from analysis.inference.item_rows import ItemRows
from analysis.inference.weight_curve import fit_curve
from analysis.items.clustered import clustered_mean
from analysis.levels import CONFIDENCE, SIGNIFICANCE
from analysis.scores.frame import EXPONENT

WEIGHTS = np.array([0.0, 0.1, 1.0])
BASES, ITEMS = 6, 108
BATCH = 10
"""Studies that one R process fits."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Standard deviations on the logit scale, and the slope in w_p of its effect."""

    item: float
    pair: float
    base: float
    base_slope: float = 0.0
    item_slope: float = 0.0
    cell: float = 0.0
    mean: float = 0.5
    slope: float = 0.6

    def spread(self, w: float) -> float:
        """Of all levels together at a weight."""
        level = self.item**2 + self.pair**2 + self.base**2 + self.cell**2
        return float(np.sqrt(level + w * w * (self.base_slope**2 + self.item_slope**2)))


WORLDS = {
    "answers change often, bases alike": World(item=2.5, pair=1.5, base=0.5),
    "answers change often, bases differ": World(
        item=2.5, pair=1.5, base=0.5, base_slope=0.6, item_slope=0.5, cell=0.15
    ),
    "answers change as in the study, bases differ": World(
        item=5, pair=8, base=4, base_slope=1.5, item_slope=1.5, cell=0.4, mean=7, slope=3.0
    ),
}


def answers(world: World, generator: np.random.Generator, slope: float) -> np.ndarray:
    """Right or wrong, [base, weight, item]."""
    w_W = WEIGHTS**EXPONENT
    level_AN = (
        world.mean + generator.normal(0, world.item, (1, ITEMS)) + generator.normal(0, world.pair, (BASES, ITEMS))
    )
    level_AN = level_AN + generator.normal(0, world.base, (BASES, 1))
    slope_AN = slope + generator.normal(0, world.base_slope, (BASES, 1)) + generator.normal(0, world.item_slope, ITEMS)
    of_cell_AW = generator.normal(0, world.cell, (BASES, len(w_W)))
    chance = expit(level_AN[:, None] + of_cell_AW[:, :, None] + slope_AN[:, None] * w_W[:, None])
    return (generator.random(chance.shape) < chance).astype(float)


def true_difference(world: World, slope: float) -> float:
    """Of the mean chance at weight 1 against 0."""
    z = np.linspace(-8, 8, 4001)
    share = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    at = [share @ expit(world.mean + slope * w + world.spread(w) * z) for w in (0.0, 1.0)]
    return float(at[1] - at[0])


def item_rows(right: np.ndarray) -> ItemRows:
    """The same answers as the model takes them."""
    base_N, weight_N, item_N = (axis.ravel() for axis in np.indices(right.shape))
    return ItemRows(
        value_N=right.ravel(), w_N=WEIGHTS[weight_N] ** EXPONENT, base_N=base_N, run_N=base_N,
        cell_N=base_N * len(WEIGHTS) + weight_N, item_N=item_N, cluster_N=item_N, benchmark_N=np.zeros_like(item_N),
        dataset="simulated", benchmarks=("simulated",), base_models=tuple(map(str, range(BASES))),
    )  # fmt: skip


Told = dict[str, dict[str, float]]


def by_scores_and_pairs(right: np.ndarray) -> Told:
    """P, difference and interval of the curve of scores, and of the paired items of weight 1 against 0."""
    base_N = [str(base) for base in range(BASES) for _ in WEIGHTS]
    curve = fit_curve(right.mean(axis=2).ravel(), np.tile(WEIGHTS**EXPONENT, BASES), base_N, base_N)
    difference = float(curve.slope_C.sum())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, curve.df) * np.sqrt(curve.covariance_CC.sum()))
    unit_N = np.repeat(np.arange(BASES), ITEMS)
    pairs = clustered_mean((right[:, -1] - right[:, 0]).ravel(), np.tile(np.arange(ITEMS), BASES), unit_N)
    low, high = pairs.interval(CONFIDENCE)
    return {
        "scores": {"p": curve.p, "low": difference - half, "high": difference + half},
        "paired items": {"p": pairs.p, "low": low, "high": high},
    }


def batch(first: int, *, world: World, slope: float, seed: int, families: list[str]) -> list[Told]:
    """What each method says of each of a few studies."""
    made = [answers(world, np.random.default_rng([seed, first + number]), slope) for number in range(BATCH)]
    found = [by_scores_and_pairs(right) for right in made]
    for family in families:
        designs = {str(number): make_item_design(item_rows(right), family) for number, right in enumerate(made)}
        begun = time.monotonic()
        fits = fit_item_designs(designs)
        seconds = (time.monotonic() - begun) / BATCH
        for number, fit in enumerate(fits.values()):
            if not isinstance(fit, str) and fit.converged:
                found[number][family] = {
                    "p": fit.p, "low": fit.effect.low, "high": fit.effect.high, "singular": fit.singular,
                    "lrt": np.nan if fit.lrt.p is None else fit.lrt.p, "seconds": seconds,
                }  # fmt: skip
    for told, right in zip(found, made, strict=True):
        told["raw"] = {"changed": float((right.max(axis=1) != right.min(axis=1)).mean())}
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help=f"simulated studies a setting, a multiple of {BATCH}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), help="names of worlds; all by default")
    parser.add_argument("--families", nargs="*", default=[GAUSSIAN, BINOMIAL])
    parser.add_argument("--json", type=Path, help="write what each study says here too")
    options = parser.parse_args()
    kept = {}
    print(f"| {options.studies} studies | points | method | fitted | covers | width | p < 0.05 | likelihood ratio |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.worlds:
            for slope in (0.0, WORLDS[name].slope):
                one = partial(batch, world=WORLDS[name], slope=slope, seed=options.seed, families=options.families)
                found = [told for part in pool.map(one, range(0, options.studies, BATCH)) for told in part]
                kept[f"{name}, slope {slope:g}"] = found
                report(name, found, true_difference(WORLDS[name], slope), options.families)
    if options.json:
        options.json.write_text(json.dumps(kept))


def report(name: str, found: list[Told], truth: float, families: list[str]) -> None:
    """One line a method."""
    changed = np.mean([told["raw"]["changed"] for told in found])
    for method in ("scores", "paired items", *families):
        own = [told[method] for told in found if method in told]
        covers = np.mean([one["low"] <= truth <= one["high"] for one in own])
        width = 100 * np.median([one["high"] - one["low"] for one in own])
        sure = np.mean([one["p"] < SIGNIFICANCE for one in own])
        ratio = f"{np.mean([one['lrt'] < SIGNIFICANCE for one in own]):.3f}" if "lrt" in own[0] else ""
        print(
            f"| {name} ({changed:.0%}) | {100 * truth:.1f} | {method} | {len(own)} | {covers:.3f} | {width:.1f} | "
            f"{sure:.3f} | {ratio} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
