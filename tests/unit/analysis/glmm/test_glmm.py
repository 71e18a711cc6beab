"""The beta mixed model against glmmTMB's stored fits, and what it says where data cannot hold it."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from scipy.special import expit

from analysis.glmm.bootstrap import bootstrap_optimum, refits, simulate_scores
from analysis.glmm.design import make_design, powers, squeeze
from analysis.glmm.fit import FIXED_EFFECTS, fit_design, fit_glmm, glmm_json
from analysis.glmm.glmmtmb import GLMM_SCRIPT, fit_designs_r, fit_glmm_r
from analysis.glmm.inference import best_w, optimum_plw
from analysis.glmm.likelihood import DIAGONAL, FULL, NONE, BetaRows, Laplace
from analysis.r_bridge import r_has
from plw.errors import UserError

STORED_FITS = Path(__file__).parents[3] / "assets" / "reference" / "glmm"
SETS = ("s0_strong_orth", "s1_strong", "s2_null", "s3_singular", "s7_null_nore")
KINDS = {"raw": "raw", "orthogonal": "orth"}
CASES = [(name, kind) for name in SETS for kind in KINDS]
WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
needs_r = pytest.mark.skipif(not r_has("glmmTMB"), reason="R with glmmTMB and jsonlite is not installed")


@cache
def _design(name: str, kind: str):
    table = pd.read_csv(STORED_FITS / f"{name}.csv")
    return make_design(table["score"], table["plw"], table["b"], table["m"], polynomial=kind)


@cache
def _stored(name: str):
    return json.loads((STORED_FITS / f"{name}.json").read_text())


@cache
def _fit(name: str, kind: str):
    return fit_design(_design(name, kind))


def _study(seed=0, benchmarks=6, models=2, weights=WEIGHTS, curve=(3.0, -2.5), sd=0.5, phi=40.0):
    generator = np.random.default_rng(seed)
    plw, b, m = (axis.ravel() for axis in np.meshgrid(weights, np.arange(benchmarks), np.arange(models)))
    w = plw**0.30103
    slope = np.asarray(curve) + sd * generator.standard_normal((benchmarks, 2))
    mean = expit(-0.7 + 0.2 * m + slope[b, 0] * w + slope[b, 1] * w**2)
    return generator.beta(mean * phi, (1 - mean) * phi), plw, b, m


def _log_likelihood_at(design, fixed_3, log_dispersion, theta_4):
    """The marginal log-likelihood at glmmTMB's parameters: in ``theta_4`` the logarithms of the slopes' standard
    deviations, the parameter t of their correlation t / sqrt(1 + t^2), and the logarithm of the models' deviation."""
    columns_NC = design.columns_NC
    likelihood = Laplace(
        design.score_N, columns_NC, columns_NC[:, 1:], design.benchmark_N, (design.model_N,), slopes=FULL
    )
    one, two, model = np.exp(theta_4[[0, 1, 3]])
    length = np.hypot(1.0, theta_4[2])
    loading = [one, two * theta_4[2] / length, two / length, model]
    return -likelihood(np.concatenate([fixed_3, [log_dispersion], loading]))[0]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_likelihood_at_glmmtmbs_points(name, kind):
    compared = 0
    for probe in _stored(name)[f"nll_probes_{KINDS[kind]}"]:
        if probe["nll"] == "Inf":  # glmmTMB's parameters ran off to where its own arithmetic overflows
            continue
        par = np.array(probe["par"])
        ours = _log_likelihood_at(_design(name, kind), par[:3], par[3], par[4:])
        assert ours == pytest.approx(-probe["nll"], abs=1e-7)
        compared += 1
    assert compared == 3 or (name, kind) == ("s3_singular", "raw")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_maximum_is_glmmtmbs_or_better(name, kind):
    fit, stored = _fit(name, kind), _stored(name)[KINDS[kind]]
    reference = -stored["nll_at_par"]
    assert fit.converged
    assert fit.log_likelihood >= reference - 1e-3
    theta = np.array(stored["par"][4:])
    regular = stored["pdHess"] and stored["convergence"] == 0 and np.abs(theta).max() < 20
    if not regular:
        assert any(message.startswith("singular: ") for message in fit.messages)
        return
    assert fit.messages == () or not any("singular" in message for message in fit.messages)
    assert fit.log_likelihood == pytest.approx(reference, abs=1e-6)
    for key, row in zip(FIXED_EFFECTS, stored["coef"], strict=True):
        assert fit.fixed[key] == pytest.approx(row["est"], rel=1e-4, abs=1e-5)
        assert fit.fixed_se[key] == pytest.approx(row["se"], rel=1e-4, abs=1e-5)
    assert fit.dispersion == pytest.approx(stored["sigma"], rel=1e-4)
    assert fit.random["benchmark"] == pytest.approx(np.array(stored["VarCorr"]["b"]["cov"]), rel=1e-3, abs=1e-4)
    assert fit.random["model"] == pytest.approx(stored["VarCorr"]["m"]["cov"][0][0], rel=1e-3)
    assert fit.wald.chisq == pytest.approx(stored["anova_wald_II"]["chisq"], rel=1e-4)
    assert fit.lrt.chisq == pytest.approx(stored["lrt"]["chisq"], rel=1e-4)


