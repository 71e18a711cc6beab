"""Simulated searches: how often does `plw tune` reach the best score of the full grid, and at how many cells?

    OMP_NUM_THREADS=1 nice -n 15 python scripts/simulate_tune.py --runs 200
    OMP_NUM_THREADS=1 nice -n 15 python scripts/simulate_tune.py --curves my-study.csv

A curve is a score at each of the paper's ten weights, taken for the truth. A training at a weight has this score, less
the error that its items leave it (paired, so without what all trainings share) and the difference between two
trainings at one weight. A run draws these for all ten; the search sees those that it asks for, the grid sees them all.
A run has reached the grid where the truth at the chosen weight is within 1 point of the best truth of the ten.

Curves: those of a finished mini study (docs/data/tune-curves-world.csv: three datasets x two base models x three
scores); the PLW paper's Table 3 (logit parabolas of scores that are scaled to 0-1 within a benchmark, so that a
point there is a hundredth of the range, and much less than a point of the score); the mean of WIT's five benchmarks for
each of its fifteen base models and datasets; and the pocket study where its scores travel with the package. WIT has
no weight between 0 and 0.2: there its curves are straight lines in w_p, and the scatter of its single trainings is in
them. With `--made` they are shapes instead that no study has: flat, an end apart, a step, a narrow bump, waves. A CSV
of another study has the columns curve, prompt_weight, score (0 to 1) and se.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.inference.adaptive import REGRET_MARGIN, WEIGHTS, Trial, WeightChooser
from analysis.published.pocket import mean_curves, read_pocket
from analysis.published.wit_grid import AVERAGE, BENCHMARKS, panels, read_wit_grid
from analysis.published.wit_weights import wit_curves
from analysis.scores.frame import EXPONENT

WORLD = Path(__file__).parents[1] / "docs" / "data" / "tune-curves-world.csv"
TABLE_3 = {"AlpacaData": (1.185, -0.917, -0.131), "Cleaned": (1.238, -0.812, -0.231), "Short": (5.590, -4.284, -1.043)}
"""Dataset -> coefficients of w_p, of its square, and the constant (PLW paper, Table 3)."""
TABLE_3_ERRORS = (0.005, 0.01, 0.02)
WIT_SE = 0.008
"""Two percent of its scores, by which cells of equal ratio scatter."""
RUN_SD = 0.003
SLACK = 1e-9
MADE_ERRORS = (0.005, 0.02)
SOURCES = ("Table 3", "WIT", "pocket", "made flat", "made end", "made step", "made bump", "made wave")
"""Beginnings of names that are counted together; the other curves are by their range."""
FLAT = 0.02
"""A curve whose ten scores differ by less is counted apart: whatever is chosen there is nearly right."""


class Curve(NamedTuple):
    """The truth at each of the ten weights, and the error of a training's score."""

    name: str
    score_W: np.ndarray
    se: float


class Reached(NamedTuple):
    """What became of one run."""

    search: bool
    grid: bool
    equal: bool
    """Whether the search is within a point of the truth at the weight that the grid's scores would choose."""
    cells: int
    bounded: bool
    """Whether the truth lies within the regret that the search stated."""


def read_curves(path: Path) -> list[Curve]:
    """The curves of a CSV; each needs all ten weights."""
    curves = []
    for name, rows in pd.read_csv(path).groupby("curve", sort=False):
        by_weight = rows.set_index("prompt_weight")["score"]
        curves.append(Curve(str(name), np.array([by_weight[weight] for weight in WEIGHTS]), float(rows["se"].mean())))
    return curves


def table_3() -> list[Curve]:
    """The paper's fitted curves, under several errors."""
    w_W = np.array(WEIGHTS) ** EXPONENT
    return [
        Curve(f"Table 3 {name}, se {se:g}", 1 / (1 + np.exp(-(linear * w_W + square * w_W**2 + constant))), se)
        for se in TABLE_3_ERRORS
        for name, (linear, square, constant) in TABLE_3.items()
    ]


def wit() -> list[Curve]:
    """WIT's fifteen panels."""
    names = panels(read_wit_grid(), AVERAGE).index
    weights, score_PW = wit_curves(BENCHMARKS)
    w_W, at_W = np.array(weights) ** EXPONENT, np.array(WEIGHTS) ** EXPONENT
    return [
        Curve(f"WIT {model} on {dataset}", np.interp(at_W, w_W, score_W) / 100, WIT_SE)
        for (dataset, model), score_W in zip(names, score_PW, strict=True)
    ]


