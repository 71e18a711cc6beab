"""Bootstrap intervals: what they must equal where theory knows it, and what they may not depend on."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from study_frames import frame_of

from analysis.inference.bootstrap import UNITS, bootstrap_aggregates
from analysis.scores.aggregates import aggregates

MANY = tuple(f"b{number:02d}" for number in range(40))


def _noise(seed=0, size=40):
    values = np.random.default_rng(seed).uniform(0.2, 0.8, size=(size, 2, 3))
    places = {name: index for index, name in enumerate(MANY)}
    models, weights = {"wide": 0, "deep": 1}, {0.0: 0, 0.1: 1, 1.0: 2}
    return lambda dataset, benchmark, model, weight, seed: float(
        values[places[benchmark], models[model], weights[weight]]
    )


def test_estimates_are_the_aggregates_also_where_cells_are_missing():
    rule = _noise()
    holed = frame_of(
        lambda *at: None if at[1:4] == ("b03", "deep", 0.1) else rule(*at),
        benchmarks=MANY[:6],
        datasets=("short", "data"),
    )
    table = aggregates(holed).melt(["dataset", "prompt_weight"], ["simple", "relative"], "kind", "estimate")
    made = bootstrap_aggregates(holed, draws=50)
    both = made[made["quantity"] == "aggregate"].merge(table, on=["dataset", "prompt_weight", "kind"])
    assert len(both) == 2 * 3 * 2
    np.testing.assert_allclose(both["estimate_x"], both["estimate_y"], rtol=1e-12)


@pytest.mark.parametrize("without", [("data",), ("data", "short")])
def test_a_dataset_without_a_complete_cell_has_no_interval(without):
    rule, half = _noise(), dict(zip(("wide", "deep"), MANY, strict=False))
    begun = frame_of(
        lambda *at: None if at[0] in without and at[1] == half[at[2]] else rule(*at),
        benchmarks=MANY[:4],
        datasets=("short", "data"),
    )
    assert set(bootstrap_aggregates(begun, draws=20)["dataset"]) == {"short", "data"} - set(without)


def test_with_benchmarks_alone_it_is_the_normal_interval_of_their_mean():
    frame = frame_of(_noise(), benchmarks=MANY)
    made = bootstrap_aggregates(frame, unit=UNITS[1], draws=4000).query("kind == 'simple' and quantity == 'aggregate'")
    means = frame.rows.groupby(["prompt_weight", "benchmark"])["score01"].mean().groupby("prompt_weight")
    half = 1.96 * means.std(ddof=0).to_numpy() / np.sqrt(len(MANY))
    np.testing.assert_allclose((made["high"] - made["low"]) / 2, half, rtol=0.07)


def test_many_seeds_are_counted_as_few_are(monkeypatch):
    def rule(dataset, benchmark, model, weight, seed):
        return None if (model, seed) == ("deep", 3) else _noise()(dataset, benchmark, model, weight, seed) + 0.01 * seed

    frame = frame_of(rule, benchmarks=MANY[:5], seeds=range(9))
    many = bootstrap_aggregates(frame, draws=100)
    monkeypatch.setattr("analysis.inference.bootstrap.FEW_SEEDS", 9)
    pd.testing.assert_frame_equal(many, bootstrap_aggregates(frame, draws=100), rtol=1e-12)


def test_gains_are_paired_so_that_a_level_of_a_benchmark_or_model_does_not_widen_them():
    def shifted(dataset, benchmark, model, weight, seed):
        return 0.1 + 0.02 * MANY.index(benchmark) + 0.3 * (model == "wide") + 0.05 * weight

    made = bootstrap_aggregates(frame_of(shifted, benchmarks=MANY[:8]), draws=200).query("kind == 'simple'")
    gain = made[made["quantity"] == "gain over PLW 0"].set_index("prompt_weight")
    np.testing.assert_allclose(gain.loc[1.0, ["estimate", "low", "high"]].astype(float), 0.05, atol=1e-12)
    assert 0.0 not in gain.index, "a weight gains nothing over itself"
    level = made[made["quantity"] == "aggregate"]
    assert (level["high"] - level["low"]).min() > 0.1


def test_a_pair_of_which_one_is_missing_does_not_count_in_the_gain():
    def rule(dataset, benchmark, model, weight, seed):
        if (model, weight) == ("deep", 0.0):
            return None
        return (0.2 if model == "wide" else 0.9) - 0.1 * (benchmark == "arc") + 0.01 * weight

    made = bootstrap_aggregates(frame_of(rule), draws=50).query("kind == 'simple' and quantity == 'gain over PLW 0'")
    assert made["estimate"].tolist() == pytest.approx([0.001, 0.01]), "the model without PLW 0 gives no difference"


def test_models_that_differ_widen_the_interval_over_benchmarks_and_models():
    def rule(dataset, benchmark, model, weight, seed):
        return 0.3 + 0.005 * MANY.index(benchmark) + 0.3 * (model == "wide")

    frame = frame_of(rule, benchmarks=MANY[:10])
    wide, narrow = (
        bootstrap_aggregates(frame, unit=unit, draws=500).query("kind == 'simple'").iloc[0] for unit in UNITS
    )
    assert wide["high"] - wide["low"] > 5 * (narrow["high"] - narrow["low"])


def test_the_same_seed_gives_the_same_draws_and_one_benchmark_gives_no_interval():
    frame = frame_of(_noise(), benchmarks=MANY[:5])
    pd.testing.assert_frame_equal(bootstrap_aggregates(frame, draws=100), bootstrap_aggregates(frame, draws=100))
    assert not bootstrap_aggregates(frame, draws=100).equals(bootstrap_aggregates(frame, draws=100, seed=1))
    single = bootstrap_aggregates(frame_of(_noise(), benchmarks=MANY[:1]), draws=100)
    assert single[["low", "high"]].isna().all(axis=None)
    assert single["estimate"].notna().all()
    with pytest.raises(ValueError, match="unit must be one of"):
        bootstrap_aggregates(frame, unit="seeds")


def test_it_covers_the_mean_of_the_benchmarks_it_was_drawn_from():
    generator, level, covered = np.random.default_rng(5), 0.5, 0
    frame = frame_of(lambda *_: level, benchmarks=MANY[:20], weights=(0.0,))
    for _ in range(60):
        levels = dict(zip(MANY, level + generator.normal(0, 0.1, size=40).clip(-0.4, 0.4), strict=True))
        drawn = replace(frame, rows=frame.rows.assign(score01=frame.rows["benchmark"].map(levels)))
        row = bootstrap_aggregates(drawn, unit=UNITS[1], draws=300).query("kind == 'simple'").iloc[0]
        covered += row["low"] <= level <= row["high"]
    assert 50 <= covered <= 60, "of 60 intervals of 95%, 53 to 60 hold the mean in 99 of 100 tries; fewer than 50 never"
