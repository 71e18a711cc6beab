"""The ablation's table: one scale for all methods, the better end for each regulariser, tuned PLW over every weight."""

import pandas as pd
import pytest

from analysis.tables.ablation import ablation_table
from plw.errors import UserError

GROUPS = {"arc": "multiple_choice", "piqa": "multiple_choice"}


def rows(model: str, recipe: str, values: dict[float, tuple[float, float]], seed: int = 42) -> list[dict[str, object]]:
    """Both benchmarks' scores by weight."""
    return [
        {
            "dataset": "short", "model": model, "recipe": recipe, "prompt_weight": weight, "response_weight": 1.0,
            "normalizer": "nonzero", "scope": "batch", "seed": seed, "r_g": 0.08, "suite": "s", "benchmark": benchmark,
            "metric": "acc", "value": value, "stderr": 0.01, "n": 100, "headline": True, "judge": "",
        }
        for weight, pair in values.items()
        for benchmark, value in zip(GROUPS, pair, strict=True)
    ]  # fmt: skip


@pytest.fixture
def scores() -> pd.DataFrame:
    return pd.DataFrame([
        *rows("one", "mini", {0.0: (0.2, 0.5), 0.1: (0.6, 0.7), 1.0: (0.4, 0.6)}),
        *rows("one", "mini-decay", {0.0: (0.3, 0.5), 1.0: (0.5, 0.65)}),
        *rows("one", "mini-dropout", {0.0: (0.2, 0.9), 1.0: (0.2, 0.6)}),
        *rows("two", "mini", {0.0: (0.7, 0.5), 0.1: (0.5, 0.6), 1.0: (0.5, 0.6)}),
        *rows("two", "mini-decay", {0.0: (0.7, 0.9)}),
    ])  # fmt: skip


def test_best_by_method_on_one_scale(scores: pd.DataFrame) -> None:
    table = ablation_table(scores, GROUPS)
    raw = table.raw.set_index(["model", "method"])
    # Over all recipes and models arc spans 0.2 to 0.7 and piqa 0.5 to 0.9.
    expected = {
        ("one", "tuned PLW"): (0.1, (0.4 / 0.5 + 0.2 / 0.4) / 2, 3),
        ("one", "none"): (1.0, (0.2 / 0.5 + 0.1 / 0.4) / 2, 2),
        ("one", "decay"): (1.0, (0.3 / 0.5 + 0.15 / 0.4) / 2, 2),
        ("one", "dropout"): (0.0, 0.5, 2),
        ("two", "tuned PLW"): (0.0, 0.5, 3),
        ("two", "none"): (0.0, 0.5, 2),
        ("two", "decay"): (0.0, 1.0, 1),
    }
    assert set(raw.index) == set(expected)
    for key, (weight, relative, weights) in expected.items():
        row = raw.loc[key]
        assert (row["prompt_weight"], row["weights"]) == (weight, weights)
        assert row["relative"] == pytest.approx(relative)
    shown = table.shown.set_index("method")
    assert shown.loc["decay", "short, one"] == "0.488 at PLW 1"
    assert shown.loc["dropout", "short, two"] == "–"
    assert "0.855 against at most 0.812" in table.caption


def test_seeds_are_averaged_before_the_best_is_chosen(scores: pd.DataFrame) -> None:
    lucky = rows("one", "mini-decay", {0.0: (0.7, 0.9), 1.0: (0.4, 0.6)}, seed=1)
    table = ablation_table(pd.concat([scores, pd.DataFrame(lucky)]), GROUPS).raw
    row = table[(table["model"] == "one") & (table["method"] == "decay")].iloc[0]
    assert (row["prompt_weight"], row["cells"]) == (0.0, 2)
    assert row["relative"] == pytest.approx((0.1 + 1.0) / 2)
    assert row["relative_se"] == pytest.approx(0.45)


def test_a_cell_that_lacks_a_benchmark_does_not_count(scores: pd.DataFrame) -> None:
    whole = scores["recipe"].ne("mini-dropout") | scores["prompt_weight"].ne(0) | scores["benchmark"].ne("piqa")
    table = ablation_table(scores[whole], GROUPS).raw
    row = table[table["method"] == "dropout"].iloc[0]
    assert (row["prompt_weight"], row["weights"]) == (1.0, 1)


def test_one_recipe_is_no_ablation(scores: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="the scores are of mini alone"):
        ablation_table(scores[scores["recipe"] == "mini"], GROUPS)


def test_two_recipes_are_enough_and_of_unfinished_cells_there_is_no_table(scores: pd.DataFrame) -> None:
    two = scores[scores["recipe"].isin(["mini", "mini-decay"])]
    assert ablation_table(two, GROUPS).shown["method"].tolist() == ["tuned PLW", "none", "decay"]
    with pytest.raises(UserError, match="no cell of the ablation has every benchmark yet"):
        ablation_table(two[(two["benchmark"] == "arc") == (two["recipe"] == "mini")], GROUPS)
