"""Which terms a model of items has, and what its errors are over, by what there is of base models, cells and items."""

import pandas as pd
import pytest
from simulated_answers import in_clusters, study

from analysis.inference.item_model import make_item_design
from analysis.inference.item_rows import choose_rows


@pytest.mark.parametrize(("size", "clusters", "over", "df"), [
    ({"bases": 1, "weights": (0.0, 1.0)}, 4, "cluster", 3),
    ({"bases": 2, "weights": (0.0, 1.0)}, 4, "cell", 1),
    ({"bases": 6}, 4, "cluster", 3),
    ({"bases": 3}, 4, "base model", 2),
])  # fmt: skip
def test_the_fewest_units_count_clusters_among_them(size, clusters, over, df):
    design = make_item_design(choose_rows(in_clusters(study(**size), clusters)))
    assert (design.over, design.df) == (over, df)
    assert "(1 + w | cluster)" in design.random


ITEM, SLOPE, PAIR = "(1 | item)", "(0 + w | item)", "(1 | pair)"
SAMPLE, CELL = ("(1 | base)", "(0 + w | base)"), "(1 | cell)"
THREE = ("arc", "piqa", "wino")
FOUR = (0.0, 0.01, 0.1, 1.0)


@pytest.mark.parametrize(("size", "over", "df", "random"), [
    ({"bases": 6}, "base model", 5, (*SAMPLE, CELL, ITEM, SLOPE, PAIR)),
    ({"bases": 3}, "base model", 2, (*SAMPLE, CELL, ITEM, SLOPE, PAIR)),
    ({"bases": 2}, "cell", 2, (CELL, ITEM, SLOPE, PAIR)),
    ({"bases": 1}, "item", 11, (ITEM,)),
    ({"bases": 2, "weights": (0.0, 1.0)}, "cell", 1, (CELL, ITEM, PAIR)),
    ({"bases": 1, "weights": FOUR}, "cell", 1, (CELL, ITEM)),
    ({"bases": 1, "weights": (*FOUR, 0.2)}, "cell", 2, (CELL, ITEM)),
    ({"bases": 1, "weights": (*FOUR, 0.2, 0.5)}, "cell", 3, (CELL, ITEM, SLOPE)),
    ({"bases": 4, "items": 3}, "item", 2, (*SAMPLE, CELL, ITEM, SLOPE, PAIR)),
    ({"bases": 4, "items": 4}, "base model", 3, (*SAMPLE, CELL, ITEM, SLOPE, PAIR)),
    (
        {"bases": 6, "benchmarks": THREE, "graded": False}, "benchmark", 2,
        (*SAMPLE, CELL, ITEM, SLOPE, PAIR, "(1 | benchmark)", "(0 + w + w2 | benchmark)", "(1 | bb)", "(1 | cb)"),
    ),
    (
        {"bases": 1, "benchmarks": THREE, "weights": (0.0, 1.0), "graded": False}, "benchmark", 2,
        (ITEM, "(1 | benchmark)", "(0 + w | benchmark)"),
    ),
    (
        {"bases": 3, "benchmarks": THREE, "weights": (0.0, 1.0), "graded": False}, "base model", 2,
        (*SAMPLE, CELL, ITEM, SLOPE, PAIR, "(1 | benchmark)", "(0 + w | benchmark)", "(1 | bb)", "(1 | cb)"),
    ),
])  # fmt: skip
def test_what_is_random_and_what_the_errors_are_over(size, over, df, random):
    design = make_item_design(choose_rows(study(**size), benchmarks=size.get("benchmarks", ())))
    assert (design.over, design.df) == (over, df)
    assert design.random == random
    curve = ("w", "w2")[: len(size.get("weights", (0, 1, 2))) - 1]
    assert design.fixed == (*curve, *["half"] * (size["bases"] == 2))
    said = " ".join(design.messages)
    assert ("the numbers are of these alone" in said) == (size["bases"] < 3 and CELL in random)
    assert ("the errors are over items alone" in said) == (size["bases"] < 3 and CELL not in random)


@pytest.mark.parametrize(("bases", "words"), [(1, "1 base model: not a sample"), (2, "2 base models: not a sample")])
def test_few_base_models_are_told(bases, words):
    assert words in make_item_design(choose_rows(study(bases=bases, weights=FOUR))).messages[0]


def test_runs_of_one_base_model_have_a_level_each():
    table = pd.concat([study(bases=3), study(bases=3).assign(seed=43, cell=lambda t: t["cell"] + "b")])
    design = make_item_design(choose_rows(table))
    assert design.random[:4] == (*SAMPLE, "(1 | run)", CELL)
