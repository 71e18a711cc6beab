"""Tables beyond the paper's: gains with their stars, series beside each other, and what differs from the paper."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from study_frames import frame_of

from analysis.inference.bootstrap import UNITS
from analysis.inference.regression import Regression
from analysis.scores.benchmark_curves import benchmark_curves
from analysis.scores.published import TABLE_1, TABLE_3
from analysis.tables.beyond_paper import curves_table, differences_table, gains_table, intervals_table


def interval(weight: float, low: float, high: float, **other: Any) -> dict[str, Any]:
    return {
        "quantity": "gain over PLW 0", "unit": UNITS[0], "kind": "simple", "prompt_weight": weight, "dataset": "short",
        "estimate": 0.1234, "low": low, "high": high, "benchmarks": 6, "base_models": 6, **other,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "other", "text"),
    [
        (0.0501, 0.2, {}, "0.123 [0.050, 0.200]*"),
        (-0.2, -0.05, {}, "0.123 [-0.200, -0.050]*"),
        (0.0, 0.2, {}, "0.123 [0.000, 0.200]"),
        (-0.2, 0.0, {}, "0.123 [-0.200, 0.000]"),
        (-0.0001, 0.2, {}, "0.123 [0.000, 0.200]"),
        (0.1, 0.1 + 1e-10, {}, "0.123 [0.100, 0.100]"),
        (np.nan, np.nan, {}, "0.123"),
        (0.05, 0.2, {"benchmarks": 5}, "0.123 [0.050, 0.200]"),
        (0.05, 0.2, {"base_models": 5}, "0.123 [0.050, 0.200]"),
    ],
)
def test_a_gain_has_a_star_where_its_interval_lies_on_one_side_of_0(
    low: float, high: float, other: dict[str, int], text: str
) -> None:
    rows = [interval(0.1, low, high, **other), interval(0.1, 1.0, 2.0, unit=UNITS[1], estimate=9.0)]
    rows += [interval(1.0, 1.0, 2.0, quantity="gain over PLW 1", estimate=9.0)]
    table = gains_table(pd.DataFrame(rows))
    assert table is not None
    assert len(table.raw) == 3
    assert list(table.shown) == ["aggregate", "PLW", "short"]
    assert table.shown.to_numpy().tolist() == [["simple", "0.1", text], ["relative", "0.1", "–"]]
    assert ("there is no star" in table.caption) == bool(other)
    shown = intervals_table(pd.DataFrame([rows[0] | {"quantity": "aggregate"}, *rows])).shown
    assert shown["short"].tolist() == [text.removesuffix("*"), "–"], "an aggregate is no gain"


def test_without_weight_0_there_are_no_gains() -> None:
    assert gains_table(pd.DataFrame([interval(0.5, 0.1, 0.2, quantity="gain over PLW 1")])) is None


def test_further_series_stand_below_and_are_named() -> None:
    """Benchmarks in the order of their curves; of a dataset without scores a dash."""
    own = benchmark_curves(frame_of(lambda *at: 0.5 + 0.1 * at[3], datasets=("short", "long"), weights=(0.0, 1.0)))
    other = benchmark_curves(frame_of(lambda *at: 0.3 - 0.1 * at[3], weights=(0.0, 1.0), benchmarks=("arc",)))
    alone, both = curves_table(own), curves_table(own, {"judge b": other})
    assert alone.shown.to_numpy().tolist() == [
        [name, "0.500 / 0.600 (1) / 0.600", "0.500 / 0.600 (1) / 0.600"] for name in dict.fromkeys(own["benchmark"])
    ]
    assert both.shown["series"].tolist() == ["this report", "this report", "judge b"]
    assert both.shown.set_index("series").loc["judge b", ["benchmark", "short", "long"]].tolist() == [
        "arc", "0.300 / 0.300 (0) / 0.200", "–",
    ]  # fmt: skip
    assert both.raw.columns[0] == "series"
    assert both.raw["series"].tolist() == ["this report"] * len(own) + ["judge b"] * len(other)
    assert both.raw.index.is_unique


def test_what_differs_from_the_paper_is_ours_less_theirs() -> None:
    """Datasets in the paper's order; p-values are not subtracted."""
    short = Regression(
        dataset="alpaca-data-short", engine="beta", n=100, p=0.5, w=1.5, w2=-1.0, intercept=0.25, w_se=0.1234,
        optimum=0.3,
    )  # fmt: skip
    kinds = {"alpaca-data-short": "short", "alpaca-data": "data"}
    statistics = pd.DataFrame([{"dataset": name, "r_g": 2.0} for name in kinds])
    table = differences_table(statistics, [short], "paper", {"all": {1.0: 0.5}})
    raw = table.raw.set_index(["dataset", "quantity"])
    for name, kind in kinds.items():
        published = TABLE_1[kind]["r_g"]
        assert published is not None
        assert raw.loc[(name, "R_g"), ["published", "ours", "difference"]].tolist() == pytest.approx(
            [published, 2.0, 2.0 - published]
        )
    row = raw.loc[("alpaca-data-short", "w_p")]
    assert (row["published"], row["ours"], row["ours_se"]) == (TABLE_3["short"]["w"], 1.5, 0.1234)
    assert pd.isna(raw.loc[("alpaca-data-short", "p"), "difference"])
    shown = table.shown.set_index(["dataset", "quantity"])
    assert shown.loc[("alpaca-data-short", "w_p"), "ours"] == "1.5 (0.123)"
    assert shown.loc[("alpaca-data-short", "p"), ["published", "ours", "difference"]].tolist() == ["<0.001", "0.5", "–"]
    assert shown.loc[("Table 4, all", "λ* at R_g 1"), ["in the paper", "ours"]].tolist() == ["the ratio model", "0.5"]
    assert not raw["reason"].str.contains("embedded world").any()
    mini = differences_table(statistics, [short], "mini")
    assert mini.raw["reason"].str.contains("embedded world").all()
    assert list(mini.raw["dataset"].unique()) == ["alpaca-data", "alpaca-data-short"]
