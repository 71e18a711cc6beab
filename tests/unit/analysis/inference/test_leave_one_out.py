"""Choosing a weight without the benchmark that judges it: by hand, by brute force, and on the published WIT grid."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from study_frames import frame_of

from analysis.inference.leave_one_out import choose_by_others, leave_one_out


def test_by_hand():
    score_UW = np.array([[0.9, 0.5], [0.1, 0.5], [0.2, 0.3]])
    choice_U, held_out_U = choose_by_others(score_UW)
    # Sums of the others: .3 and .8 without the first unit, 1.1 and .8 without the second, 1 and 1 without the third.
    assert choice_U.tolist() == [1, 0, 0]
    assert held_out_U.tolist() == [0.5, 0.1, 0.2]


def test_of_choices_that_are_equal_but_for_rounding_the_first_is_taken():
    """0.1 + 0.2 + 0.3 is more than 0.3 + 0.2 + 0.1 by the last digit."""
    score_UW = np.array([[0.3, 0.1], [0.2, 0.2], [0.1, 0.3], [0.7, 0.7]])
    assert score_UW[:3, 1].sum() > score_UW[:3, 0].sum()
    assert choose_by_others(score_UW)[0][3] == 0
    frame = frame_of(
        lambda _, benchmark, model, weight, seed: score_UW["abcd".index(benchmark), int(weight)],
        benchmarks="abcd", weights=(0.0, 1.0),
    )  # fmt: skip
    assert leave_one_out(frame).set_index("kind").loc["simple", "best_weight"] == 0


@given(arrays(float, st.tuples(st.integers(2, 6), st.integers(1, 5)), elements=st.integers(0, 8).map(lambda n: n / 8)))
def test_as_the_definition_says(score_UW):
    choice_U, held_out_U = choose_by_others(score_UW)
    for unit, (choice, held_out) in enumerate(zip(choice_U, held_out_U, strict=True)):
        others = np.delete(score_UW, unit, axis=0).mean(axis=0)
        assert others[choice] == pytest.approx(others.max())
        assert held_out == score_UW[unit, choice]
        # What a unit itself scores has no say in its own choice.
        changed = score_UW.copy()
        changed[unit] = changed[unit][::-1]
        assert choose_by_others(changed)[0][unit] == choice


@pytest.mark.parametrize("score_UW", [np.ones((1, 3)), np.array([[0.1, np.nan], [0.2, 0.3]])])
def test_what_cannot_be_left_out_is_refused(score_UW):
    with pytest.raises(ValueError, match="two units"):
        choose_by_others(score_UW)


def test_where_weights_do_nothing_the_best_of_ten_still_leads_and_the_left_out_score_does_not():
    """Averaged over many studies of pure noise around one half."""
    generator = np.random.default_rng(2)
    best, held_out = [], []
    for _ in range(400):
        score_UW = generator.normal(0.5, 0.1, size=(13, 10))
        best.append(score_UW.mean(axis=0).max())
        held_out.append(choose_by_others(score_UW)[1].mean())
    assert np.mean(best) > 0.53
    assert np.mean(held_out) == pytest.approx(0.5, abs=0.006)


def test_a_weight_that_is_best_everywhere_has_no_optimism():
    def rule(dataset, benchmark, model, weight, seed):
        return 0.3 + 0.1 * (benchmark == "arc") + {0.0: 0.0, 0.1: 0.2, 1.0: 0.1}[weight]

    row = leave_one_out(frame_of(rule, benchmarks=("arc", "piqa", "winogrande"))).set_index("kind").loc["simple"]
    assert (row["best_weight"], row["chosen"]) == (0.1, "0.1 (3x)")
    assert row["optimism"] == pytest.approx(0)
    assert (row["held_out_gain_0"], row["best_gain_0"]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert row["held_out_gain_0_se"] == pytest.approx(0)
    assert row["held_out_gain_1"] == pytest.approx(0.1)


def test_the_error_of_what_is_gained_is_over_benchmarks():
    gains = {"arc": 0.1, "piqa": 0.2, "winogrande": 0.3}
    frame = frame_of(
        lambda _, benchmark, model, weight, seed: 0.3 + gains[benchmark] * (weight == 0.1), benchmarks=gains
    )
    row = leave_one_out(frame).set_index("kind").loc["simple"]
    assert (row["held_out_gain_0"], row["held_out_gain_0_se"]) == pytest.approx((0.2, 0.1 / np.sqrt(3)))


def test_a_weight_that_lacks_a_cell_is_not_chosen_from():
    def rule(dataset, benchmark, model, weight, seed):
        lacking = (model, weight, benchmark) == ("deep", 1.0, "arc")
        return None if lacking else 0.3 + 0.5 * weight - 0.1 * (model == "deep") + 0.01 * (benchmark == "arc")

    row = leave_one_out(frame_of(rule)).set_index("kind").loc["simple"]
    assert (row["weights"], row["left_out"], row["best_weight"]) == (2, 1, 0.1)
    assert pd.isna(row.get("held_out_gain_1"))


def test_one_benchmark_or_one_weight_gives_no_answer_and_no_error():
    alone = leave_one_out(frame_of(lambda *at: 0.1 + at[3] / 2, benchmarks=("arc",)))
    assert "held_out" not in alone
    assert alone["benchmarks"].tolist() == [1, 1]


def test_of_cells_that_all_lack_a_benchmark_nothing_is_chosen():
    def rule(dataset, benchmark, model, weight, seed):
        lacking = "arc" if weight else "piqa"
        return None if dataset == "long" and benchmark == lacking else 0.1 + weight / 2

    table = leave_one_out(frame_of(rule, datasets=("short", "long"))).set_index(["dataset", "kind"])
    assert list(table.index.unique("dataset")) == ["long", "short"]
    assert table.loc[("long", "simple"), ["benchmarks", "weights"]].tolist() == [0, 0]
    assert pd.isna(table.loc[("long", "simple"), "held_out"])
    assert table.loc[("short", "simple"), ["benchmarks", "weights"]].tolist() == [2, 3]


def test_weights_that_are_chosen_are_told_in_order():
    """Without the first benchmark weight 0 is best, without the others weight 1."""
    scores = {"arc": (0.0, 0.9), "piqa": (0.6, 0.3), "quiz": (0.6, 0.3)}
    frame = frame_of(lambda _, benchmark, model, weight, seed: scores[benchmark][int(weight)],
                     benchmarks=tuple(scores), weights=(0.0, 1.0))  # fmt: skip
    assert leave_one_out(frame).set_index("kind").loc["simple", "chosen"] == "0 (1x), 1 (2x)"


@pytest.mark.parametrize(("left_out", "published"), [("model", 0.76), ("dataset", 2.04)])
def test_the_published_wit_grid_gives_the_known_gain(shared_data, left_out, published):
    """Relative gain (%) over (0, 1) of the cell that the others choose, on the five-benchmark average."""
    table = pd.read_csv(shared_data / "published" / "wit_grid.csv")
    table = table[(table["benchmark"] == "avg") & (table["prompt_weight"] != "base")]
    table["cell"] = table["prompt_weight"].astype(float).map("{:g}".format) + "," + table["response_weight"].astype(str)
    grid = table.pivot_table(index=["dataset", "model"], columns="cell", values="score")
    gain = 100 * (grid.div(grid["0,1.0"], axis=0) - 1)
    score_UW = gain.groupby(left_out).mean().to_numpy()
    assert score_UW.shape[1] == 35
    assert choose_by_others(score_UW)[1].mean() == pytest.approx(published, abs=0.01)
