"""Scores by the ratio of both weights, and whether their magnitude matters beside it."""

import warnings

import numpy as np
import pytest
from scipy import stats
from simulated_grids import by_share, grid_of

from analysis.inference.weight_ratio import magnitude_test, ratio_gains
from analysis.inference.weight_regions import cell_error
from plw.errors import UserError


def test_ratios_are_means_over_equal_ratios_and_a_trend_is_shown() -> None:
    found = ratio_gains(grid_of(by_share, 0.2))
    assert len(found.rows) == 19, "of 21 ratios less that of λ_p = 0 and that without a response"
    assert [row.cells for row in found.rows if row.ratio in (0.5, 1.0, 2.0)] == [2, 5, 2]
    assert [row.mean for row in found.rows] == pytest.approx([100 * 8 * row.share / 50 for row in found.rows], abs=0.6)
    assert found.rows[-1].shown
    assert found.excluded > found.rows[-1].high
    flat = ratio_gains(grid_of(lambda p, r: 50.0, 0.2))
    assert not any(row.shown for row in flat.rows)


def test_of_two_base_models_the_interval_is_of_these_alone() -> None:
    found = ratio_gains(grid_of(by_share, 0.2, models=("m1", "m2")))
    assert "2 base models alone" in found.over
    assert found.rows[-1].shown


def test_a_magnitude_that_matters_is_found_and_one_that_does_not_is_not() -> None:
    assert magnitude_test(grid_of(lambda p, r: 50 + p + r, 0.5)).p_permuted < 0.001
    tests = [magnitude_test(grid_of(by_share, 0.5, seed, datasets=("d1",))) for seed in range(20)]
    assert np.mean([test.p_permuted < 0.1 for test in tests]) < 0.3
    assert stats.kstest([test.p for test in tests], "uniform").pvalue > 0.001
    assert [test.p_permuted for test in tests] == pytest.approx([test.p for test in tests], abs=0.05)
    assert (tests[0].df1, tests[0].df2, tests[0].ratios) == (10, 30, 4)