@pytest.mark.parametrize("slopes", [FULL, DIAGONAL, NONE])
def test_the_gradient_is_that_of_the_value(slopes):
    score, plw, b, m = _study()
    design = make_design(score, plw, b, m, polynomial="orthogonal")
    likelihood = Laplace(
        design.score_N, design.columns_NC, design.columns_NC[:, 1:], design.benchmark_N, (design.model_N,), slopes
    )
    generator = np.random.default_rng(1)
    for _ in range(3):
        psi = generator.normal(0, 0.7, likelihood.parameters)
        psi[3] += 3
        numeric = optimize.approx_fprime(psi, lambda at: likelihood(at)[0], 1e-6)
        assert likelihood(psi)[1] == pytest.approx(numeric, rel=1e-3, abs=2e-3)


@settings(max_examples=25)
@given(st.floats(-4, 4), st.floats(-1, 6), st.floats(0.01, 0.99))
def test_the_densitys_derivatives(eta, log_phi, score):
    rows, at = BetaRows(np.array([score])), np.array([eta])
    phi, step = np.exp(log_phi), 1e-4
    made = rows.all(at, phi)
    assert made.value_N[0] == pytest.approx(
        stats.beta.logpdf(score, expit(eta) * phi, (1 - expit(eta)) * phi), abs=1e-8
    )
    scale = 1 + phi
    up, down = rows.all(at + step, phi), rows.all(at - step, phi)
    for name, above in (("value_N", "d1_N"), ("d1_N", "d2_N"), ("d2_N", "d3_N")):
        slope = (getattr(up, name) - getattr(down, name)) / (2 * step)
        assert getattr(made, above) == pytest.approx(slope, abs=1e-5 * scale)
    up, down = rows.all(at, phi * np.exp(step)), rows.all(at, phi * np.exp(-step))
    for name, above in (("value_N", "phi_N"), ("d1_N", "d1_phi_N"), ("d2_N", "d2_phi_N")):
        slope = (getattr(up, name) - getattr(down, name)) / (2 * step)
        assert getattr(made, above) == pytest.approx(slope, abs=1e-5 * scale)


def test_laplace_is_close_to_the_integral_it_approximates():
    """One random intercept can be integrated numerically; with 40 rows behind it the two agree to a thousandth."""
    generator = np.random.default_rng(4)
    score, group = generator.beta(8, 12, size=40), np.zeros(40, dtype=int)
    ones, zeros = np.ones((40, 1)), np.zeros((40, 2))
    value, _ = Laplace(score, ones, zeros, group, (group,), NONE)(np.array([-0.3, np.log(20.0), 0.4]))

    def joint(u):
        mean = expit(-0.3 + 0.4 * u)
        return np.exp(stats.beta.logpdf(score, mean * 20, (1 - mean) * 20).sum() + stats.norm.logpdf(u) - 20)

    assert -value == pytest.approx(np.log(integrate.quad(joint, -6, 6)[0]) + 20, abs=1e-3)


