"""A surface over both weights: its fit, its error and its gains, each beside a reference."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulated_grids import NINE, by_share, grid_of, parabola

from analysis.inference.weight_surface import WeightSurface, crossed_covariance, fit_weight_surface
from analysis.published.wit_grid import WeightGrid, true_average
from plw.errors import UserError


def test_a_surface_finds_its_top_and_what_it_gains() -> None:
    surface = fit_weight_surface(grid_of(parabola, 0.1), ("b1", "b2", "b3"), "all")
    assert surface.top == pytest.approx((0.4, 0.7), abs=0.05)
    interval = surface.interval()
    assert interval["λ_p"][0] <= 0.4 <= interval["λ_p"][1] <= 0.6
    gain = surface.gain_over((0.0, 1.0))
    assert gain.gain == pytest.approx(parabola(0.4, 0.7) - parabola(0.0, 1.0), abs=0.1)
    assert gain.low_chosen < gain.low < gain.gain < gain.high < gain.high_chosen
    assert surface.explained > 0.95
    assert surface.samples == ("3 benchmarks", "3 datasets", "4 base models")


def test_its_error_is_that_of_the_mixed_model() -> None:
    """A mean over crossed random levels: statsmodels' REML where no component is 0."""
    import statsmodels.formula.api as smf

    generator = np.random.default_rng(4)
    labels = pd.DataFrame(
        [(f"b{b}", f"d{d}", f"m{m}") for b in range(5) for d in range(4) for m in range(6)],
        columns=["benchmark", "dataset", "model"],
    )
    levels = [labels[name].map(dict(zip(names, scale * generator.standard_normal(len(names)), strict=True)))
              for name, scale in zip(labels, (1.0, 1.5, 0.8), strict=True)
              for names in [labels[name].unique()]]  # fmt: skip
    value_U = (sum(levels) + 0.7 * generator.standard_normal(len(labels))).to_numpy()
    covariance, df, samples = crossed_covariance(value_U[:, None], labels, np.ones((1, 1)))
    fit = smf.mixedlm(
        "value ~ 1", labels.assign(value=value_U, one=1), groups="one",
        vc_formula={name: f"0 + C({name})" for name in labels},
    ).fit(reml=True)  # fmt: skip
    assert np.sqrt(covariance[0, 0]) == pytest.approx(float(fit.bse["Intercept"]), rel=0.01)
    assert 3 < df < 10
    assert len(samples) == 3


