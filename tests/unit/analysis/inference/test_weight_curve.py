"""The curve over the weight: its test beside its references, its band, its best weight and its shape."""

from itertools import product

import numpy as np
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from simulated_curves import WEIGHTS, fitted, rows

from analysis.inference.weight_curve import WeightCurve, fit_curve
from analysis.scores.frame import EXPONENT


def test_curve_of_few_bases_equals_statsmodels() -> None:
    """Each base has its own curve; the mean curve is tested against what is left."""
    table = rows(2, 2, curve=(0.05, -0.05), slope_sd=0.02)

    ours = fitted(table)

    theirs = smf.ols("score ~ C(run) + C(base, Sum):w + C(base, Sum):I(w**2) + w + I(w**2) - 1", table).fit()
    test = theirs.f_test("w = 0, I(w ** 2) = 0")
    assert not ours.over_bases
    assert ours.slope_C == pytest.approx([theirs.params["w"], theirs.params["I(w ** 2)"]])
    assert ours.p == pytest.approx(float(test.pvalue))


def test_curve_over_bases_is_tested_by_t_at_its_middle_and_its_end() -> None:
    """With the same weights at each base these are t tests of one parabola a base, combined (Cauchy)."""
    table = rows(7, curve=(0.1, -0.08), slope_sd=0.05)
    curves_GC = np.array([np.polyfit(part["w"], part["score"], 2)[1::-1] for _, part in table.groupby("base")])

    ours = fitted(table)

    assert ours.over_bases
    assert ours.slope_C == pytest.approx(curves_GC.mean(axis=0))
    assert ours.covariance_CC == pytest.approx(np.cov(curves_GC.T) / 7)
    assert ours.df == pytest.approx(6)
    p_2 = [stats.ttest_1samp(curves_GC @ [place, place**2], 0).pvalue for place in (0.5, 1.0)]
    assert ours.p == pytest.approx(0.5 - np.arctan(np.tan((0.5 - np.array(p_2)) * np.pi).mean()) / np.pi)


def test_band_over_bases_has_the_intervals_of_its_middle_and_end() -> None:
    table = rows(6, curve=(0.1, -0.08), slope_sd=0.05)
    curves_GC = np.array([np.polyfit(part["w"], part["score"], 2)[1::-1] for _, part in table.groupby("base")])

    low_M, high_M = fitted(table).bounds()

    middle, end = (
        stats.ttest_1samp(curves_GC @ [place, place**2], 0).confidence_interval(0.975) for place in (0.5, 1.0)
    )
    assert (low_M[100], high_M[100]) == pytest.approx((middle.low, middle.high))
    assert (low_M[200], high_M[200]) == pytest.approx((end.low, end.high))
    # Between them it is as wide as the parabolas through the ends of both intervals.
    corner_KM = np.array([
        np.polyval(np.polyfit([0, 0.5, 1], [0, *corner], 2), np.linspace(0, 1, 201)) for corner in product(middle, end)
    ])  # fmt: skip
    assert low_M == pytest.approx(corner_KM.min(axis=0), abs=1e-9)
    assert high_M == pytest.approx(corner_KM.max(axis=0), abs=1e-9)


def test_bases_that_lack_weights_still_count() -> None:
    """The grid need not be full: fewer degrees of freedom than bases less one, and a curve all the same."""
    table = rows(6, curve=(0.2, -0.1), slope_sd=0.02)
    table = table.drop(index=[1, 2, 8, 14, 23])

    found = fitted(table)

    assert found.over_bases
    assert 2 < found.df < 5.01
    assert found.slope_C == pytest.approx([0.2, -0.1], abs=0.08)


@pytest.mark.parametrize(("bases", "slope_sd"), [(2, 0.0), (3, 0.05), (6, 0.0), (6, 0.05)])
def test_the_test_holds_its_level(bases: int, slope_sd: float) -> None:
    """Without a mean curve 5% of studies find one, whether or not bases differ where they are a sample."""
    p = [fitted(rows(bases, slope_sd=slope_sd, seed=number)).p for number in range(300)]

    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.038)  # three Monte Carlo errors


def test_bounds_hold_the_whole_curve() -> None:
    truth = np.array([0.1, -0.08])
    inside = []
    for number in range(300):
        found = fitted(rows(6, curve=(0.1, -0.08), slope_sd=0.03, seed=number))
        low_M, high_M = found.bounds()
        true_M = truth[0] * found.w_M + truth[1] * found.w_M**2
        inside.append(bool(((low_M <= true_M + 1e-12) & (true_M - 1e-12 <= high_M)).all()))

    assert np.mean(inside) > 0.95 - 0.038


@pytest.mark.parametrize(
    ("curve", "shape"),
    [((0.3, -0.05), "up"), ((-0.3, 0.05), "down"), ((0.4, -0.4), "peak"), ((-0.4, 0.4), "dip"), ((0.3, -0.2), "up")],
)
def test_shape_of_a_curve(curve: tuple[float, float], shape: str) -> None:
    """A turn whose far side is small, as of the last one, is none."""
    assert fitted(rows(2, curve=curve)).shape == shape