def test_orthogonal_columns_are_rs():
    w = np.repeat(np.array(WEIGHTS) ** 0.30103, 3)
    columns = make_design(*_study(benchmarks=3, models=1)[:2], *_study(benchmarks=3, models=1)[2:],
                          polynomial="orthogonal").columns_NC  # fmt: skip
    assert columns[:, 1:].T @ columns == pytest.approx(np.array([[0, 1, 0], [0, 0, 1]]), abs=1e-12)
    assert len(w) == len(columns)


def test_rs_own_numbers_of_poly():
    """``attr(poly(w, 2), "coefs")`` as stored: norm2 of the columns before they are scaled."""
    stored = _stored("s1_strong")["poly_coefs"]
    basis = _design("s1_strong", "orthogonal").basis_CC
    assert [basis[1, 1] ** -2, basis[2, 2] ** -2] == pytest.approx(stored["norm2"][2:], rel=1e-9)
    assert -basis[0, 1] / basis[1, 1] == pytest.approx(stored["alpha"][0], rel=1e-9)
    assert -basis[1, 2] / basis[2, 2] == pytest.approx(sum(stored["alpha"]), rel=1e-9)


def test_the_papers_coefficients_of_short_give_its_optimum():
    assert optimum_plw(5.590, -4.284) == pytest.approx(0.242, abs=5e-4)


def test_there_is_no_optimum_of_a_curve_that_opens_upwards_or_peaks_outside():
    for w, w2 in ((1.0, 0.5), (1.0, 0.0), (3.0, -1.0), (-1.0, -1.0), (None, None)):
        assert optimum_plw(w, w2) is None


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_the_best_weight_is_the_highest_of_a_grid(w, w2):
    grid = np.linspace(0, 1, 501)
    best = best_w(w, w2)
    assert 0 <= best <= 1
    assert w * best + w2 * best**2 >= (w * grid + w2 * grid**2).max() - 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_squeeze_stays_inside_and_keeps_the_order(values):
    squeezed = squeeze(np.array(values))
    assert ((squeezed > 0) & (squeezed < 1)).all()
    assert squeeze(np.array([0.0, 1.0])).tolist() == [0.25, 0.75]
    order = np.argsort(values, kind="stable")
    assert (np.diff(squeezed[order]) >= 0).all()


def test_only_a_set_with_0_or_1_is_squeezed():
    score, plw, b, m = _study()
    assert make_design(score, plw, b, m).score_N.tolist() == score.tolist()
    score[5] = 0.0
    assert make_design(score, plw, b, m).score_N == pytest.approx(squeeze(score))


def test_the_optimum_and_its_interval_do_not_depend_on_the_order_of_rows_or_names():
    score, plw, b, m = _study()
    order = np.random.default_rng(0).permutation(len(score))
    one = fit_glmm(score, plw, b, m)
    two = fit_glmm(
        score[order], plw[order], [f"bench {9 - code}" for code in b[order]], [f"<{code}>" for code in m[order]]
    )
    assert two.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-6)
    assert two.optimum.high == pytest.approx(one.optimum.high, rel=1e-4)
    assert 0 < one.optimum.low < one.optimum.plw < one.optimum.high < 1
    assert one.wald_f.p > one.wald.p


def test_a_curve_without_a_top_inside_says_so():
    fit = fit_glmm(*_study(curve=(1.0, 1.5), sd=0.3))
    assert (fit.optimum.plw, fit.optimum.low, fit.optimum.high) == (None, None, None)
    assert any("no optimum inside: the curve has no maximum" in message for message in fit.messages)


def test_few_levels_are_said():
    score, plw, b, _ = _study(models=1)
    fit = fit_glmm(score, plw, b, ["wide"] * len(score), seed_N=[42] * len(score))
    assert fit.random["model"] is None
    assert fit.random["seed"] is None
    assert any("one base model only (wide)" in message for message in fit.messages)
    assert any("one seed only (42)" in message for message in fit.messages)


