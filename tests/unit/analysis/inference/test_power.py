"""Power by simulation and the sensitivity of the verdict."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from analysis.glmm.fit import fit_glmm
from analysis.inference.power import simulated_power, study_design
from analysis.inference.sensitivity import BASELINE, SQUEEZES, sensitivity
from analysis.tables.checks import power_table, sensitivity_table
from plw.errors import UserError

WEIGHTS = (0.0, 1e-2, 1e-1, 5e-1, 1.0)


@cache
def _fit(effect, polynomial="raw"):
    generator = np.random.default_rng(11)
    plw, b, m = (axis.ravel() for axis in np.meshgrid(WEIGHTS, np.arange(6), np.arange(2)))
    w = plw**0.30103
    mean = 1 / (1 + np.exp(0.5 + 0.2 * m - effect * (2.0 * w - 1.6 * w**2) - 0.3 * generator.standard_normal(6)[b] * w))
    return fit_glmm(generator.beta(mean * 30, (1 - mean) * 30), plw, b, m, polynomial=polynomial)


def test_larger_studies_and_larger_effects_have_more_power():
    fit = _fit(0.6)
    told = []
    made = simulated_power(
        fit, seeds=(1, 4), benchmarks=(4, 8), studies=6, seed=3, progress=lambda *said: told.append(said)
    )
    cells = made.set_index(["seeds", "benchmarks"])["power_f"]
    assert cells[4, 8] > cells[1, 4]
    assert (made["power_wald"] >= made["power_f"]).all()
    first = simulated_power(fit, seeds=(1,), benchmarks=(4,), studies=6, seed=3)
    assert made.iloc[:1].equals(first), "the same seed gives the same studies, whatever other sizes are asked for"
    more = (made["power_f"] * 6 + 2) / 10
    assert made["error"].to_numpy() == pytest.approx(np.sqrt(more * (1 - more) / 10).to_numpy())
    assert (made["error"] > 0.1).all(), "none or all of six studies is no certainty"
    assert [said[:2] for said in told] == [(number, 24) for number in range(1, 25)]
    assert made["scores"].tolist() == [seeds * size * 2 * len(WEIGHTS) for seeds in (1, 4) for size in (4, 8)]
    shown = power_table({"short": made}).shown
    assert shown["dataset"].tolist() == ["short"] * 4
    assert "dataset" not in power_table({"": made}).shown


@pytest.mark.parametrize("polynomial", ["raw", "orthogonal"])
def test_a_study_has_the_fits_weights_and_its_curve(polynomial):
    fit = _fit(1.0, polynomial)
    design = study_design(fit, seeds=3, benchmarks=5)
    assert design.n == 3 * 5 * 2 * len(WEIGHTS)
    assert sorted(set(design.w_N)) == sorted(set(fit.design.w_N))
    curve = design.columns_NC @ [fit.fixed[name] for name in ("intercept", "w", "w2")]
    raw = fit.raw_fixed
    assert curve == pytest.approx(raw[0] + raw[1] * design.w_N + raw[2] * design.w_N**2)


def test_a_fit_with_a_variance_of_seeds_gives_each_seed_of_a_study_its_own():
    fit = _fit(1.0)
    without = study_design(fit, seeds=3, benchmarks=5)
    assert (without.seed_N, without.seeds) == (None, ())
    design = study_design(replace(fit, random=fit.random | {"seed": 0.1}), seeds=3, benchmarks=5)
    assert design.seeds == ("1", "2", "3")
    assert design.benchmarks == tuple(f"benchmark {number}" for number in range(1, 6))
    rows = pd.DataFrame({"seed": design.seed_N, "w": design.w_N, "b": design.benchmark_N, "m": design.model_N})
    assert len(rows.drop_duplicates()) == design.n == 3 * 5 * 2 * len(WEIGHTS), "every cell once"
    assert rows["seed"].value_counts().to_dict() == dict.fromkeys(range(3), design.n // 3)


@pytest.mark.parametrize(
    "sizes",
    [{"seeds": (0,)}, {"seeds": (3, 0)}, {"benchmarks": (1,)}, {"benchmarks": (13, 1)}, {"studies": 0}],
    ids=str,
)
def test_sizes_out_of_range(sizes):
    with pytest.raises(UserError, match="at least one seed, two benchmarks and one study"):
        simulated_power(_fit(1.0), **sizes)


def test_the_smallest_sizes_are_a_study_and_a_fit_that_did_not_converge_is_none():
    fit = _fit(1.0)
    assert simulated_power(fit, seeds=(1,), benchmarks=(2,), studies=1)["scores"].tolist() == [2 * 2 * len(WEIGHTS)]
    with pytest.raises(UserError, match="did not converge"):
        simulated_power(replace(fit, converged=False))


def _rows():
    fit = _fit(1.0)
    score = (fit.design.score_N - fit.design.score_N.min()) / np.ptp(fit.design.score_N)
    return pd.DataFrame({
        "dataset": "short", "benchmark": fit.design.benchmark_N.astype(str), "model": fit.design.model_N.astype(str),
        "prompt_weight": fit.design.w_N ** (1 / 0.30103), "seed": 42, "scaled": score, "normalizer": "nonzero",
    })  # fmt: skip


def test_every_choice_has_its_verdict():
    rows = pd.concat([_rows(), _rows().assign(dataset="one", benchmark="b")])
    made = sensitivity(rows)
    short, one = made[made["dataset"] == "short"], made[made["dataset"] == "one"]
    assert len(short) == len(one) == 2 * len(SQUEEZES)
    assert short["converged"].all()
    assert (short["p"] < 0.05).all()
    assert short["optimum"].between(0, 1).all()
    assert not one["converged"].any()
    assert one["messages"].str.startswith("one benchmark only").all()
    base = short[(short["squeeze"] == BASELINE) & (short["polynomial"] == "raw")].iloc[0]
    direct = fit_glmm(_rows()["scaled"], _rows()["prompt_weight"], _rows()["benchmark"], _rows()["model"])
    assert base["p"] == pytest.approx(direct.wald.p)
    assert base["optimum"] == pytest.approx(direct.optimum.plw)
    shown = sensitivity_table(made).shown
    assert len(shown) == len(made)
