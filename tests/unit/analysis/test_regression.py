"""The regression: squeeze and optimum by hand, the ordinary fit against exact curves, R against its stored answers."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis.regression as module
from analysis.regression import GLMM, ORDINARY, fit_glmm, fit_ordinary, optimum, r_available, regressions, squeeze

needs_r = pytest.mark.skipif(not r_available(), reason="R with glmmTMB and jsonlite is not installed")


def _rows(curve, weights=(0.0, 5e-4, 0.01, 0.1, 0.5, 1.0), dataset="short"):
    w_p = np.array([weight**0.30103 for weight in weights])
    return pd.DataFrame({"dataset": dataset, "model": "m", "benchmark": "b", "w_p": w_p, "scaled": curve(w_p)})


def test_the_papers_coefficients_of_short_give_its_optimum():
    assert optimum(5.590, -4.284) == pytest.approx(0.242, abs=5e-4)


def test_there_is_no_optimum_of_a_curve_that_opens_upwards_or_peaks_outside():
    assert optimum(1.0, 0.5) is None
    assert optimum(1.0, 0.0) is None
    assert optimum(3.0, -1.0) is None
    assert optimum(-1.0, -1.0) is None
    assert optimum(None, None) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_squeeze_stays_inside_and_keeps_the_order(values):
    scores = pd.Series(values)
    squeezed = squeeze(scores)
    assert ((squeezed > 0) & (squeezed < 1)).all()
    assert squeeze(pd.Series([0.0, 1.0])).tolist() == [0.25, 0.75]
    for left, right in zip(squeezed, squeezed.iloc[1:], strict=False):
        assert math.isfinite(left - right)
    assert (squeezed.rank(method="dense") <= scores.rank(method="dense")).all()


def test_the_ordinary_fit_finds_an_exact_parabola_and_says_what_it_is():
    fit = fit_ordinary("short", _rows(lambda w: 0.1 + 2.0 * w - 1.5 * w**2))
    assert (fit.intercept, fit.w, fit.w2) == pytest.approx((0.1, 2.0, -1.5))
    assert fit.optimum == pytest.approx((2 / 3) ** (1 / 0.30103))
    assert fit.p == pytest.approx(0.0, abs=1e-12)
    assert fit.engine == ORDINARY
    assert "not the paper's model" in ORDINARY


def test_the_ordinary_fits_test_is_that_of_two_nested_models():
    generator = np.random.default_rng(3)
    rows = pd.concat([_rows(lambda w: 0.5 + generator.normal(0, 0.1, len(w))) for _ in range(200)])
    fit = fit_ordinary("short", rows)
    assert fit.p > 0.001


@pytest.mark.parametrize("engine", ["r", "ordinary"])
def test_what_cannot_be_fitted_is_a_labelled_row(engine):
    two_weights = _rows(lambda w: w, weights=(0.0, 1.0))
    constant = _rows(lambda w: w * float("nan"), dataset="constant")
    fits = regressions(pd.concat([two_weights, constant]), engine)
    assert [fit.dataset for fit in fits] == ["constant", "short"]
    assert [fit.messages[0] for fit in fits] == [
        "0 weights and 0 scores that differ do not determine a parabola",
        "2 weights and 2 scores that differ do not determine a parabola",
    ]
    assert all(fit.p is None and not fit.converged for fit in fits)


def test_without_r_the_fit_is_the_ordinary_one(monkeypatch):
    monkeypatch.setattr(module, "r_available", lambda: False)
    assert [fit.engine for fit in regressions(_rows(lambda w: w - w**2))] == [ORDINARY]


def test_r_failing_is_a_labelled_row(monkeypatch, tmp_path):
    broken = tmp_path / "glmm.R"
    broken.write_text("stop('no such model')")
    monkeypatch.setattr(module, "SCRIPT", broken)
    [fit] = fit_glmm(_rows(lambda w: w).rename(columns={"scaled": "score"}))
    assert (fit.dataset, fit.p, fit.converged) == ("short", None, False)
    assert fit.messages[0].startswith("R failed: ")


@pytest.mark.r
@needs_r
def test_r_gives_its_stored_answers(shared_data: Path):
    """glmmTMB's own fits of these sets were stored once, by another script."""
    names = ["s1_strong", "s2_null"]
    folder = shared_data / "reference" / "glmm"
    renamed = {"b": "benchmark", "m": "model", "w": "w_p"}
    data = pd.concat([pd.read_csv(folder / f"{n}.csv").rename(columns=renamed).assign(dataset=n) for n in names])
    for fit, name in zip(fit_glmm(data), names, strict=True):
        stored = json.loads((folder / f"{name}.json").read_text())["raw"]
        coefficients = {row["term"][-1]: row for row in stored["coef"]}
        assert fit.engine == GLMM
        assert fit.converged
        assert (fit.intercept, fit.w, fit.w2) == pytest.approx([coefficients[k]["est"] for k in ")12"], rel=1e-4)
        assert (fit.intercept_se, fit.w_se, fit.w2_se) == pytest.approx(
            [coefficients[k]["se"] for k in ")12"], rel=1e-3
        )
        assert fit.details["chisq"] == pytest.approx(stored["anova_wald_II"]["chisq"], rel=1e-3)
        assert fit.p == pytest.approx(stored["anova_wald_II"]["p"], rel=0.05)
        assert fit.details["log_likelihood"] == pytest.approx(stored["logLik"], abs=1e-3)


@pytest.mark.r
@needs_r
def test_a_singular_set_says_which_model_was_taken(shared_data: Path):
    renamed = {"b": "benchmark", "m": "model", "w": "w_p"}
    folder = shared_data / "reference" / "glmm"
    [fit] = fit_glmm(pd.read_csv(folder / "s3_singular.csv").rename(columns=renamed).assign(dataset="s3"))
    stored = json.loads((folder / "s3_singular.json").read_text())["raw"]
    assert fit.engine != GLMM
    assert fit.messages[0].startswith("the paper's model did not converge; this is one with ")
    assert stored["logLik"] - 1 < fit.details["log_likelihood"] <= stored["logLik"] + 1e-3
    assert fit.p < 0.001


@pytest.mark.r
@needs_r
def test_r_takes_hostile_names_and_a_dataset_it_cannot_fit():
    name = 'a,"b"\'; quit() #'
    generator = np.random.default_rng(5)

    def noisy(level):
        return lambda w: np.clip(0.3 + level + w - 0.8 * w**2 + generator.normal(0, 0.05, len(w)), 0.01, 0.99)

    good = pd.concat([
        _rows(noisy(level), dataset=name).assign(benchmark=f"b{index}", model=f"m{index % 2}")
        for index, level in enumerate(np.linspace(-0.1, 0.1, 8))
    ])  # fmt: skip
    bad = _rows(lambda w: w * 0 + 0.5, dataset="bad").iloc[:1]
    fits = {fit.dataset: fit for fit in fit_glmm(pd.concat([good, bad]).rename(columns={"scaled": "score"}))}
    assert set(fits) == {name, "bad"}
    assert fits[name].p is not None
    assert fits["bad"].p is None
    assert fits["bad"].messages
