"""Spread over seeds: known parts of a simulated spread are found again, and unknown ones stay unknown."""

import numpy as np
import pytest
from study_frames import frame_of

from analysis.inference.seeds import seed_components
from analysis.tables.beyond_paper import seeds_table

WEIGHTS = (0.0, 0.01, 0.1, 0.5, 1.0)
SEEDS = tuple(range(30))


def _frame(common, own, weight_effect=0.0, seeds=SEEDS, skip=lambda *at: False):
    generator = np.random.default_rng(4)
    shared = {seed: generator.normal(0, common) for seed in seeds}
    noise = {(model, weight, seed): generator.normal(0, own)
             for model in ("wide", "deep") for weight in WEIGHTS for seed in seeds}  # fmt: skip

    def rule(dataset, benchmark, model, weight, seed):
        if skip(model, weight, seed):
            return None
        level = 0.4 + 0.1 * (benchmark == "arc") + 0.1 * (model == "wide") + weight_effect * weight
        return level + shared[seed] + noise[model, weight, seed]

    return frame_of(rule, weights=WEIGHTS, seeds=seeds)


def _simple(frame):
    return seed_components(frame).set_index("kind").loc["simple"]


def test_the_parts_of_the_spread_are_found():
    row = _simple(_frame(common=0.02, own=0.01))
    assert row["seed_sd"] == pytest.approx(np.hypot(0.02, 0.01), rel=0.2)
    assert row["paired_sd"] == pytest.approx(0.01, rel=0.15)
    assert row["seed_sd_low"] < row["seed_sd"] < row["seed_sd_high"]
    assert (row["df"], row["paired_df"]) == (2 * 5 * 29, 2 * 4 * 29)
    assert row["weights_sd"] < 0.003


def test_what_a_seed_does_at_every_weight_is_not_in_the_paired_spread():
    calm, rough = _simple(_frame(common=0.0, own=0.01)), _simple(_frame(common=0.05, own=0.01))
    assert rough["paired_sd"] == pytest.approx(calm["paired_sd"])
    assert rough["seed_sd"] > 2 * calm["seed_sd"]
    # Nor is what a weight does at every seed.
    assert _simple(_frame(common=0.0, own=0.01, weight_effect=0.3))["paired_sd"] == pytest.approx(calm["paired_sd"])


def test_the_spread_of_weights_is_found_beside_that_of_seeds():
    row = _simple(_frame(common=0.02, own=0.01, weight_effect=0.1))
    assert row["weights_sd"] == pytest.approx(0.1 * np.std(WEIGHTS, ddof=1), rel=0.05)


def test_seeds_that_never_differ_leave_the_upper_end_of_their_spread_unknown():
    row = _simple(_frame(common=0.0, own=0.0, seeds=(1, 2, 3)))
    assert (row["seed_sd"], row["seed_sd_low"]) == (pytest.approx(0), pytest.approx(0))
    assert np.isnan(row["seed_sd_high"])
    table = seeds_table(seed_components(_frame(common=0.0, own=0.0, seeds=(1, 2, 3))))
    assert table.shown["SD of seeds"].iloc[0] == "0.0000 [0.0000, –]"
    assert "no certainty" in table.caption


def test_one_seed_says_nothing_and_a_missing_cell_costs_its_weight_the_pairing():
    alone = _simple(_frame(common=0.02, own=0.01, seeds=(42,)))
    assert alone["df"] == 0
    assert np.isnan(alone["seed_sd"])
    shown = seeds_table(seed_components(_frame(0.02, 0.01, seeds=(42,))))
    assert set(shown.shown["SD of seeds"]) == {"–"}
    assert "one seed" in shown.caption
    holed = _simple(_frame(0.02, 0.01, skip=lambda model, weight, seed: (model, weight, seed) == ("wide", 0.1, 3)))
    assert (holed["df"], holed["paired_df"]) == (2 * 5 * 29 - 1, (3 + 4) * 29)
    assert "SD paired" in seeds_table(seed_components(_frame(0.02, 0.01))).shown
