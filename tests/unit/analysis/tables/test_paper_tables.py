"""The paper's tables and those beside them: every number in its column, rounded, and what is missing a dash."""

import numpy as np
import pandas as pd
import pytest
from study_frames import frame_of

from analysis.gam.optimum import RatioOptimum
from analysis.inference.ratio_model import TABLE_4_RATIOS, RatioFit
from analysis.inference.regression import Regression
from analysis.scores.choice import Alternative
from analysis.scores.published import TABLE_4
from analysis.tables.beyond_paper import leave_one_out_table, others_table
from analysis.tables.captions import coverage, seed_text
from analysis.tables.paper import stage_table, table_1, table_2, table_3
from analysis.tables.ratio_model import optimum_text, table_4
from analysis.tables.table import Table
from plw.registry.rows import StageRow


def lines(table: Table) -> list[list[str]]:
    return [list(map(str, row)) for row in table.shown.itertuples(index=False, name=None)]


STATISTICS = {
    "dataset": "short", "models": "a, b", "instruction_mean": 13.4, "instruction_sd": 4.975, "input_mean": 6.25,
    "input_sd": 14.381, "completion_mean": 1064.514, "completion_sd": 64.85, "examples": 52002,
    "total_tokens": 4376482, "r_g": 3.2765, "r_g_mean_of_ratios": 4.1, "truncated": 3, "without_completion": 0,
}  # fmt: skip


def test_table_1_names_the_base_models_where_a_dataset_stands_twice() -> None:
    same = ["13.40 (4.97)", "6.25 (14.38)", "1,064.51 (64.85)", "52,002", "4,376,482", "3.28", "4.1", "3", "0"]
    assert lines(table_1(pd.DataFrame([STATISTICS]))) == [["short", *same]]
    assert lines(table_1(pd.DataFrame([STATISTICS] * 2))) == [["short", "a, b", *same]] * 2


def test_table_2_has_every_benchmark_by_its_type() -> None:
    frame = frame_of(lambda *_: 0.5, benchmarks=("arc", "piqa"))
    frame.rows.loc[frame.rows["benchmark"] == "piqa", "n"] = range(10, 16)
    groups = {"judged": "long_generation", "piqa": "multiple_choice", "own": "mine", "arc": "multiple_choice"}
    info = {"arc": {"task": "arc_challenge", "shots": "25", "metric": "acc_norm"}, "judged": {"metric": "win_rate"}}
    table = table_2(frame, groups, info)
    assert list(table.shown) == ["benchmark", "task", "shots", "type", "headline metric", "n"]
    assert lines(table) == [
        ["arc", "arc_challenge", "25", "multiple choice", "acc", "10"],
        ["piqa", "–", "–", "multiple choice", "acc", "10 to 15"],
        ["judged", "–", "–", "long generation", "win_rate", "–"],
        ["own", "–", "–", "mine", "–", "–"],
    ]


def test_table_3_has_a_row_a_dataset_and_the_first_remark() -> None:
    short = Regression(
        dataset="short", engine="beta", n=120, p=0.0004, w=1.2345, w2=-0.9, intercept=0.1, w_se=0.1, w2_se=0.2,
        intercept_se=0.03, optimum=0.24351, optimum_low=0.1, optimum_high=0.5, p_f=0.0123, messages=("one", "two"),
    )  # fmt: skip
    none = Regression(dataset="data", engine="beta", n=3)
    table = table_3([short, none])
    by_name = {line[0]: line[1:] for line in lines(table)}
    assert by_name["short"] == [
        "<0.001", "0.012", "1.234 (0.100)", "-0.900 (0.200)", "0.100 (0.030)", "0.244 [0.1, 0.5]", "120", "beta", "one",
    ]  # fmt: skip
    assert by_name["data"] == ["–", "–", "–", "–", "–", "–", "3", "beta", ""]
    assert table.raw.set_index("dataset")["messages"].to_dict() == {"short": "one; two", "data": ""}


def optimum(ratio: float, plw: float, predicted_range: float) -> RatioOptimum:
    return RatioOptimum(
        ratio=ratio, plw=plw, low=0.0812, high=0.314, over="scores", score_low=0.1, score_high=0.2,
        predicted_range=predicted_range,
    )  # fmt: skip


def test_table_4_stands_beside_the_published_one() -> None:
    assert optimum_text(None) == "–"
    assert optimum_text(optimum(1.0, 0.15512, 0.5)) == "0.155 [0.081, 0.31]"
    assert optimum_text(optimum(1.0, 0.2, 0.0)) == "* 0.2 [0.081, 0.31]"
    known = TABLE_4_RATIOS[3]
    fit = RatioFit(
        aggregate="all", fit=None, refusal="too few", points=pd.DataFrame(), optima=(optimum(known, 0.15512, 0.5),)
    )
    table = table_4([fit])
    raw = table.raw.set_index("r_g")
    assert table.shown["R_g"].tolist() == [f"{ratio:.1f}" for ratio in TABLE_4_RATIOS]
    assert [text != "–" for text in table.shown["all"]] == [ratio == known for ratio in TABLE_4_RATIOS]
    assert raw.loc[known, ["optimum", "low", "high", "score_low", "score_high", "predicted_range"]].tolist() == [
        0.15512, 0.0812, 0.314, 0.1, 0.2, 0.5,
    ]  # fmt: skip
    assert (raw.loc[known, "interval_over"], raw.loc[known, "starred"]) == ("scores", False)
    for ratio, text in zip(TABLE_4_RATIOS, table.shown["all, paper"], strict=True):
        printed = TABLE_4["all"].get(ratio, "none")
        assert text == ("–" if printed == "none" else "*" if printed is None else f"{printed:.3g}")
        assert raw.loc[ratio, "published_starred"] == (None if printed == "none" else printed is None)
    assert "No model of all: too few." in table.caption


