"""Tidy frames from a rule: a score for every dataset, benchmark, model, weight and seed."""

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.scores.frame import TidyFrame, tidy_frame

Rule = Callable[[str, str, str, float, int], float | None]


def frame_of(
    rule: Rule,
    *,
    datasets: Sequence[str] = ("short",),
    benchmarks: Sequence[str] = ("arc", "piqa"),
    models: Sequence[str] = ("wide", "deep"),
    weights: Sequence[float] = (0.0, 0.1, 1.0),
    seeds: Sequence[int] = (42,),
    stderr: float | None = 0.02,
) -> TidyFrame:
    """The frame of ``rule(dataset, benchmark, model, weight, seed)``; None leaves the score out."""
    rows = []
    for dataset in datasets:
        for model in models:
            for weight in weights:
                for seed in seeds:
                    for benchmark in benchmarks:
                        value = rule(dataset, benchmark, model, weight, seed)
                        if value is None:
                            continue
                        rows.append({
                            "dataset": dataset, "model": model, "prompt_weight": weight, "response_weight": 1.0,
                            "normalizer": "nonzero", "scope": "batch", "seed": seed, "r_g": 1.0, "suite": "s",
                            "benchmark": benchmark, "metric": "acc", "value": value, "stderr": stderr, "n": 10,
                            "headline": True,
                        })  # fmt: skip
    return tidy_frame(pd.DataFrame(rows), dict.fromkeys(benchmarks, "multiple_choice"))
