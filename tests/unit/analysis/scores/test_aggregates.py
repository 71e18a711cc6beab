"""Aggregates against numbers worked out by hand."""

import math

import pandas as pd
import pytest

from analysis.scores.aggregates import aggregates, cell_aggregates, comparable, grouped_aggregates, shares
from analysis.scores.benchmark_curves import benchmark_curves
from analysis.scores.frame import tidy_frame
from analysis.tables.beyond_paper import curves_table, groups_table
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


WITHOUT_WEAK_AT_1 = [
    ("strong", 0.0, 0.80, 60.0), ("strong", 0.1, 0.78, 58.0), ("strong", 1.0, 0.75, 55.0),
    ("weak", 0.0, 0.30, 20.0), ("weak", 0.1, 0.28, 18.0),
]  # fmt: skip
"""Both base models fall with the weight; the mean of weight 1 is of the strong one alone, and so the highest."""


def test_a_weight_of_other_base_models_is_in_no_best():
    frame = _frame(WITHOUT_WEAK_AT_1)
    table = aggregates(frame).set_index("prompt_weight")
    assert table["simple"].idxmax() == 1.0, "the mean of the strong base model alone is the highest"
    assert table["compared"].to_dict() == {0.0: True, 0.1: True, 1.0: False}
    for kind in ("simple", "relative"):
        assert table[f"best_{kind}"].to_dict() == {0.0: True, 0.1: False, 1.0: False}
    results = results_table(aggregates(frame))
    assert [(text.endswith("*"), text.endswith("†")) for text in results.shown["short, simple"]] == [
        (True, False), (False, False), (False, True),
    ]  # fmt: skip
    groups, curves = groups_table(grouped_aggregates(frame)), curves_table(benchmark_curves(frame))
    # (.8 + .3) / 2 of arc; with bleu (.8 + .6 + .3 + .2) / 4; and .75 and .55 of the strong one at weight 1.
    assert curves.shown.set_index("benchmark").loc["arc", "short"] == "0.550 / 0.550 (0) / 0.750†"
    simple = groups.shown.set_index("benchmarks").loc["all benchmarks (2)"]
    assert [simple[f"simple, {at}"] for at in ("PLW 0", "best", "PLW 1")] == ["0.475", "0.475 (0)", "0.650†"]
    assert all("† has not the base models of the other weights" in table.caption for table in (results, groups, curves))


def test_where_every_weight_has_the_same_cells_nothing_is_marked():
    frame = _frame([*WITHOUT_WEAK_AT_1, ("weak", 1.0, 0.25, 15.0)])
    made = (
        results_table(aggregates(frame)),
        groups_table(grouped_aggregates(frame)),
        curves_table(benchmark_curves(frame)),
    )
    for table in made:
        assert "†" not in table.caption + table.shown.to_csv()


@pytest.mark.parametrize(
    ("runs", "fair"),
    [
        ({0.0: "ab", 0.1: "ab", 1.0: "a"}, {0.0, 0.1}),
        ({0.0: "ab", 0.1: "ab", 1.0: "abc"}, {1.0}),
        # As many, but of others: the set that most weights have.
        ({0.0: "a", 0.1: "b", 1.0: "b"}, {0.1, 1.0}),
        ({0.1: "b", 0.0: "a"}, {0.0}),
        ({}, set()),
    ],
)
def test_weights_are_comparable_where_their_base_models_are_the_same(runs, fair):
    assert comparable({weight: shares(names) for weight, names in runs.items()}) == fair


def test_further_seeds_of_all_base_models_change_nothing():
    """Of one alone they do: the mean then has more of it."""
    assert comparable({0.0: shares("aabb"), 0.1: shares("ab"), 1.0: shares("ab")}) == {0.0, 0.1, 1.0}
    assert comparable({0.0: shares("aab"), 0.1: shares("ab"), 1.0: shares("ab")}) == {0.1, 1.0}


def test_of_weights_with_nothing_in_common_none_is_the_best():
    table = aggregates(_frame([("a", 0.0, 0.2, 10.0), ("b", 1.0, 0.9, 30.0)]))
    assert not table[["best_simple", "best_relative"]].any(axis=None)