def test_seeds_are_a_random_intercept():
    score, plw, b, m = (np.tile(column, 4) for column in _study(benchmarks=4, models=1))
    seed = np.repeat(np.arange(4), len(score) // 4)
    logit = np.log(score / (1 - score)) + np.array([-0.6, -0.2, 0.2, 0.6])[seed]
    fit = fit_glmm(expit(logit), plw, b, m, seed_N=seed)
    assert fit.random["seed"] == pytest.approx(np.var([-0.6, -0.2, 0.2, 0.6]), rel=0.3)


@pytest.mark.parametrize("spread", [0.3, 1e-2, 1e-3])
def test_the_fit_does_not_depend_on_how_far_scores_spread(spread):
    """Scores that all lie within a thousandth converge as well as those that fill 0 to 1."""
    generator = np.random.default_rng(7)
    _, plw, b, m = _study()
    w = plw**0.30103
    score = np.clip(0.5 + spread * (w - w**2 + 0.4 * generator.standard_normal(len(w))), 1e-3, 1 - 1e-3)
    fit = fit_glmm(score, plw, b, m)
    assert fit.converged
    assert fit.optimum.plw == pytest.approx(0.1, rel=0.02)


def test_scores_that_lie_on_a_curve_have_no_dispersion_to_estimate():
    _, plw, b, m = _study()
    w = plw**0.30103
    fit = fit_glmm(expit(-1 + 2 * w - w**2), plw, b, m)
    assert not fit.converged
    assert fit.wald.p is None
    assert any("not converged" in message for message in fit.messages)
    with pytest.raises(UserError, match="no model to draw from"):
        bootstrap_optimum(fit, 3)


def test_json_has_the_named_keys_and_no_nan():
    made = glmm_json(fit_glmm(*_study()))
    json.dumps(made, allow_nan=False)
    assert set(made) >= {"fixed", "fixed_se", "random", "dispersion", "log_likelihood", "wald", "lrt", "optimum",
                         "converged", "messages"}  # fmt: skip
    assert set(made["optimum"]) == {"plw", "low", "high"}
    assert np.shape(made["random"]["benchmark"]) == (2, 2)


def test_the_bootstrap_draws_from_the_fit():
    fit = fit_glmm(*_study(seed=3, benchmarks=5))
    told = []
    made = bootstrap_optimum(fit, 6, seed=5, progress=lambda done, total, note="": told.append((done, total)))
    assert made == bootstrap_optimum(fit, 6, seed=5)
    assert told == [(index + 1, 6) for index in range(6)]
    assert 0 <= made.low <= made.high <= 1
    slopes = [again.fixed["w"] for again in refits(fit, 25, seed=1)]
    assert np.mean(slopes) == pytest.approx(fit.fixed["w"], abs=4 * fit.fixed_se["w"] / 5)
    assert 0.6 < np.std(slopes) / fit.fixed_se["w"] < 1.5


def test_simulated_scores_have_the_models_mean_and_spread():
    fit = fit_glmm(*_study())
    none = np.zeros(fit.n)
    drawn = np.stack([simulate_scores(fit, fit.design, np.random.default_rng(i), none) for i in range(2000)])
    mean = expit(powers(fit.design.w_N) @ fit.raw_fixed)
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.01)
    assert drawn.var(axis=0) == pytest.approx(mean * (1 - mean) / (1 + fit.dispersion), rel=0.25)


def _broken(**changes):
    score, plw, b, m = _study(benchmarks=3)
    columns = {"score": score, "plw": plw, "benchmark": list(b), "model": list(m)} | changes
    return columns["score"], columns["plw"], columns["benchmark"], columns["model"]


N = 60