def exactly(
    slope_C: list[float], sd_C: tuple[float, ...] = (0.0, 0.0), df: float = 5, at_0: float = 0.3
) -> WeightCurve:
    return WeightCurve(
        at_0=at_0, slope_C=np.array(slope_C), covariance_CC=np.diag(np.square(sd_C)), df=df, over_bases=True,
        largest_w=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("bend", "turns"), [(0.5, False), (0.77, False), (0.8, True), (1.0, True), (1.5, False)])
def test_a_turn_counts_where_its_lesser_side_is_a_third_of_the_other(bend: float, turns: bool, sign: int) -> None:
    """Of w - bend w^2 the sides are 1 / (4 bend) and that less the end, 1 - bend."""
    sides = sorted([1 / (4 * bend), 1 / (4 * bend) - (1 - bend)])
    assert (sides[0] >= sides[1] / 3) == turns
    straight = "up" if sign * (1 - bend) > 0 else "down"
    turned = "peak" if sign > 0 else "dip"
    assert exactly([0.1 * sign, -0.1 * sign * bend]).shape == (turned if turns else straight)


@pytest.mark.parametrize("df", [1.5, 3.0, 1000.0])
def test_the_interval_of_the_best_weight_is_that_of_a_multivariate_t(df: float) -> None:
    curve = exactly([0.4, -0.4], (0.05, 0.06), df)
    drawn_ZC = stats.multivariate_t(curve.slope_C, curve.covariance_CC, df).rvs(8000, random_state=1)
    w_M = np.linspace(0, 1, 201)
    highest_Z = w_M[(drawn_ZC @ np.array([w_M, w_M**2])).argmax(axis=1)]
    best, low, high = curve.best()
    assert best == pytest.approx(0.5 ** (1 / EXPONENT))
    assert [low**EXPONENT, high**EXPONENT] == pytest.approx(list(np.quantile(highest_Z, (0.025, 0.975))), abs=0.03)


def test_best_weight_lies_in_its_interval() -> None:
    best, low, high = fitted(rows(6, curve=(0.5, -0.5))).best()

    assert best == pytest.approx(0.5 ** (1 / EXPONENT), rel=0.3)
    assert 0 < low < best < high < 1


def test_two_weights_give_a_line_and_one_gives_nothing() -> None:
    table = rows(3, curve=(0.2, 0.0))
    two = fitted(table[table["w"].isin([0.0, 1.0])])
    one = table[table["w"] == 1.0]

    assert len(two.slope_C) == 1
    assert fit_curve(one["score"].to_numpy(), one["w"].to_numpy(), list(one["base"]), list(one["run"])) is None


@pytest.mark.parametrize("bases", [3, 4, 6])
@pytest.mark.parametrize("weights", [(0, 0.5, 1), (0, 0.25, 0.5, 0.75, 1), (0, 0.25, 0.5, 1), WEIGHTS, (0, 0.1, 0.4)])
def test_three_base_models_are_a_sample_at_any_weights(bases: int, weights: tuple[float, ...]) -> None:
    """Degrees of freedom are as many as bases less one, of three bases just enough: rounding takes none away."""
    score_N = np.random.default_rng(1).normal(0.5, 0.01, bases * len(weights))
    names = [f"base {number}" for number in range(bases) for _ in weights]
    curve = fit_curve(score_N, np.tile(np.array(weights, dtype=float), bases), names, names)
    assert curve is not None
    assert curve.df == pytest.approx(bases - 1)


@pytest.mark.parametrize("bases", [3, 5, 6, 12])
@pytest.mark.parametrize("shape", [(0.0, 0.1), (0.0, 0.05, 0.1), (0.0, 0.1, 0.0)])
def test_base_models_that_all_differ_alike_are_counted(bases: int, shape: tuple[float, ...]) -> None:
    """Scores of few items do so often. A standard error of 0 is no certainty: the test is a sign test's."""
    score_N = np.concatenate([level + np.array(shape) for level in np.linspace(0.2, 0.6, bases)])
    names = [f"base {number}" for number in range(bases) for _ in shape]
    curve = fit_curve(score_N, np.tile(np.linspace(0, 1, len(shape)), bases), names, names)
    assert curve is not None
    assert curve.exact
    assert curve.p >= min(0.6, stats.binomtest(bases, bases).pvalue / 2)
    assert (curve.p < 0.05) == ((bases >= 6 and shape[-1] > 0) or bases == 12)


def test_base_models_that_differ_alike_at_one_place_are_counted_there() -> None:
    score_N = np.concatenate([np.array([0.5, 0.6, 0.5 + end]) for end in (0.05, -0.02, 0.01)])
    names = [f"base {number}" for number in range(3) for _ in range(3)]
    curve = fit_curve(score_N, np.tile([0.0, 0.5, 1.0], 3), names, names)
    assert curve is not None
    assert curve.p > 0.05
