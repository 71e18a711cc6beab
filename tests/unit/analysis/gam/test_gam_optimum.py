"""The best weight by ratio: found where it is known to be, with an interval of draws, a star where nothing changes."""

import numpy as np
import pytest

from analysis.gam.fit import fit_gam
from analysis.gam.optimum import optima, weights

WEIGHTS, RATIOS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0), (0.05, 0.1, 1.0, 3.0, 8.0)


def fitted(rule, noise=0.02, seed=0, method="reml"):
    w, r, b = (axis.ravel() for axis in np.meshgrid(WEIGHTS, RATIOS, np.arange(4)))
    score = rule(w, r) + 0.1 * b + np.random.default_rng(seed).normal(0, noise, len(w))
    return fit_gam(score, w, r, b, method=method)


@pytest.mark.parametrize(("slope", "best"), [(-1.0, 0.0), (1.0, 1.0)])
def test_a_surface_that_only_falls_or_rises_is_best_at_its_end(slope, best):
    for found in optima(fitted(lambda w, r: slope * w), [0.1, 2.0]):
        assert (found.plw, found.low, found.high) == (best, best, best)
        assert not found.starred
        assert not found.undetermined


def test_the_optimum_is_the_highest_of_the_predicted_scores():
    fit = fitted(lambda w, r: w - w**2 - 0.1 * w * np.log(r))
    for found in optima(fit, [0.1, 1.0, 5.0]):
        at = np.linspace(0, 1, 2001)
        mean, _ = fit.predict(at, np.full(len(at), found.ratio), ["0"] * len(at))
        assert found.plw == pytest.approx(at[np.argmax(mean)], abs=0.005)
        assert found.predicted_range * fit.score_range == pytest.approx(np.ptp(mean), rel=1e-3)
        assert found.low <= found.plw <= found.high


def test_more_noise_widens_the_interval():
    def width(noise):
        best = optima(fitted(lambda w, r: w - w**2, noise=noise), [1.0])[0]
        return best.high - best.low

    assert width(0.002) < width(0.02) < width(0.2)


def test_where_the_weight_does_nothing_there_is_a_star_and_no_telling():
    found = optima(fitted(lambda w, r: 0.2 * r + 0 * w, noise=0.05), [0.1, 1.0, 7.0])
    assert all(best.starred for best in found)
    assert any(best.undetermined for best in found)


def test_benchmarks_with_curves_of_their_own_widen_the_interval():
    w, r, b = (axis.ravel() for axis in np.meshgrid(WEIGHTS, RATIOS, np.arange(6)))
    generator = np.random.default_rng(5)
    score = w - w**2 + generator.normal(0, 0.3, 6)[b] * w + generator.normal(0, 0.01, len(w))
    best = optima(fit_gam(score, w, r, b, method="reml"), [1.0])[0]
    assert best.over == "benchmarks"
    assert best.high - best.low > 2 * (best.score_high - best.score_low)


def test_with_two_benchmarks_the_interval_is_over_scores():
    w, r, b = (axis.ravel() for axis in np.meshgrid(WEIGHTS, RATIOS, np.arange(2)))
    score = w - w**2 + np.random.default_rng(5).normal(0, 0.05, len(w))
    best = optima(fit_gam(score, w, r, b), [1.0])[0]
    assert (best.over, best.low, best.high) == ("scores", best.score_low, best.score_high)


def test_draws_are_seeded():
    fit = fitted(lambda w, r: w - w**2)
    assert optima(fit, [1.0], seed=3) == optima(fit, [1.0], seed=3)
    # A ratio's interval does not depend on which others are asked for.
    assert optima(fit, [0.1, 1.0])[1] == optima(fit, [1.0])[0]


def test_weights_are_even_in_w_p_and_hold_both_ends():
    weight_M = weights(fitted(lambda w, r: w))
    assert weight_M[[0, -1]].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(np.diff(weight_M**0.30103), 1 / 500, atol=1e-9)