@pytest.mark.parametrize("size", [0.0, 2.0])
def test_the_f_test_is_that_of_an_analysis_of_variance(size: float) -> None:
    """statsmodels: blocks (panel x ratio) against blocks and cells."""
    import statsmodels.api as sm
    from statsmodels.formula.api import ols

    grid = grid_of(lambda p, r: by_share(p, r) + size * (p + r), 0.5, datasets=("d1",))
    average = grid.average.loc[:, [r > 0 for _, r in grid.average.columns]]
    average = 100 * average.div(average.mean(axis=1), axis=0)
    long = average.stack(["prompt_weight", "response_weight"]).rename("y").reset_index()
    share = (long["prompt_weight"] / (long["prompt_weight"] + long["response_weight"])).round(6)
    long = long.assign(
        share=share.astype(str), cell=long["prompt_weight"].astype(str) + long["response_weight"].astype(str)
    )
    several = long[long.groupby(["model", "share"])["y"].transform("size") > 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cells of a ratio sum to it
        fit = [ols(f"y ~ C(model):C(share){cells}", several).fit() for cells in ("", " + C(cell)")]
        table = sm.stats.anova_lm(*fit)
    found = magnitude_test(grid)
    assert found.f == pytest.approx(table["F"].iloc[1], rel=1e-6)
    assert (found.df1, found.df2) == (table["df_diff"].iloc[1], table["df_resid"].iloc[1])
    assert found.p == pytest.approx(table["Pr(>F)"].iloc[1])
    noise = table["ssr"].iloc[1] / found.df2
    above = max(table["ss_diff"].iloc[1] / found.df1 - noise, 0)
    assert (found.spread, found.panels) == (pytest.approx(np.sqrt(above / 4)), 4)
    assert found.spread > 0.5 or not size


def test_over_base_models_ratios_are_held_by_t_and_corrected_for_their_number() -> None:
    """scipy's t over the base models' mean gains, and statsmodels' Holm."""
    from statsmodels.stats.multitest import multipletests

    grid = grid_of(by_share, 4.0, datasets=("d1", "d2"))
    average = grid.average.loc[:, [r > 0 for _, r in grid.average.columns]]
    p_C, r_C = np.array(list(average.columns)).T
    usual_P = average.loc[:, p_C == 0].mean(axis=1)
    found = ratio_gains(grid)
    over = [
        100 * (average.loc[:, np.isclose(p_C, row.ratio * r_C)].mean(axis=1) / usual_P - 1).groupby("model").mean()
        for row in found.rows
    ]
    tests = [stats.ttest_1samp(gain_A, 0) for gain_A in over]
    intervals = [test.confidence_interval(0.95) for test in tests]
    assert found.over == "over 4 base models as a sample (t)"
    assert [row.mean for row in found.rows] == pytest.approx([gain_A.mean() for gain_A in over])
    assert [row.low for row in found.rows] == pytest.approx([interval.low for interval in intervals])
    assert [row.high for row in found.rows] == pytest.approx([interval.high for interval in intervals])
    corrected_W = multipletests([test.pvalue for test in tests], method="holm")[1]
    assert [row.p_holm for row in found.rows] == pytest.approx(list(corrected_W))
    assert [row.shown for row in found.rows] == list(corrected_W < 0.05)
    shares = [row.ratio / (1 + row.ratio) for row in found.rows]
    assert [row.share for row in found.rows] == pytest.approx(shares, abs=1e-6)
    wide = [test.confidence_interval(1 - 0.05 / len(tests)) for test in tests]
    assert found.excluded == pytest.approx(max(max(abs(one.low), abs(one.high)) for one in wide))


def test_of_two_base_models_the_error_is_that_of_cells() -> None:
    """Of a mean of cells against the mean of those with λ_p = 0, in every panel; the cells' errors are independent."""
    grid = grid_of(by_share, 1.0, models=("m1", "m2"))
    found, error = ratio_gains(grid), cell_error(grid)
    per_cell = np.sqrt((error.deviation_P**2).mean() / 6)
    reach = stats.t.isf(0.025, 6 * error.df)
    for row in found.rows:
        half = reach * per_cell * np.sqrt(1 / row.cells + 1 / 5)
        assert (row.low, row.high) == pytest.approx((row.mean - half, row.mean + half))


@pytest.mark.parametrize("models", [("m1", "m2"), ("m1", "m2", "m3")])
def test_gains_without_an_error_are_shown_and_none_is_no_gain(models: tuple[str, ...]) -> None:
    """All base models differ alike: p is 0 where there is a gain, and 1 where there is none."""
    found = ratio_gains(grid_of(lambda p, r: 52.0 if p > r else 50.0, models=models))
    assert {(row.p_holm, row.shown) for row in found.rows if row.ratio > 1} == {(0.0, True)}
    assert {(row.p_holm, row.shown) for row in found.rows if row.ratio <= 1} == {(1.0, False)}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([(0.0, 1.0), (0.0, 0.5)], "need cells with λ_p = 0 and cells with λ_p above 0"),
        ([(1.0, 1.0), (0.5, 0.5)], "need cells with λ_p = 0 and cells with λ_p above 0"),
    ],
)
def test_what_gives_no_ratio_to_compare_is_said(pairs: list[tuple[float, float]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ratio_gains(grid_of(by_share, 0.1, pairs=pairs))


def test_what_cannot_test_the_magnitude_is_said() -> None:
    with pytest.raises(UserError, match="no two pairs of weights have one ratio"):
        magnitude_test(grid_of(by_share, 0.1, pairs=[(0.0, 1.0), (0.5, 1.0)]))
    with pytest.raises(UserError, match="in one panel"):
        magnitude_test(grid_of(by_share, 0.1, datasets=("d",), models=("m",)))
    two = magnitude_test(grid_of(by_share, 0.1, datasets=("d",), models=("m1", "m2")))
    assert (two.panels, two.df1, two.df2) == (2, 10, 10)