def test_intervals_of_the_gain_cover_the_truth() -> None:
    """Benchmarks and base models with surfaces of their own; the gain at a place is that of the mean over all."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(10):
        grid = grid_of(parabola, 0.3, int(generator.integers(2**31)), pairs=NINE, datasets=("d1", "d2"))
        own = {name: generator.standard_normal(2) for name in ("b1", "b2", "b3", "m1", "m2", "m3", "m4")}
        slope = np.array([own[b] + own[m] for b, m in zip(grid.scores["benchmark"], grid.scores["model"], strict=True)])
        weights = grid.scores[["prompt_weight", "response_weight"]].to_numpy()
        scores = grid.scores.assign(score=grid.scores["score"] + (slope * weights).sum(axis=1))
        moved = WeightGrid(scores=scores, benchmarks=grid.benchmarks, average=true_average(scores, grid.benchmarks))
        surface = fit_weight_surface(moved, moved.benchmarks, "all")
        gain = surface.gain_over((0.0, 1.0))
        true = parabola(*surface.top) - parabola(0.0, 1.0)
        held.append((gain.low <= true <= gain.high, gain.low_chosen <= true <= gain.high_chosen))
    at_place, together = np.mean(held, axis=0)
    assert at_place > 0.75
    assert together > 0.9


def test_what_does_not_determine_a_surface_is_said() -> None:
    with pytest.raises(UserError, match="do not determine it"):
        fit_weight_surface(grid_of(by_share, pairs=[(0.0, 1.0), (0.5, 1.0), (1.0, 1.0)]), ("b1",), "all")
    with pytest.raises(UserError, match="it needs two of either"):
        fit_weight_surface(grid_of(by_share, datasets=("d",), models=("m",), benchmarks=("b",)), ("b",), "all")
    with pytest.raises(UserError, match="no top where the scores of all pairs are the same"):
        fit_weight_surface(grid_of(lambda p, r: 50.0), ("b1",), "all")
    two = fit_weight_surface(grid_of(parabola, 0.2, datasets=("d",), models=("m",)), ("b1", "b2"), "all")
    assert two.samples == ()
    assert two.gain_over((1.0, 1.0)).gain > 0


def test_the_fit_is_that_of_least_squares_on_the_mean_over_units() -> None:
    """statsmodels: coefficients, share of the variance, and the range of the pairs with a response."""
    import statsmodels.formula.api as smf

    grid = grid_of(parabola, 2.0)
    found = fit_weight_surface(grid, ("b1", "b3"), "two")
    scores = grid.scores[grid.scores["benchmark"].isin(["b1", "b3"]) & (grid.scores["response_weight"] > 0)]
    mean = scores.groupby(["prompt_weight", "response_weight"], as_index=False)["score"].mean()
    mean = mean.rename(columns={"prompt_weight": "p", "response_weight": "r"})
    fit = smf.ols("score ~ p + r + I(p**2) + p:r + I(r**2)", mean).fit()
    assert found.slope_C == pytest.approx(fit.params[["p", "r", "I(p ** 2)", "p:r", "I(r ** 2)"]].to_numpy())
    assert found.explained == pytest.approx(fit.rsquared)
    assert (found.units, found.lowest, found.highest) == (24, (0.0, 0.2), (1.0, 1.0))
    usual, top = (pd.DataFrame({"p": [p], "r": [r]}) for p, r in ((0.0, 1.0), found.top))
    assert found.value_M.max() == pytest.approx(float((fit.predict(top) - fit.predict(usual)).iloc[0]))
    assert fit.predict(mean).max() <= fit.predict(top).iloc[0]


@pytest.mark.parametrize("df", [3.0, 60.0])
def test_gains_have_intervals_of_a_t_and_of_its_largest_over_all_places(df: float) -> None:
    """Both by draws of scipy's multivariate t; so have the top's weights and their share."""
    slope_C, root = np.array([3.0, 4.0, -4.0, 1.0, -3.0]), np.diag([0.8, 0.6, 0.9, 0.4, 0.5])
    root[1, 0] = root[4, 2] = 0.3
    surface = WeightSurface(
        scope="s", units=1, samples=(), slope_C=slope_C, covariance_CC=root @ root.T, df=df, lowest=(0.0, 0.2),
        highest=(1.0, 1.0), explained=1.0,
    )  # fmt: skip
    p_M, r_M = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, 21), np.linspace(0.2, 1, 21)))
    over = np.array([0.5, 0.25, 0.25, 0.125, 0.0625])
    contrast_MC = np.stack([p_M, r_M, p_M**2, p_M * r_M, r_M**2], axis=1) - over
    gain_M = contrast_MC @ slope_C
    error_M = np.linalg.norm(contrast_MC @ root, axis=1)
    top = int(gain_M.argmax())
    drawn_ZM = stats.multivariate_t(np.zeros(5), root @ root.T, df).rvs(6000, random_state=1) @ contrast_MC.T
    largest = np.quantile(np.abs(drawn_ZM / error_M).max(axis=1), 0.95)

    found = surface.gain_over((0.5, 0.25))

    assert surface.top == pytest.approx((p_M[top], r_M[top]))
    reach = stats.t.isf(0.025, df) * error_M[top]
    assert [found.gain, found.low, found.high] == pytest.approx([gain_M[top] + sign * reach for sign in (0, -1, 1)])
    chosen = [gain_M[top] + sign * largest * error_M[top] for sign in (-1, 1)]
    assert [found.low_chosen, found.high_chosen] == pytest.approx(chosen, rel=0.1)
    assert found.excluded == pytest.approx((gain_M + largest * error_M).max(), rel=0.1)
    tops_Z = (gain_M + drawn_ZM).argmax(axis=1)
    values = {"λ_p": p_M[tops_Z], "λ_r": r_M[tops_Z], "share": p_M[tops_Z] / (p_M[tops_Z] + r_M[tops_Z])}
    for name, (low, high) in surface.interval().items():
        assert [low, high] == pytest.approx(list(np.quantile(values[name], (0.025, 0.975))), abs=0.06)


def test_a_place_without_an_error_is_no_part_of_the_simultaneous_interval() -> None:
    """Over the pair itself a gain of 0 is certain; where nothing has an error all intervals are points."""
    known = WeightSurface(
        scope="s", units=1, samples=(), slope_C=np.array([1.0, 0, 0, 0, 0]), covariance_CC=np.zeros((5, 5)), df=4,
        lowest=(0.0, 0.2), highest=(1.0, 1.0), explained=1.0,
    )  # fmt: skip
    found = known.gain_over((0.0, 1.0))
    assert (found.low_chosen, found.gain, found.high_chosen, found.excluded) == pytest.approx((1, 1, 1, 1))


def test_the_error_of_one_factor_is_that_of_its_levels() -> None:
    """Of one benchmark and one dataset base models are the only repetition."""
    value_U = np.array([1.0, 2.0, 4.0, 5.0, 9.0])
    labels = pd.DataFrame({"benchmark": "b", "dataset": "d", "model": list("vwxyz")})
    covariance, df, samples = crossed_covariance(value_U[:, None], labels, np.ones((1, 1)))
    assert (covariance[0, 0], df) == pytest.approx((value_U.var(ddof=1) / 5, 4))
    assert samples == ("5 base models",)


@pytest.mark.parametrize("level_A", [(0.0, 4.0, 1.0, 8.0), (0.0, 0.0, 0.0, 0.0)])
def test_degrees_of_freedom_are_satterthwaites_and_two_levels_are_no_sample(level_A: tuple[float, ...]) -> None:
    """Base models and two datasets: mean squares by hand. A component below 0 is left out."""
    value_DA = np.array([[1.0, 1.2, 1.1, 1.0], [1.4, 1.3, 1.1, 1.9]]) + level_A
    labels = pd.DataFrame([("b", d, m) for d in "de" for m in "wxyz"], columns=["benchmark", "dataset", "model"])
    covariance, df, samples = crossed_covariance(value_DA.reshape(-1, 1), labels, np.ones((1, 1)))
    mean_A = value_DA.mean(axis=0)
    left_DA = value_DA - mean_A - value_DA.mean(axis=1, keepdims=True) + value_DA.mean()
    of_models, error = 2 * mean_A.var(ddof=1), (left_DA**2).sum() / 3
    assert (of_models > error) == any(level_A)
    assert covariance[0, 0] == pytest.approx(max(of_models, error) / 8)
    parts = np.array([error, max(of_models - error, 0)])
    assert df == pytest.approx(parts.sum() ** 2 / (parts**2 / 3).sum())
    assert samples == ("4 base models",)
