"""Scaled residuals: uniform under the model, and each check finds what it is named after."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from analysis.glmm.bootstrap import linear_predictor, simulate_scores
from analysis.glmm.fit import fit_glmm
from analysis.inference.residuals import mode_effects, quantile_statistic, residual_checks, scaled_residuals, uniformity
from plw.errors import UserError

WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)


@pytest.fixture(scope="module")
def fit():
    generator = np.random.default_rng(8)
    plw, b, m = (axis.ravel() for axis in np.meshgrid(WEIGHTS, np.arange(8), np.arange(2)))
    w = plw**0.30103
    slope = np.array([3.0, -2.5]) + 0.4 * generator.standard_normal((8, 2))
    mean = 1 / (1 + np.exp(0.7 - 0.3 * m - slope[b, 0] * w - slope[b, 1] * w**2))
    return fit_glmm(generator.beta(mean * 30, (1 - mean) * 30), plw, b, m)


def _p(fit, check, **options):
    checks = residual_checks(fit, draws=200, **options).checks.set_index("check")
    return checks.loc[check, "p"]


def _redrawn(fit, seed):
    return replace(
        fit, design=replace(fit.design, score_N=simulate_scores(fit, fit.design, np.random.default_rng(seed)))
    )


def test_p_values_are_uniform_under_the_model(fit):
    """Scores drawn from the very model that is checked; every row shares random effects with others."""
    found = [residual_checks(_redrawn(fit, 100 + seed), draws=100, seed=seed).checks["p"] for seed in range(60)]
    p_ZC = np.array(found)
    assert (stats.kstest(p_ZC, "uniform", axis=0).pvalue > 1e-4).all()
    assert 0.01 < (p_ZC < 0.1).mean() < 0.2


def test_residuals_are_uniform_given_the_effects_they_were_drawn_with(fit):
    effect_N = mode_effects(fit)
    generator = np.random.default_rng(2)
    drawn_ZN = np.stack([simulate_scores(fit, fit.design, generator, effect_N) for _ in range(200)])
    residuals = [
        scaled_residuals(simulate_scores(fit, fit.design, generator, effect_N), drawn_ZN)[0] for _ in range(40)
    ]
    assert stats.kstest(np.concatenate(residuals), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("factor", "above"), [(6.0, True), (1 / 6, False)])
def test_a_wrong_dispersion_is_found(fit, factor, above):
    wrong = replace(fit, dispersion=fit.dispersion * factor)
    made = residual_checks(wrong, draws=200, conditional=True)
    row = made.checks.set_index("check").loc["dispersion"]
    assert row["p"] < 0.02
    assert (row["statistic"] > 1) == above
    assert _p(fit, "dispersion", conditional=True) > 0.05


def test_a_curve_of_another_shape_is_found(fit):
    flat = replace(fit, fixed=fit.fixed | {"w": 0.0, "w2": 0.0})
    assert _p(flat, "quantiles by w_p", conditional=True) < 0.02
    assert _p(fit, "quantiles by w_p", conditional=True) > 0.05


def test_a_benchmark_off_its_curve_is_found(fit):
    score_N = fit.design.score_N.copy()
    score_N[fit.design.benchmark_N == 3] **= 2
    assert _p(replace(fit, design=replace(fit.design, score_N=score_N)), "mean by benchmark") < 0.05


def test_outliers_are_found(fit):
    score_N = fit.design.score_N.copy()
    score_N[::10] = 0.999
    off = replace(fit, design=replace(fit.design, score_N=score_N))
    assert _p(off, "outliers", conditional=True) < 0.02
    assert _p(off, "uniformity", conditional=True) < 0.1


def test_the_statistics_against_their_references():
    generator = np.random.default_rng(5)
    residual_N = generator.uniform(size=120)
    assert uniformity(residual_N) == pytest.approx(stats.kstest(residual_N, "uniform").statistic)
    x_N = generator.uniform(size=120)
    basis_NC = np.vander(x_N, 3)
    projected = [basis_NC @ np.linalg.lstsq(basis_NC, tau - (residual_N < tau))[0] for tau in (0.25, 0.5, 0.75)]
    expected = max(np.square(one_N).sum() / var for one_N, var in zip(projected, (3 / 16, 1 / 4, 3 / 16), strict=True))
    assert quantile_statistic(residual_N, x_N) == pytest.approx(expected)
    values = [quantile_statistic(generator.uniform(size=200), generator.uniform(size=200)) for _ in range(300)]
    assert np.mean(np.array(values) > stats.chi2.isf(0.05 / 3, 3)) < 0.08, (
        "at most the Bonferroni level, and some error"
    )
    x_N = np.linspace(0, 1, 200)
    assert quantile_statistic(0.5 + 0.4 * (x_N - 0.5), x_N) > 50


def test_each_score_and_each_draw_stands_among_the_same_number_of_rivals():
    generator = np.random.default_rng(1)
    score_N, drawn_ZN = generator.normal(size=3), generator.normal(size=(7, 3))
    residual_N, residual_ZN = scaled_residuals(score_N, drawn_ZN)
    np.testing.assert_allclose(residual_N, ((drawn_ZN < score_N).sum(axis=0) + 0.5) / 8)
    for z in range(7):
        rivals_ZN = np.vstack([np.delete(drawn_ZN, z, axis=0), score_N])
        np.testing.assert_allclose(residual_ZN[z], ((rivals_ZN < drawn_ZN[z]).sum(axis=0) + 0.5) / 8)


def test_bands_statistics_and_p_values_are_those_of_the_simulated_studies(fit):
    made = residual_checks(fit, draws=120, seed=3)
    generator, design = np.random.default_rng(3), fit.design
    drawn_ZN = np.stack([simulate_scores(fit, design, generator, None) for _ in range(120)])
    residual_N, residual_ZN = scaled_residuals(design.score_N, drawn_ZN)
    np.testing.assert_array_equal(made.residual_N, residual_N)
    np.testing.assert_allclose(made.expected_N, (np.arange(fit.n) + 0.5) / fit.n)
    np.testing.assert_allclose(made.fitted_N, expit(linear_predictor(fit, design)))
    mean_N = drawn_ZN.mean(axis=0)
    spread_Z = np.mean((np.vstack([design.score_N, drawn_ZN]) - mean_N) ** 2, axis=1)
    dispersion = made.checks.set_index("check").loc["dispersion", "statistic"]
    assert dispersion == pytest.approx(spread_Z[0] / spread_Z[1:].mean())
    np.testing.assert_allclose(made.band_N2.T, np.quantile(np.sort(residual_ZN), [0.025, 0.975], axis=0))

    def by_benchmark(residual_N):
        """The largest z squared of a benchmark's mean, of uniform residuals."""
        groups = pd.Series(residual_N).groupby(design.benchmark_N)
        return ((groups.mean() - 0.5) ** 2 / (1 / 12 / groups.size())).max()

    def outside(residual_N):
        return np.mean((residual_N < 1 / 121) | (residual_N > 120 / 121))

    checks = made.checks.set_index("check")
    for name, statistic, is_two_sided in (("mean by benchmark", by_benchmark, False), ("outliers", outside, True)):
        value, under_Z = statistic(residual_N), np.array([statistic(one_N) for one_N in residual_ZN])
        upper, lower = (1 + (under_Z >= value).sum()) / 121, (1 + (under_Z <= value).sum()) / 121
        assert checks.loc[name, "statistic"] == pytest.approx(value)
        assert checks.loc[name, "p"] == pytest.approx(min(1, 2 * min(upper, lower)) if is_two_sided else upper)


def test_what_a_report_gets(fit):
    made = residual_checks(fit, draws=100, seed=3)
    again = residual_checks(fit, draws=100, seed=3)
    assert made.checks.equals(again.checks)
    assert (made.residual_N == again.residual_N).all()
    assert not (made.residual_N == residual_checks(fit, draws=100, seed=4).residual_N).all()
    assert len(made.expected_N) == len(made.sorted_N) == len(made.fitted_N) == fit.n
    assert (np.diff(made.sorted_N) >= 0).all()
    assert ((made.residual_N > 0) & (made.residual_N < 1)).all()
    assert (made.band_N2[:, 0] <= made.band_N2[:, 1]).all()
    with pytest.raises(UserError, match="at least 100 are needed"):
        residual_checks(fit, draws=10)
