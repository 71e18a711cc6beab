"""Tables of a grid over both weights: every number stands in its column, rounded, with what it is of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.inference.held_out_choice import HeldOutGain
from analysis.inference.verdicts import ScopeVerdict, VerdictScope
from analysis.inference.weight_correlations import Correlations, RankCorrelation
from analysis.inference.weight_ratio import MagnitudeTest, RatioGain, RatioGains
from analysis.inference.weight_regions import CellError, PanelRegion
from analysis.inference.weight_surface import WeightSurface
from analysis.tables.table import Table
from analysis.tables.weight_grid import (
    choice_table,
    correlations_table,
    good_pairs_table,
    magnitude_table,
    ratio_table,
    regions_table,
    share_verdicts_table,
    surface_table,
)

USUAL, ALL = (0.0, 1.0), (1.0, 1.0)


def lines(table: Table) -> list[list[str]]:
    return [list(map(str, row)) for row in table.shown.itertuples(index=False, name=None)]


def region(
    model: str, good: tuple[tuple[float, float], ...], looked_at: tuple[tuple[float, float], ...]
) -> PanelRegion:
    return PanelRegion(
        dataset="d", model=model, best=(0.25, 1.0), best_gain=3.456, deviation=0.333, margin=1.239, good=good,
        looked_at=looked_at,
    )  # fmt: skip


def test_regions_and_the_pairs_that_are_in_most() -> None:
    three = ((0.25, 1.0), USUAL, ALL)
    regions = [
        region("a", ((0.25, 1.0), USUAL), three),
        region("b", ((0.25, 1.0),), three),
        region("c", ((0.25, 1.0), (0.5, 0.5)), ((0.25, 1.0), (0.5, 0.5))),
    ]
    error = CellError(deviation_P=pd.Series(dtype=float), df=11.0, source="chance")
    table = regions_table(regions, error)
    assert list(table.shown) == ["dataset", "model", "best", "gain", "error", "margin", "as good", "(0, 1)", "(1, 1)"]
    same = ["(0.25, 1)", "3.46", "0.33", "1.24"]
    assert lines(table) == [
        ["d", "a", *same, "2 of 3", "as good", "below"],
        ["d", "b", *same, "1 of 3", "below", "below"],
        ["d", "c", *same, "2 of 2", "–", "–"],
    ]
    assert table.raw["good_pairs"].tolist()[0] == "(0.25,1) (0,1)"
    assert table.raw[["usual_is_good", "unweighted_is_good"]].to_numpy().tolist() == [
        [True, False], [False, False], [None, None],
    ]  # fmt: skip
    assert "by chance (11 degrees of freedom)." in table.caption
    assert "by chance." in regions_table(regions, replace(error, df=np.inf)).caption
    good = good_pairs_table(regions)
    assert lines(good)[0] == ["(0.25, 1)", "3 of 3"]
    assert sorted(lines(good)[1:]) == [["(0, 1)", "1 of 3"], ["(0.5, 0.5)", "1 of 3"]]
    assert "all 3 pairs" in good.caption


def test_of_many_good_pairs_the_first_twelve_are_shown() -> None:
    pairs = tuple((number / 20, 1.0) for number in range(15))
    table = good_pairs_table([region("a", pairs, pairs)])
    assert (len(table.shown), len(table.raw)) == (12, 15)


def test_gains_by_ratio_and_the_test_of_the_magnitude() -> None:
    row = RatioGain(ratio=2 / 3, share=0.4, cells=2, mean=1.236, low=-0.934, high=6.041, p_holm=0.0004)
    table = ratio_table(RatioGains(rows=(row, replace(row, cells=5)), over="of these", excluded=7.0))
    assert lines(table)[0] == ["0.667", "0.40", "2", "1.24", "-0.93 to 6.04", "<0.001"]
    assert "interval of these, each for itself; p is corrected for 2 ratios" in table.caption
    test = MagnitudeTest(
        f=2.345, df1=10, df2=30, p=0.0321, p_permuted=0.0456, ratios=4, panels=6, spread=0.127, identical=False
    )
    table = magnitude_table(test)
    assert lines(table) == [["2.35", "10, 30", "0.032", "0.046", "0.13"]]
    assert "within 4 ratios" in table.caption
    assert "(6 panels)" in table.caption


def test_choices_and_correlations() -> None:
    choice = HeldOutGain(
        rule="one", left_out="model", mean=0.756, low=-1.234, high=2.5, median=0.101, wins=9, panels=15
    )
    assert lines(choice_table([choice])) == [["one", "model", "0.76", "-1.23 to 2.50", "0.10", "9 of 15"]]
    row = RankCorrelation(
        covariate="size",
        level="model",
        target="λ_p",
        rho=-0.456,
        points=5,
        slices=3,
        p=0.0333,
        smallest_p=0.0167,
    )
    found = correlations_table(Correlations(rows=(row, replace(row, level="dataset", points=1)), notes=()))
    assert lines(found) == [
        ["λ_p", "size", "-0.46", "5 base models", "0.033", "0.017"],
        ["λ_p", "size", "-0.46", "1 dataset", "0.033", "0.017"],
    ]


def test_a_surface_has_its_top_and_its_gains_over_both_usual_losses() -> None:
    surface = WeightSurface(
        scope="all", units=12, samples=("3 benchmarks", "4 base models"), slope_C=np.array([8.0, 2, -8, 0, 0]),
        covariance_CC=np.diag([0.1, 0.2, 0.1, 0.1, 0.1]), df=9.0, lowest=(0.0, 0.2), highest=(1.0, 1.0),
        explained=0.876,
    )  # fmt: skip
    table = surface_table([surface])
    intervals = surface.interval()
    over = [surface.gain_over(pair) for pair in (USUAL, ALL)]
    assert lines(table) == [
        ["all", "(0.5, 1)", *(f"{low:.2f} to {high:.2f}" for low, high in intervals.values()),
         *(f"{gain.gain:.2f} ({gain.low_chosen:.2f} to {gain.high_chosen:.2f})" for gain in over), "88%"]
    ]  # fmt: skip
    raw = table.raw.iloc[0]
    for name, gain in zip(("gain_0_1", "gain_1_1"), over, strict=True):
        ends = ["", "_low", "_high", "_low_chosen", "_high_chosen", "_excluded"]
        known = [gain.gain, gain.low, gain.high, gain.low_chosen, gain.high_chosen, gain.excluded]
        assert [raw[f"{name}{end}"] for end in ends] == known
    assert (raw["samples"], raw["units"], raw["df"]) == ("3 benchmarks, 4 base models", 12, 9.0)
    at_end = replace(surface, slope_C=np.array([8.0, 2, 0, 0, 0]))
    assert lines(surface_table([at_end]))[0][-2] == "the top itself"


VERDICT = ScopeVerdict(
    dataset="d", scope=VerdictScope.GROUP, name="long_generation", group=None, benchmarks=2, p=0.01, p_holm=0.0321,
    p_mean=0.01, moved=True, same=False, undecided=None, cells=10, cells_lacking=0, direction="up", from_weight=0.0,
    at_0=0.4, at_best=0.5678, at_1=0.5, at_lowest=0.4, change_low=0.1, change_high=0.2, misfit=0.0, p_parabola=None,
    highest=None, lowest=None, best_weight=0.833, lowest_weight=0.0, best_low=0.5, best_high=1.0, excluded=0.2345,
    base_models=3, bases=(), over_bases=True, scale=1.0, turned=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({}, "up"),
        ({"direction": None}, "not in its mean"),
        ({"moved": False}, "not shown"),
        ({"p_holm": None}, "too few cells"),
        ({"p_holm": None, "same": True}, "the same scores"),
    ],
)
def test_verdicts_over_the_share_are_in_points(change: dict[str, object], moved: str) -> None:
    verdict = replace(VERDICT, **change)  # type: ignore[arg-type]
    percent = replace(verdict, scale=100.0, at_0=40.0, at_best=56.78, excluded=23.45)
    single = replace(verdict, scope=VerdictScope.BENCHMARK, name="arc")
    table = share_verdicts_table([verdict, percent, single])
    p = "–" if verdict.p_holm is None else "0.032"
    line = ["d", "long generation (2)", moved, "40.0", "56.8", "0.83", "0.50 to 1.00", "23.4", p]
    assert lines(table) == [line, line]
    assert len(table.raw) == 3
    assert "at λ_p = 0" in table.shown
    later = share_verdicts_table([replace(verdict, from_weight=0.2)])
    assert "at the smallest share" in later.shown
