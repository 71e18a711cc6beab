"""Table 3: every dataset has a row, by the paper's model, with or without R."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from analysis.glmm.fit import fit_glmm
from analysis.inference.regression import GLMM, regressions
from analysis.r_bridge import r_has
from analysis.tables.paper import table_3

needs_r = pytest.mark.skipif(not r_has("glmmTMB"), reason="R with glmmTMB and jsonlite is not installed")
WEIGHTS = (0.0, 5e-4, 0.01, 0.1, 0.5, 1.0)


def _rows(dataset="short", weights=WEIGHTS, benchmarks=5, seeds=(42,), seed=1):
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(weights, np.arange(benchmarks), ["wide", "deep"], seeds)
    plw, b, m, s = (axis.ravel() for axis in axes)
    w = plw.astype(float) ** 0.30103
    mean = expit(-0.8 + 3 * w - 2.4 * w**2 + 0.3 * generator.standard_normal(benchmarks)[b] * w)
    score = generator.beta(mean * 40, (1 - mean) * 40)
    scaled = (score - score.min()) / np.ptp(score)
    return pd.DataFrame({"dataset": dataset, "model": m, "benchmark": [f"b{code}" for code in b], "seed": s,
                         "prompt_weight": plw.astype(float), "w_p": w, "scaled": scaled})  # fmt: skip


def test_a_row_is_the_fit_of_its_dataset():
    rows = _rows()
    [row] = regressions(pd.concat([rows, rows.iloc[:4].assign(scaled=np.nan)]))
    direct = fit_glmm(rows["scaled"], rows["prompt_weight"], rows["benchmark"], rows["model"])
    assert (row.dataset, row.engine, row.n) == ("short", GLMM, len(rows))
    assert (row.p, row.w, row.optimum) == (direct.wald.p, direct.fixed["w"], direct.optimum.plw)
    assert (row.optimum_low, row.optimum_high, row.p_lrt) == (
        direct.optimum.low, direct.optimum.high, direct.lrt.p)  # fmt: skip
    assert row.converged
    assert row.fit.n == len(rows)
    assert "Laplace" in row.details["version"]
    assert len(table_3([row]).shown) == 1


def test_several_seeds_get_an_intercept():
    [row] = regressions(_rows(seeds=(1, 2), benchmarks=3))
    assert "seed" in row.fit.random


@pytest.mark.parametrize("engine", ["python", pytest.param("r", marks=[pytest.mark.r, needs_r])])
def test_what_cannot_be_fitted_is_a_labelled_row(engine):
    two_weights = _rows(weights=(0.0, 1.0), benchmarks=1)
    constant = _rows(dataset="constant").assign(scaled=np.nan)
    one = _rows(dataset="one", benchmarks=1)
    few = _rows(dataset="few")
    few = few.assign(scaled=few["scaled"].where((few["benchmark"] == "b0") & (few["w_p"].isin([0, 1]))))
    cell = _rows(dataset="cell", weights=(0.1,), benchmarks=1).head(1).assign(scaled=np.nan)
    fits = regressions(pd.concat([two_weights, constant, one, few, cell]), engine)
    assert [fit.dataset for fit in fits] == ["cell", "constant", "few", "one", "short"]
    assert [fit.messages[0].partition(";")[0] for fit in fits] == [
        "1 weight and 1 score do not determine a parabola",
        "every benchmark has the same score in all cells, and so no place on the relative scale",
        f"2 weights and {few['scaled'].notna().sum()} scores of benchmarks whose scores differ do not determine a "
        "parabola",
        "one benchmark only (b0)",
        "2 weights and 4 scores do not determine a parabola",
    ]
    assert all(fit.p is None and not fit.converged for fit in fits)


@pytest.mark.r
@needs_r
def test_r_makes_the_same_table_of_hostile_names():
    name = 'a,"b"\'; quit() #'
    rows = _rows(name, benchmarks=6).replace({"b0": name, "wide": name})
    [ours], [by_r] = regressions(rows), regressions(rows, "r")
    assert by_r.dataset == name
    assert "glmmTMB" in by_r.details["version"]
    if by_r.engine == ours.engine and not any("singular" in message for message in ours.messages):
        assert (by_r.p, by_r.optimum, by_r.w_se) == pytest.approx((ours.p, ours.optimum, ours.w_se), rel=1e-2)