def stage(name: str, kind: str, status: str, seconds: float | None = None) -> StageRow:
    return StageRow(
        study="s", scale="m", cell="c", name=name, kind=kind, fingerprint="f", status=status, attempts=1,
        seconds=seconds,
    )  # fmt: skip


def test_the_time_is_that_of_finished_stages() -> None:
    stages = [
        stage("a", "train", "done", 1500.0), stage("b", "train", "done", 300.5), stage("c", "train", "failed", 9.0),
        stage("d", "judge", "running"), stage("e", "harness", "done", 200.0),
    ]  # fmt: skip
    assert lines(stage_table(stages)) == [
        ["harness", "1", "0", "0", "200.0", "200.00", "10.0%"],
        ["judge", "0", "0", "1", "0.0", "–", "0.0%"],
        ["train", "2", "1", "0", "1,800.5", "900.25", "90.0%"],
    ]
    assert lines(stage_table(stages[3:4])) == [["judge", "0", "0", "1", "0.0", "–", "–"]]


def test_what_a_report_does_not_rest_on_is_told_with_the_way_to_it() -> None:
    others = [
        Alternative(kind="judge", name="gpt4", cells=12, benchmarks=2, finished=86400.0 * 365 + 60),
        Alternative(kind="suite", name="quiz", cells=1, benchmarks=3, finished=0.0),
    ]
    table = others_table(others)
    assert list(table.shown) == ["kind", "name", "cells", "benchmarks", "last score (UTC)", "to see it"]
    assert lines(table) == [
        ["judge", "gpt4", "12", "2", "1971-01-01 00:01", "plw report --judge gpt4"],
        ["suite", "quiz", "1", "3", "–", "plw report --suite quiz"],
    ]


def test_the_best_weight_stands_beside_what_it_is_worth_elsewhere() -> None:
    full = {
        "dataset": "short", "kind": "relative", "best_weight": 0.1, "best": 0.81234, "held_out": 0.7, "optimism": 0.112,
        "best_gain_0": 0.3, "held_out_gain_0": 0.2, "held_out_gain_0_se": 0.05, "chosen": "0.1 (3x)",
    }  # fmt: skip
    simple = full | {"kind": "simple", "best": np.nan, "chosen": np.nan, "held_out_gain_0": np.nan}
    table = leave_one_out_table(pd.DataFrame([full, simple]))
    assert lines(table) == [
        ["short", "simple", "0.1", "–", "0.700", "0.112", "0.300", "–", "–", "–", "–"],
        ["short", "relative", "0.1", "0.812", "0.700", "0.112", "0.300", "0.200 (0.050)", "–", "–", "0.1 (3x)"],
    ]
    alone = leave_one_out_table(pd.DataFrame([{"dataset": "short", "kind": "simple"}]))
    assert lines(alone) == [["short", "simple", *["–"] * 9]]


@pytest.mark.parametrize(
    ("seeds", "text"), [((2, 1, 2), "seeds 1, 2"), ((42,), "seed 42"), ((10, 9, 100), "seeds 9, 10, 100")]
)
def test_seeds_are_named_in_order(seeds: tuple[int, ...], text: str) -> None:
    assert seed_text(pd.Series(seeds)) == text


@pytest.mark.parametrize("benchmarks", [1, 4, 5])
def test_what_a_table_rests_on_is_counted(benchmarks: int) -> None:
    """One base model lacks some benchmarks at one weight."""
    names = "abcdef"[: benchmarks + 1]
    frame = frame_of(
        lambda *at: None if at[2:4] == ("deep", 1.0) and at[1] != "a" else 0.5, benchmarks=names, seeds=(1, 2)
    )
    lacking = ", ".join(names[1:]) if benchmarks <= 4 else f"{benchmarks} benchmarks"
    known, missing = 12 * len(names) - 2 * benchmarks, 2 * benchmarks
    sample = f"1 dataset, 2 base models, 3 weights, {len(names)} benchmarks"
    assert coverage(frame) == (
        f"n = {known} scores of 12 cells ({sample}); seeds 1, 2. Missing: {missing} scores in 2 cells ({lacking})."
    )
    assert "; seeds 1, 2. Left out: 2 cells without every benchmark. Missing" in coverage(frame, whole_cells=True)
    whole = frame_of(lambda *_: 0.5)
    assert coverage(whole, whole_cells=True).endswith("seed 42. Missing: nothing.")
