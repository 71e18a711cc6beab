"""The ratio model against mgcv's stored fits, against R where it is there, and against what must hold for any data."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.gam.criteria import CRITERIA, METHODS
from analysis.gam.fit import fit_gam
from analysis.gam.mgcv import fit_gam_r
from analysis.gam.search import BOUNDS, SMOOTHING_STARTS
from analysis.r_bridge import r_has
from plw.errors import UserError

WEIGHTS, RATIOS = (
    (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0),
    (0.042, 0.082, 1.0, 3.27, 7.83),
)
STORED_FITS = Path(__file__).parents[3] / "assets" / "reference" / "gam"
STORED = {"gcv": "GCV.Cp", "reml": "REML", "ml": "ML"}
needs_r = pytest.mark.skipif(not r_has("mgcv"), reason="R with mgcv and jsonlite is not installed")


def simulated(seed, *, ratios=RATIOS, benchmarks=4, noise=0.05, amplitude=1.0, keep=1.0):
    generator = np.random.default_rng(seed)
    w, r, b = (axis.ravel() for axis in np.meshgrid(WEIGHTS, ratios, np.arange(benchmarks)))
    bump = 0.35 * w**0.3 - 0.3 * w**0.6 + 0.04 * np.log(r) * w**0.3
    score = 0.5 + 0.1 * b + amplitude * bump + generator.normal(0, noise, len(w))
    kept = generator.uniform(size=len(w)) < keep
    return score[kept], w[kept], r[kept], [f"b{code}" for code in b[kept]]


@pytest.mark.parametrize("name", ["g1_strong", "g2_null"])
@pytest.mark.parametrize("method", METHODS)
def test_the_fit_is_that_of_mgcv(name, method):
    data, stored = pd.read_csv(STORED_FITS / f"{name}.csv"), json.loads((STORED_FITS / f"{name}.json").read_text())
    reference, grid = stored[STORED[method]], pd.DataFrame(stored["grid"])
    fit = fit_gam(data["score"], data["w"], data["r"], data["b"], method=method)
    mean_M, error_M = fit.predict(grid["w"], grid["r"], list(grid["b"]))
    tight = method == "gcv" or name == "g1_strong"
    # On data without any effect mgcv stops on the plateau of the likelihoods, a little before us.
    score_range = np.ptp(data["score"])
    np.testing.assert_allclose(mean_M, reference["pred"], rtol=0, atol=(1e-7 if tight else 1e-5) * score_range)
    np.testing.assert_allclose(error_M, reference["pred_se"], rtol=1e-6 if tight else 1e-3)
    assert fit.edf_total == pytest.approx(reference["edf_total"], rel=1e-6 if tight else 5e-4)
    np.testing.assert_allclose(fit.edf_P, reference["edf"], atol=1e-5 if tight else 2e-3)
    assert fit.scale == pytest.approx(reference["scale"], rel=1e-5)
    assert fit.log_likelihood == pytest.approx(reference["logLik"], abs=2e-3)
    assert fit.score <= reference["gcv_ubre"] + 1e-9
    assert fit.score == pytest.approx(reference["gcv_ubre"], abs=1e-3)
    np.testing.assert_allclose(fit.coefficient_P, list(reference["coef"].values()), atol=1e-6 if tight else 1e-3)
    if tight:
        np.testing.assert_allclose(fit.smoothing_2, reference["sp"], rtol=1e-4)
        np.testing.assert_allclose(fit.covariance_PP, reference["Vp"], rtol=1e-4, atol=1e-9)


def test_the_basis_is_that_of_mgcv():
    folder = STORED_FITS
    data, stored = pd.read_csv(folder / "g1_strong.csv"), json.loads((folder / "g1_strong.json").read_text())["REML"]
    fit, grid = fit_gam(data["score"], data["w"], data["r"], data["b"]), stored["X_grid"]
    at = pd.DataFrame(json.loads((folder / "g1_strong.json").read_text())["grid"])
    np.testing.assert_allclose(fit.surface(at["w"].to_numpy(), at["r"].to_numpy()), np.array(grid)[:, 13:], atol=1e-9)
    np.testing.assert_allclose(fit.tensor.scale_2, stored["S_scale"], rtol=1e-9)
    back = np.linalg.inv(fit.tensor.to_mgcv)
    for ours_C, theirs_CC in zip(fit.tensor.penalty_2C, stored["S_te"], strict=True):
        np.testing.assert_allclose(back.T @ np.diag(ours_C) @ back, theirs_CC, rtol=1e-7, atol=1e-6)


@pytest.mark.r
@needs_r
@pytest.mark.parametrize(
    ("method", "shape"),
    [
        ("gcv", {"keep": 0.6, "noise": 0.3}),
        ("reml", {"keep": 0.6, "noise": 0.3}),
        ("gcv", {"ratios": (0.1, 0.5, 4.0), "benchmarks": 1}),
        ("ml", {"amplitude": 3.0}),
    ],
)
def test_both_engines_give_the_same_numbers(method, shape):
    data = simulated(7, **shape)
    # Beyond the data too, where the surface goes on straight.
    grid = ([0.0, 0.003, 0.3, 1.0, 0.7], [0.1, 4.0, 9.0, 0.01, 1.0], ["b0"] * 5)
    ours, theirs = fit_gam(*data, method=method), fit_gam_r(*data, grid, method=method)
    mean_M, error_M = ours.predict(*grid)
    np.testing.assert_allclose(mean_M, theirs["predictions"], rtol=0, atol=1e-4 * np.ptp(data[0]))
    np.testing.assert_allclose(error_M, theirs["predictions_se"], rtol=0.02)
    assert ours.edf_total == pytest.approx(theirs["edf_total"], rel=5e-3)
    assert ours.edf_surface == pytest.approx(theirs["edf_surface"], rel=5e-3)
    assert ours.score <= theirs["score"] + 1e-6
    assert ours.score == pytest.approx(theirs["score"], abs=1e-3)
    assert ours.log_likelihood == pytest.approx(theirs["log_likelihood"], abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_the_criterion(method):
    curve, criterion = _curve(simulated(1)), CRITERIA[method]
    for rho_2 in ([-4.0, -6.0], [0.0, 3.0], [8.0, -2.0]):
        _, gradient_2 = criterion(curve, np.array(rho_2))
        numeric_2 = [
            (criterion(curve, rho_2 + 1e-4 * axis)[0] - criterion(curve, rho_2 - 1e-4 * axis)[0]) / 2e-4
            for axis in np.eye(2)
        ]
        np.testing.assert_allclose(gradient_2, numeric_2, rtol=1e-4, atol=1e-7 * abs(criterion(curve, rho_2)[0]))


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("amplitude", [0.0, 1.0])
def test_no_grid_point_beats_the_smoothing_parameters(method, amplitude):
    data = simulated(2, amplitude=amplitude)
    fit = fit_gam(*data, method=method)
    curve = _curve(data)
    best = min(CRITERIA[method](curve, np.array([a, b]))[0] for a in SMOOTHING_STARTS for b in SMOOTHING_STARTS)
    assert fit.converged
    assert fit.score <= best + 1e-9
    assert (fit.smoothing_2 >= np.exp(BOUNDS[0])).all()


def test_gcv_goes_on_to_its_minimum_when_asked():
    data = simulated(3)
    as_mgcv, lowest = fit_gam(*data), fit_gam(*data, gcv_tolerance=1e-14)
    assert lowest.score <= as_mgcv.score
    curve = _curve(data)
    assert np.abs(CRITERIA["gcv"](curve, np.log(lowest.smoothing_2))[1]).max() < 1e-6 * lowest.score


@settings(max_examples=15)
@given(st.floats(-3, 3), st.floats(0.1, 50), st.integers(0, 1000))
def test_the_unit_and_origin_of_scores_change_nothing_but_themselves(origin, factor, seed):
    score, *rest = simulated(seed)
    fit, moved = fit_gam(score, *rest, method="reml"), fit_gam(score * factor + origin, *rest, method="reml")
    assert moved.edf_total == pytest.approx(fit.edf_total, rel=1e-4)
    at = ([0.0, 0.2, 1.0], [0.05, 1.0, 7.0], ["b0", "b1", "b3"])
    np.testing.assert_allclose(moved.predict(*at)[0], fit.predict(*at)[0] * factor + origin, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moved.predict(*at)[1], fit.predict(*at)[1] * factor, rtol=1e-3)


def test_a_twisted_plane_is_found_whole_and_told():
    w, r, b = (axis.ravel() for axis in np.meshgrid(WEIGHTS, RATIOS, [0, 1]))
    noise = np.random.default_rng(0).normal(0, 1e-3, len(w))
    fit = fit_gam(0.1 + 0.2 * w - 0.03 * r + 0.05 * w * r + b + noise, w, r, b, method="reml")
    mean_M, _ = fit.predict([0.5, 0.9], [2.0, 6.0], ["0", "1"])
    np.testing.assert_allclose(mean_M, [0.1 + 0.1 - 0.06 + 0.05, 0.1 + 0.18 - 0.18 + 0.27 + 1], atol=2e-3)
    assert fit.edf_surface < 4.5


def test_scores_on_the_surface_leave_errors_of_0_which_are_said_to_be_no_certainty():
    weight, ratio = (axis.ravel() for axis in np.meshgrid([0.0, 0.1, 0.5, 1.0], [0.1, 1.0, 3.0]))
    exact = 0.5 + 0.1 * weight
    assert "no certainty" in " ".join(fit_gam(exact, weight, ratio, ["b"] * 12).messages)
    noisy = exact + np.random.default_rng(0).normal(0, 1e-4, 12)
    assert "no certainty" not in " ".join(fit_gam(noisy, weight, ratio, ["b"] * 12).messages)


def test_the_average_is_the_mean_over_benchmarks():
    fit = fit_gam(*simulated(5))
    each = [fit.predict([0.2, 0.7], [1.0, 3.0], [name] * 2)[0] for name in fit.benchmarks]
    np.testing.assert_allclose(
        fit.predict_average(np.array([0.2, 0.7]), np.array([1.0, 3.0]))[0], np.mean(each, axis=0)
    )


def test_one_benchmark_has_no_factor_and_says_so():
    score, w, r, _ = simulated(6, benchmarks=1)
    fit = fit_gam(score, w, r, ["only"] * len(score))
    assert len(fit.coefficient_P) == 9
    assert any("one benchmark only" in line for line in fit.messages)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"w": [0.1]}, "needs 3 different values of the prompt weight or more; found 0.1"),
        ({"r": [1.0, 2.0]}, "needs 3 different values of the ratio or more; found 1, 2"),
        ({"score": [0.5]}, "scores are 0.5; there is nothing to fit"),
        ({"score": [np.nan, 0.5]}, "row 1: the score is not a finite number"),
        ({"rows": 10}, "11 coefficients; 10 scores are too few"),
        ({"confounded": True}, "do not determine the ratio model"),
        ({"method": "aic"}, "method=aic is not known; allowed: gcv, reml, ml"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(change, words):
    score, w, r, b = simulated(8)
    n = len(score)
    score, w, r = (np.resize(change.get(name, old), n) for name, old in (("score", score), ("w", w), ("r", r)))
    b = [f"b{value:g}" for value in r] if "confounded" in change else b
    keep = np.arange(n) < change.get("rows", n)
    if "rows" in change:
        keep = np.isin(np.arange(n), np.linspace(0, n - 1, change["rows"]).astype(int))
    with pytest.raises(UserError, match=words):
        fit_gam(score[keep], w[keep], r[keep], np.array(b)[keep], method=change.get("method", "gcv"))


def test_predicting_an_unknown_benchmark_is_one_line():
    with pytest.raises(UserError, match="row 2: benchmark 'new' is not in the data; known: b0, b1, b2, b3"):
        fit_gam(*simulated(9)).predict([0.1, 0.2], [1.0, 1.0], ["b0", "new"])


def test_without_r_its_engine_says_what_it_needs(monkeypatch):
    import analysis.gam.mgcv as module

    monkeypatch.setattr("analysis.r_bridge.r_has", lambda package: False)
    with pytest.raises(UserError, match="engine r needs Rscript with the packages mgcv and jsonlite"):
        module.fit_gam_r(*simulated(9), ([0.1], [1.0], ["b0"]))


def _curve(data):
    """What the criteria see of data, caught on its way."""
    import analysis.gam.fit as module

    caught = []
    with pytest.MonkeyPatch.context() as patch:
        search = module.minimise
        patch.setattr(module, "minimise", lambda curve, *rest: caught.append(curve) or search(curve, *rest))
        fit_gam(*data)
    return caught[0]
