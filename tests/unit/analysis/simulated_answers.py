"""Items of a simulated study, in the columns of `plw items export`."""

import numpy as np
import pandas as pd
from scipy.special import expit


def study(*, bases=4, weights=(0.0, 0.1, 1.0), items=12, graded=True, benchmarks=("arc",), seed=3):
    """Items of a simulated study, in the columns of `plw items export`."""
    generator = np.random.default_rng(seed)
    rows = []
    for benchmark in benchmarks:
        easy_N, of_pair_AN = generator.normal(0.5, 1.2, items), generator.normal(0, 0.7, (bases, items))
        of_base_A, slope_A = generator.normal(0, 0.6, bases), generator.normal(0.8, 0.4, bases)
        for base in range(bases):
            for weight in weights:
                level_N = easy_N + of_pair_AN[base] + of_base_A[base] + slope_A[base] * weight**0.30103
                level_N = level_N + generator.normal(0, 0.3)
                chance_N = expit(level_N)
                value_N = chance_N + generator.normal(0, 0.1, items) if graded else generator.random(items) < chance_N
                for item in range(items):
                    rows.append({
                        "cell": f"{base}-{weight}", "dataset": "short", "model": f"base {base}",
                        "prompt_weight": weight, "response_weight": 1.0, "seed": 42,
                        "stage": "harness-world", "benchmark": benchmark,
                        "task": benchmark, "item": item, "item_hash": f"{benchmark} {item}", "cluster": None,
                        "metric": "acc", "headline": True, "aggregation": "mean", "value": float(value_N[item]),
                        "counts": None, "higher_is_better": True,
                    })  # fmt: skip
    return pd.DataFrame(rows)


def in_clusters(table, clusters, shared=0.3):
    """The items dealt out to clusters, each of which the weight moves by an amount of its own."""
    number = table["item"] % clusters
    moved_G = np.random.default_rng(0).normal(0, shared, clusters)
    value = table["value"] + moved_G[number] * table["prompt_weight"]
    return table.assign(cluster=[f"passage {one}" for one in number], value=value)
