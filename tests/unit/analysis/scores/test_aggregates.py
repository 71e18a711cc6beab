"""Aggregates against numbers worked out by hand."""

import math

import pandas as pd
import pytest

from analysis.scores.aggregates import aggregates, cell_aggregates
from analysis.scores.frame import tidy_frame
from analysis.tables.paper import results_table

GROUPS = {"arc": "multiple_choice", "bleu": "translation"}


def _frame(points):
    """From (model, weight, arc, bleu); None leaves a score out."""
    rows = [
        {"dataset": "short", "model": model, "prompt_weight": weight, "response_weight": 1.0, "normalizer": "nonzero",
         "scope": "batch", "seed": 42, "r_g": 0.1, "suite": "s", "benchmark": benchmark, "metric": metric,
         "value": value, "stderr": None, "n": 10, "headline": True}
        for model, weight, *scores in points
        for benchmark, metric, value in zip(GROUPS, ("acc", "bleu"), scores, strict=True) if value is not None
    ]  # fmt: skip
    return tidy_frame(pd.DataFrame(rows), GROUPS)


def test_aggregates_by_hand():
    frame = _frame([("a", 0.0, 0.2, 10.0), ("b", 0.0, 0.4, 30.0), ("a", 1.0, 0.6, 50.0), ("b", 1.0, 0.6, 20.0)])
    table = aggregates(frame).set_index("prompt_weight")
    # arc 0.2 0.4 0.6 0.6 scales to 0 .5 1 1; bleu 0.1 0.3 0.5 0.2 to 0 .5 1 .25
    assert table.loc[0.0, "simple"] == pytest.approx((0.2 + 0.1 + 0.4 + 0.3) / 4)
    assert table.loc[0.0, "relative"] == pytest.approx((0 + 0 + 0.5 + 0.5) / 4)
    assert table.loc[1.0, "relative"] == pytest.approx((1 + 1 + 1 + 0.25) / 4)
    # Sample variance of 0.2 0.1 0.4 0.3 around 0.25 is 0.05 / 3.
    assert table.loc[0.0, "simple_se"] == pytest.approx(math.sqrt(0.05 / 3 / 4))
    assert table["best_relative"].to_dict() == {0.0: False, 1.0: True}
    assert table["cells"].tolist() == [2, 2]


def test_a_cell_without_a_benchmark_is_in_no_aggregate():
    frame = _frame([("a", 0.0, 0.2, 10.0), ("b", 0.0, 0.9, None), ("a", 1.0, 0.6, 50.0), ("b", 1.0, 0.6, 20.0)])
    table = aggregates(frame).set_index("prompt_weight")
    assert len(cell_aggregates(frame)) == 3
    assert table["cells"].to_dict() == {0.0: 1, 1.0: 2}
    assert table.loc[0.0, "simple"] == pytest.approx(0.15)
    assert len(frame.missing) == 1


def test_a_constant_benchmark_counts_in_the_simple_aggregate_only():
    frame = _frame([("a", 0.0, 0.5, 10.0), ("a", 1.0, 0.5, 50.0)])
    table = aggregates(frame).set_index("prompt_weight")
    assert table.loc[0.0, "simple"] == pytest.approx(0.3)
    assert table["relative"].to_dict() == {0.0: 0.0, 1.0: 1.0}
    assert table["relative_se"].isna().all(), "one score has no standard error"


def test_the_best_weight_is_starred_once_a_column():
    frame = _frame([("a", 0.0, 0.2, 10.0), ("a", 0.1, 0.7, 40.0), ("a", 1.0, 0.6, 50.0)])
    shown = results_table(aggregates(frame)).shown
    assert list(shown.columns) == ["PLW", "short, simple", "short, relative"]
    assert [text.endswith("*") for text in shown["short, simple"]] == [False, False, True] or [
        text.endswith("*") for text in shown["short, simple"]
    ] == [False, True, True]
    assert shown["PLW"].tolist() == ["0", "0.1", "1"]
