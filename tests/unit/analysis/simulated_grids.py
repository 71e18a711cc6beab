"""Grids over both weights from a rule, of which the truth is known."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.published.wit_grid import WeightGrid, true_average

PAIRS = [(p / 5, r / 5) for p in range(6) for r in range(6) if p or r]
NINE = [(p / 2, r) for p in range(3) for r in (0.25, 0.5, 1.0)]
Cell = Callable[[float, float], float]


def grid_of(
    cell: Cell,
    noise: float = 0.0,
    seed: int = 0,
    *,
    pairs: list[tuple[float, float]] = PAIRS,
    datasets: tuple[str, ...] = ("d1", "d2", "d3"),
    models: tuple[str, ...] = ("m1", "m2", "m3", "m4"),
    benchmarks: tuple[str, ...] = ("b1", "b2", "b3"),
) -> WeightGrid:
    generator = np.random.default_rng(seed)
    rows = [
        (name, dataset, model, *pair, cell(*pair) + noise * generator.standard_normal())
        for name in benchmarks
        for dataset in datasets
        for model in models
        for pair in pairs
    ]
    columns = ["benchmark", "dataset", "model", "prompt_weight", "response_weight", "score"]
    scores = pd.DataFrame(rows, columns=columns)
    return WeightGrid(scores=scores, benchmarks=benchmarks, average=true_average(scores, benchmarks))


def by_share(p: float, r: float) -> float:
    return 50 + 8 * (p / (p + r)) if r else 30.0


def parabola(p: float, r: float) -> float:
    return 50 - 10 * (p - 0.4) ** 2 - 4 * (r - 0.7) ** 2 if r else 20.0