def pocket() -> list[Curve]:
    """The pocket study's datasets and kinds of task that have all ten weights; none where its scores are not there."""
    rows = read_pocket()
    curves = []
    for (dataset, kind), part in () if rows is None else rows.groupby(["dataset", "kind"]):
        table = mean_curves(part)
        if set(WEIGHTS) <= set(table.columns):
            mean = table[list(WEIGHTS)].mean()
            benchmarks = part["benchmark"].nunique()
            se = float(np.sqrt((part["stderr"] ** 2).mean() / benchmarks)) / 100
            curves.append(Curve(f"pocket {dataset}, {kind}", mean.to_numpy() / 100, se))
    return curves


def made() -> list[Curve]:
    """Shapes that the search does not take for likely, and a flat one, under two errors."""
    w_W = np.array(WEIGHTS) ** EXPONENT
    shapes = {
        "flat": np.zeros(len(w_W)),
        "end: 0 lower by 5": np.where(w_W == 0, -0.05, 0),
        "end: 0 higher by 3": np.where(w_W == 0, 0.03, 0),
        "end: 1 lower by 5": np.where(w_W == 1, -0.05, 0),
        "step: up by 3 from 0.1": np.where(w_W > 0.45, 0.03, 0),
        "step: up by 20 from 0.1": np.where(w_W > 0.45, 0.2, 0),
        "step: down by 10 from 0.05": np.where(w_W < 0.35, 0.1, 0),
        "bump: 3 at 0.1": 0.03 * np.exp(-0.5 * ((w_W - 0.5) / 0.08) ** 2),
        "bump: 5 at 0.002": 0.05 * np.exp(-0.5 * ((w_W - w_W[2]) / 0.06) ** 2),
        "wave: two high, of 4": -0.02 * np.cos(4 * np.pi * w_W),
        "wave: two low, of 4": 0.02 * np.cos(4 * np.pi * w_W),
        "wave: high and low, of 4": 0.02 * np.sin(2 * np.pi * w_W),
    }
    return [
        Curve(f"made {name}, se {se:g}", 0.4 + shape_W, se) for se in MADE_ERRORS for name, shape_W in shapes.items()
    ]


def search(curve: Curve, chooser: WeightChooser, generator: np.random.Generator) -> Reached:
    """One run."""
    seen_W = curve.score_W + generator.normal(0, np.hypot(curve.se, RUN_SD), len(WEIGHTS))
    trials: list[Trial] = []
    pending = chooser.first
    while pending:
        for weight in pending:
            place = WEIGHTS.index(weight)
            again = any(trial.weight == weight for trial in trials)
            score = curve.score_W[place] + generator.normal(0, np.hypot(curve.se, RUN_SD)) if again else seen_W[place]
            trials.append(Trial(weight=weight, score=float(score), se=curve.se))
        decision = chooser.decide(trials)
        pending = decision.next_weights
    best = curve.score_W.max()
    found, by_grid = curve.score_W[WEIGHTS.index(decision.best)], curve.score_W[seen_W.argmax()]
    return Reached(
        search=found >= best - REGRET_MARGIN - SLACK,
        grid=by_grid >= best - REGRET_MARGIN - SLACK,
        equal=found >= by_grid - REGRET_MARGIN - SLACK,
        cells=len(trials),
        bounded=best - found <= decision.regret_bound + SLACK,
    )


def row(name: str, runs: list[Reached]) -> str:
    """One line of the table."""
    reached = np.mean(np.array(runs, dtype=float), axis=0)
    shares = " | ".join(f"{share:.{places}f}" for share, places in zip(reached, (2, 2, 2, 1, 2), strict=True))
    return f"| {name} | {len(runs)} | {shares} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs a curve")
    parser.add_argument("--budget", type=int, default=WeightChooser.budget, help="cells of a search at most")
    parser.add_argument("--curves", type=Path, help="a CSV of another study, in place of the stored curves")
    parser.add_argument("--made", action="store_true", help="made curves, in place of the stored ones")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chooser = WeightChooser(budget=options.budget)
    groups: defaultdict[str, list[Reached]] = defaultdict(list)
    print(
        "| curve | runs | search within 1 point | grid's own choice | search as good as grid's | cells | bound holds |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    if options.curves:
        curves = read_curves(options.curves)
    else:
        curves = made() if options.made else [*read_curves(WORLD), *table_3(), *wit(), *pocket()]
    for number, curve in enumerate(curves):
        runs = [
            search(curve, chooser, np.random.default_rng([options.seed, number, run])) for run in range(options.runs)
        ]
        source = next((name for name in SOURCES if curve.name.startswith(name)), None)
        groups[source or ("flat" if np.ptp(curve.score_W) < FLAT else "not flat")] += runs
        print(row(f"{curve.name} (range {100 * np.ptp(curve.score_W):.1f})", runs), flush=True)
    for kind, runs in groups.items():
        print(row(f"**{kind}**", runs))
    print(row("**all**", [run for runs in groups.values() for run in runs]))


if __name__ == "__main__":
    main()