@pytest.mark.parametrize(("changes", "message"), [
    ({"benchmark": ["arc"] * N}, r"one benchmark only \(arc\)"),
    ({"plw": np.full(N, 0.1)}, r"one weight only \(PLW 0\.1\)"),
    ({"plw": np.arange(N) % 2 / 2}, r"only 2 weights \(PLW 0, 0\.5\); a parabola needs three"),
    ({"score": np.full(N, 0.4)}, "every score is 0.4"),
    ({"score": np.full(N, 1.4)}, "row 1: score is 1.4; allowed is 0 to 1"),
    ({"score": np.full(N, np.nan)}, "row 1: score is nan; allowed is 0 to 1"),
    ({"plw": np.full(N, -0.1)}, "row 1: PLW is -0.1"),
    ({"model": ["m"]}, "the columns have 1 and 60 rows"),
])  # fmt: skip
def test_rows_that_cannot_hold_the_model(changes, message):
    with pytest.raises(UserError, match=message):
        fit_glmm(*_broken(**changes))


def test_other_refusals():
    with pytest.raises(UserError, match="polynomial is 'cubic'; allowed are raw and orthogonal"):
        fit_glmm(*_broken(), polynomial="cubic")
    with pytest.raises(UserError, match="there is no row"):
        fit_glmm([], [], [], [])
    few = [column[:6] for column in _study(weights=(0.0, 0.1, 1.0), benchmarks=2, models=1)]
    with pytest.raises(UserError, match="6 rows are too few"):
        fit_glmm(*few)


@pytest.mark.r
@needs_r
def test_both_engines_agree():
    """Where glmmTMB converges; its fallback, and ours, are named."""
    for kind, names in (("raw", ("s1_strong", "s2_null", "s3_singular")), ("orthogonal", ("s0_strong_orth",))):
        designs = {name: _design(name, kind) for name in names}
        for name, by_r in fit_designs_r(designs).items():
            ours = _fit(name, kind)
            one, two = glmm_json(ours), glmm_json(by_r)
            assert set(one) == set(two)
            if name == "s3_singular":
                assert by_r.log_likelihood <= ours.log_likelihood + 1e-6
                assert "singular" in by_r.messages[0]
                assert by_r.messages[0].endswith(by_r.random_part)
                continue
            for key in ("fixed", "fixed_se", "wald", "lrt", "wald_f"):
                assert one[key] == pytest.approx(two[key], rel=1e-3, abs=1e-6)
            assert one["random"]["model"] == pytest.approx(two["random"]["model"], rel=1e-3)
            if one["optimum"]["plw"] is None:
                assert two["optimum"] == one["optimum"]
            else:
                assert one["optimum"] == pytest.approx(two["optimum"], rel=1e-3, abs=1e-6)
            assert two["log_likelihood"] == pytest.approx(one["log_likelihood"], abs=1e-3)


@pytest.mark.r
@needs_r
def test_r_fits_seeds_and_one_model_too():
    score, plw, b, m = (np.tile(column, 3) for column in _study(benchmarks=4, models=1, weights=(0.0, 0.01, 0.1, 1.0)))
    seed = np.repeat(np.arange(3), len(score) // 3)
    shifted = expit(np.log(score / (1 - score)) + np.array([-0.5, 0.0, 0.5])[seed])
    ours, by_r = (engine(shifted, plw, b, m, seed_N=seed) for engine in (fit_glmm, fit_glmm_r))
    assert by_r.random["model"] is None
    assert by_r.log_likelihood <= ours.log_likelihood + 1e-6
    if by_r.random_part == ours.random_part:
        assert by_r.random["seed"] == pytest.approx(ours.random["seed"], rel=0.01)


def test_r_failing_is_said(monkeypatch, tmp_path):
    if not r_has("glmmTMB"):
        pytest.skip("R is not installed")
    broken = tmp_path / "glmm.R"
    broken.write_text("stop('no such model')")
    monkeypatch.setattr("analysis.glmm.glmmtmb.GLMM_SCRIPT", broken)
    assert broken != GLMM_SCRIPT
    assert fit_designs_r({"a": make_design(*_study())})["a"].startswith("R failed: ")
