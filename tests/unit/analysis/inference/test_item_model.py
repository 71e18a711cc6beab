"""The mixed model of items against statsmodels, glmmTMB and the scores themselves; `plw fit items`; mistakes."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit
from simulated_answers import in_clusters, study

from analysis.inference.item_model import (
    BINOMIAL,
    GAUSSIAN,
    _variance_at,
    fit_item_designs,
    fit_items,
    make_item_design,
)
from analysis.inference.item_rows import choose_rows
from analysis.items.clustered import clustered_mean
from analysis.r_bridge import r_has
from plw import cli
from plw.errors import UserError
from plw.results.items import read_item_export

needs_r = pytest.mark.skipif(not r_has("lme4"), reason="R with lme4 and jsonlite is not installed")


def scores(table, weight):
    return table[table["prompt_weight"] == weight]["value"].mean()


@pytest.mark.r
@needs_r
def test_gaussian_is_the_model_of_statsmodels():
    table = study()
    rows = choose_rows(table)
    fit = fit_items(rows)
    frame = pd.DataFrame({"value": rows.value_N, "w": rows.w_N, "w2": rows.w_N**2, "base": rows.base_N,
                          "cell": rows.cell_N, "item": rows.item_N, "pair": rows.item_N * 4 + rows.base_N})  # fmt: skip
    parts = {"base": "0 + C(base)", "bw": "0 + C(base):w", "cell": "0 + C(cell)", "item": "0 + C(item)",
             "iw": "0 + C(item):w", "pair": "0 + C(pair)"}  # fmt: skip
    model = sm.MixedLM.from_formula(
        "value ~ w + w2", frame, groups=np.ones(len(frame)), re_formula="0", vc_formula=parts
    )
    # At lme4's variances, relative to the residual, statsmodels must have the same coefficients and errors.
    residual = next(one["variance"] for one in fit.variances if one["group"] == "Residual")
    keys = {"base": ("base", "(Intercept)"), "bw": ("base", "w"), "cell": ("cell", "(Intercept)"),
            "item": ("item", "(Intercept)"), "iw": ("item", "w"), "pair": ("pair", "(Intercept)")}  # fmt: skip
    found = {(one["group"], one["term"]): one["variance"] for one in fit.variances}
    covariance_NN = residual * np.eye(len(frame))
    for name, basis_NK in zip(model.exog_vc.names, model.exog_vc.mats, strict=True):
        covariance_NN += found[keys[name]] * np.asarray(basis_NK[0]) @ np.asarray(basis_NK[0]).T
    by_gls = sm.GLS(frame["value"], sm.add_constant(frame[["w", "w2"]]), sigma=covariance_NN).fit()
    np.testing.assert_allclose(list(fit.fixed.values()), by_gls.params, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fit.covariance_CC, by_gls.normalized_cov_params, rtol=1e-6)
    # No other variances near them make the restricted likelihood larger.
    design_NC = np.column_stack([np.ones(len(frame)), frame["w"], frame["w2"]])

    def restricted(scale):
        inverse_NN = np.linalg.inv(
            residual * np.eye(len(frame)) + scale * (covariance_NN - residual * np.eye(len(frame)))
        )
        middle_CC = design_NC.T @ inverse_NN @ design_NC
        rest_N = frame["value"] - design_NC @ np.linalg.solve(middle_CC, design_NC.T @ inverse_NN @ frame["value"])
        return (np.linalg.slogdet(inverse_NN)[1] - np.linalg.slogdet(middle_CC)[1] - rest_N @ inverse_NN @ rest_N) / 2

    assert restricted(1.0) > max(restricted(0.9), restricted(1.1))
    # Of a balanced study the effect is the difference of the scores.
    assert fit.effect.difference == pytest.approx(scores(table, 1.0) - scores(table, 0.0), abs=1e-6)
    assert fit.design.df == 3
    assert fit.converged
    # t over base models at the curve's middle and its end, combined (Cauchy).
    slope_C, covariance_CC = np.array(list(fit.fixed.values()))[1:], fit.covariance_CC[1:, 1:]
    place_2C = np.array([[0.5, 0.25], [1.0, 1.0]])
    t_2 = place_2C @ slope_C / np.sqrt(np.einsum("pc,cd,pd->p", place_2C, covariance_CC, place_2C))
    assert fit.p == pytest.approx(
        0.5 - np.arctan(np.tan((0.5 - 2 * stats.t.sf(np.abs(t_2), 3)) * np.pi).mean()) / np.pi
    )


@pytest.mark.r
@pytest.mark.skipif(not (r_has("lme4") and r_has("glmmTMB")), reason="R with lme4 and glmmTMB is not installed")
def test_binomial_is_the_model_of_glmmtmb(tmp_path):
    table = study(graded=False, items=40, bases=3)
    rows = choose_rows(table)
    fit = fit_items(rows, BINOMIAL)
    file = tmp_path / "items.csv"
    pd.DataFrame({"y": rows.value_N, "w": rows.w_N, "base": rows.base_N, "cell": rows.cell_N, "item": rows.item_N,
                  "pair": rows.item_N * 3 + rows.base_N}).to_csv(file, index=False)  # fmt: skip
    code = (
        f"suppressPackageStartupMessages(library(glmmTMB)); d <- read.csv('{file}'); m <- suppressWarnings(glmmTMB("
        "y ~ w + I(w^2) + (1|base) + (0+w|base) + (1|cell) + (1|item) + (0+w|item) + (1|pair), d, binomial));"
        "cat(jsonlite::toJSON(list(fixef(m)$cond, -m$fit$objective), digits = NA))"
    )
    said = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, check=True).stdout
    fixed, (log_likelihood,) = json.loads(said)
    # Both use Laplace's approximation; where variances are 0 they stop at slightly different places.
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=0.05)
    np.testing.assert_allclose(list(fit.fixed.values()), fixed, atol=0.1)
    effect = fit.effect
    assert effect.difference == pytest.approx(scores(table, 1.0) - scores(table, 0.0), abs=0.03)
    assert effect.at_from == pytest.approx(scores(table, 0.0), abs=0.05)
    # By integration over the random levels; its error by the slope of that in each coefficient.
    variance = {(one["group"], one["term"]): one["variance"] for one in fit.variances}

    def mean_at(w, fixed_C):
        sd = np.sqrt(sum(value * w ** (2 * (term == "w")) for (_, term), value in variance.items()))
        level = fixed_C @ [1, w, w**2]
        return quad(lambda z: expit(level + sd * z) * stats.norm.pdf(z), -12, 12)[0]

    fixed_C, step = np.array(list(fit.fixed.values())), 1e-4
    slope_C = [
        sum(sign * (mean_at(1.0, fixed_C + sign * unit) - mean_at(0.0, fixed_C + sign * unit)) for sign in (-1, 1))
        / (2 * step)
        for unit in step * np.eye(3)
    ]
    se = np.sqrt(slope_C @ fit.covariance_CC @ slope_C)
    difference = mean_at(1.0, fixed_C) - mean_at(0.0, fixed_C)
    assert (effect.at_from, effect.at_to) == pytest.approx((mean_at(0.0, fixed_C), mean_at(1.0, fixed_C)))
    assert (effect.from_weight, effect.to_weight) == (0.0, 1.0)
    assert (effect.difference, effect.se) == pytest.approx((difference, se), rel=1e-5)
    reach = stats.t.isf(0.025, 2) * se
    assert (effect.low, effect.high) == pytest.approx((max(-1, difference - reach), min(1, difference + reach)))
    assert fit.fixed_se == pytest.approx(dict(zip(fit.fixed, np.sqrt(np.diag(fit.covariance_CC)), strict=True)))
    assert (fit.lrt.df, fit.lrt.p) == (2, pytest.approx(stats.chi2.sf(fit.lrt.chisq, 2)))


@pytest.mark.r
@needs_r
def test_answers_that_hardly_change_are_no_ground_for_a_binomial_model():
    table = study(graded=False, items=30, bases=1)
    still = table.groupby(["model", "item"])["value"].transform("first").where(table.index % 23 != 0, table["value"])
    fit = fit_items(choose_rows(table.assign(value=still)), BINOMIAL)
    assert "take the Gaussian family" in " ".join(fit.messages)


@pytest.mark.r
@needs_r
def test_of_clusters_that_move_alike_the_error_is_that_of_the_clustered_mean():
    """Two studies of one form are fitted at once, each by itself."""
    tables = {
        seed: in_clusters(study(bases=1, weights=(0.0, 1.0), items=60, seed=int(seed)), 12) for seed in ("2", "1")
    }
    fits = fit_item_designs({name: make_item_design(choose_rows(table)) for name, table in tables.items()})
    assert list(fits) == ["2", "1"]
    for name, table in tables.items():
        fit = fits[name]
        by_item = table.pivot_table(index="item", columns="prompt_weight", values="value")
        known = clustered_mean((by_item[1.0] - by_item[0.0]).to_numpy(), by_item.index.to_numpy() % 12)
        assert (fit.design.over, fit.design.df) == ("cluster", 11)
        assert fit.effect.difference == pytest.approx(known.mean, abs=1e-6)
        assert fit.effect.se == pytest.approx(known.se, rel=0.01)
        assert fit.p == pytest.approx(known.p, rel=0.05)
        np.testing.assert_allclose([fit.effect.low, fit.effect.high], known.interval(0.95), rtol=1e-2, atol=1e-3)


@pytest.mark.r
@needs_r
def test_the_interval_of_shares_lies_within_their_range():
    table = study(bases=2, weights=(0.0, 1.0), items=20, graded=False)
    fit = fit_items(choose_rows(table))
    assert fit.design.df == 1
    assert -1 <= fit.effect.low <= fit.effect.high <= 1
    # t with one degree of freedom would run beyond.
    assert 12.7 * fit.effect.se > 1 - abs(fit.effect.difference)
    assert fit.p == pytest.approx(2 * stats.t.sf(abs(fit.effect.difference) / fit.effect.se, 1))
    assert [fit.effect.at_from, fit.effect.at_to] == pytest.approx([scores(table, 0.0), scores(table, 1.0)])


@pytest.mark.parametrize("w", [0.0, 0.4, 1.0])
def test_the_variance_at_a_weight_has_what_terms_share(w):
    """Of independent levels of base models and correlated ones of clusters."""
    variances = [
        {"group": "base", "term": "(Intercept)", "with": None, "variance": 0.5},
        {"group": "base.1", "term": "w", "with": None, "variance": 0.07},
        {"group": "cluster", "term": "(Intercept)", "with": None, "variance": 0.3},
        {"group": "cluster", "term": "w", "with": None, "variance": 0.2},
        {"group": "cluster", "term": "(Intercept)", "with": "w", "variance": -0.1},
        {"group": "benchmark", "term": "w2", "with": None, "variance": 0.11},
    ]
    place = np.array([1, w])
    correlated = place @ np.array([[0.3, -0.1], [-0.1, 0.2]]) @ place
    assert _variance_at(w, tuple(variances)) == pytest.approx(0.5 + 0.07 * w**2 + correlated + 0.11 * w**4)


def test_items_of_one_cluster_alone_are_refused():
    with pytest.raises(UserError, match="dataset short, benchmark arc: all items share the cluster 'passage 0'"):
        choose_rows(in_clusters(study(), 1))


def test_values_that_are_missing_or_in_percent():
    table = study(graded=False).assign(metric="win_rate")
    table["value"] *= 100
    table.loc[[0, 5], "value"] = np.nan
    rows = choose_rows(table)
    assert len(rows) == len(table) - 2
    assert rows.right_or_wrong
    assert "2 answers without a value" in make_item_design(rows).messages[0]


def _fit_command(monkeypatch, capsys, table, tmp_path, *more):
    path = tmp_path / "items.parquet"
    table.to_parquet(path)
    monkeypatch.setattr(sys, "argv", ["plw", "fit", "items", str(path), *map(str, more)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    out = capsys.readouterr()
    return stopped.value.code or 0, out.out, out.err


@pytest.mark.r
@needs_r
def test_the_command_with_several_benchmarks(monkeypatch, capsys, tmp_path):
    out = tmp_path / "fit.json"
    names = ("--benchmark", "arc", "--benchmark", "piqa")
    table = study(graded=False, benchmarks=("arc", "piqa"))
    code, screen, errors = _fit_command(monkeypatch, capsys, table, tmp_path, *names, "--json", out)
    assert (code, errors) == (0, "")
    made = json.loads(out.read_text())
    assert (made["family"], made["benchmarks"], made["items"], made["cells"]) == (GAUSSIAN, ["arc", "piqa"], 24, 12)
    assert made["curve"]["over"] == "benchmark"
    assert {"benchmark", "base", "cell", "item", "pair"} <= {one["group"] for one in made["random"]}
    assert f"{made['effect']['difference']:+.4f}" in screen
    for message in made["messages"]:
        assert message in " ".join(screen.split())


TABLE = study(items=3)


@pytest.mark.parametrize(("table", "more", "words"), [
    (TABLE.iloc[:0], (), "the table has no items"),
    (TABLE[TABLE["item"] == 0], (), "one item only; a model of items needs several"),
    (TABLE[TABLE["prompt_weight"] == 0.1], (), "one prompt weight only (0.1); a curve needs two or more"),
    (TABLE.drop(columns="prompt_weight"), (), "column prompt_weight is missing; the file has cell, dataset, model"),
    (TABLE.drop(columns="item_hash"), (), "column item_hash is missing"),
    (TABLE.assign(value=0.5), (), "every item's value is 0.5; there is nothing to explain"),
    (TABLE.assign(value=np.nan), (), "no item has a value"),
    (TABLE.assign(prompt_weight=TABLE["prompt_weight"] * 2), (), "prompt_weight is 2; allowed is a number from 0 to 1"),
    (TABLE.assign(aggregation="bleu", metric="bleu"), (), "bleu is made of all items together (bleu)"),
    (TABLE, ("--dataset", "long"), "--dataset is 'long'; the items have short"),
    (TABLE, ("--benchmark", "piqa"), "--benchmark is 'piqa'; the items have arc"),
    (TABLE, ("--family", "binomial"), "--family binomial needs values of 0 and 1; one is"),
    (study(items=3, benchmarks=("arc", "piqa")), (), "the items are of several benchmarks (arc, piqa); choose with"),
    (pd.concat([TABLE, TABLE.assign(stage="b")]), (), "item 0 has 2 values; choose with --stage: b, harness-world"),
    (pd.concat([TABLE, TABLE.assign(cell=TABLE["cell"] + "b")]), (), "24 cells have the same base model"),
    (TABLE.assign(response_weight=TABLE["prompt_weight"]), (), "several response weights (0.0, 0.1, 1.0); choose with"),
    (TABLE, ("--response-weight", "0.5"), "--response-weight is 0.5; the items have 1.0"),
])  # fmt: skip
def test_a_mistake_with_items_is_one_line(monkeypatch, capsys, tmp_path, table, more, words):
    out = tmp_path / "fit.json"
    code, screen, errors = _fit_command(monkeypatch, capsys, table, tmp_path, *more, "--json", out)
    assert (code, screen) == (2, "")
    assert errors.count("\n") == 1
    assert words in errors
    assert not out.exists()


@pytest.mark.r
@needs_r
def test_base_models_without_common_weights_are_refused():
    table = study(bases=2)
    apart = table[(table["model"] == "base 0") == (table["prompt_weight"] < 1)]
    with pytest.raises(UserError, match="cannot be told apart"):
        fit_items(choose_rows(apart))


def test_without_r_or_file_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("analysis.inference.item_model.r_has", lambda package: False)
    with pytest.raises(UserError, match="needs Rscript with the packages lme4 and jsonlite"):
        fit_items(choose_rows(TABLE))
    with pytest.raises(UserError, match="no such file"):
        read_item_export(tmp_path / "none.parquet")
    with pytest.raises(UserError, match="a CSV table; export the items to a "):
        read_item_export(tmp_path / "items.csv")
