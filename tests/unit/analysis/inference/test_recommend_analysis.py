"""The recommendation: Table 4 by its rule, a study's model beside it, and where it hardly matters."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_frames import frame_of

from analysis.gam.fit import fit_gam
from analysis.inference.nearest import nearest_verdicts
from analysis.inference.ratio_model import RatioFit
from analysis.inference.recommend import read_table_4, recommend_weight
from analysis.scores.published import TABLE_4


def fits(slope, noise=0.02):
    """The three aggregates of a study whose score changes with the weight by ``slope``."""
    w, r, b = (axis.ravel() for axis in np.meshgrid([0, 0.01, 0.1, 0.3, 1.0], [0.1, 1.0, 3.0, 7.0], np.arange(3)))
    score = slope * w + 0.1 * b + np.random.default_rng(1).normal(0, noise, len(w))
    fit = fit_gam(score, w, r, b, method="reml")
    return [RatioFit(aggregate=name, fit=fit, points=pd.DataFrame()) for name in TABLE_4]


@pytest.mark.parametrize(
    ("aggregate", "r_g", "plw", "rows", "outside"),
    [
        ("all", 1.5, 0.183, (1.5,), False),
        ("all", 1.25, 0.169, (1.0, 1.5), False),
        ("all", 2.2, 0.239, (2.0,), False),
        ("all", 2.25, 0.239, (2.0,), False),
        ("all", 2.3, None, (2.5,), False),
        ("all", 6.1, None, (6.0,), False),
        ("all", 0.08, 0.155, (0.5,), True),
        ("generation", 12.0, 0.654, (8.0,), True),
        ("generation", 8.0, 0.654, (8.0,), False),
        ("generation", 0.74, 0.292, (0.5,), False),
    ],
)
def test_table_4_between_and_beyond_its_rows(aggregate, r_g, plw, rows, outside):
    found = read_table_4(aggregate, TABLE_4[aggregate], r_g)
    assert found.plw == (None if plw is None else pytest.approx(plw))
    assert (found.rows, found.outside) == (rows, outside)


@given(st.floats(0.01, 100))
def test_any_ratio_has_a_sentence(r_g):
    found = recommend_weight(r_g, [])
    assert found.sentence.endswith(".")
    assert (found.plw is None) == found.sentence.startswith("It hardly matters")
    assert bool(found.remarks) == (not 0.5 <= r_g <= 8)
    assert all(0 <= item.plw <= 1 for item in found.published if item.plw is not None)


def test_below_the_table_the_regression_of_short_is_told():
    remarks = recommend_weight(0.1, []).remarks
    assert any(all(word in line for word in ("AlpacaDataShort", "0.082", "0.242")) for line in remarks)
    assert recommend_weight(0.5, []).remarks == recommend_weight(8.0, []).remarks == ()
    assert not any("AlpacaDataShort" in line for line in recommend_weight(9.0, []).remarks)


def test_the_registrys_model_goes_first_where_it_can_tell():
    found = recommend_weight(2.0, fits(1.0))
    assert found.plw == 1.0
    assert "registry" in found.sentence
    assert "0.24, is outside" in found.sentence
    assert [item.optimum.plw for item in found.own] == [1.0] * 3


def test_where_the_registrys_model_is_flat_it_hardly_matters():
    found = recommend_weight(2.0, fits(0.0, noise=0.002))
    assert found.plw is None
    assert found.hardly_matters
    assert "hardly matters" in found.sentence
    assert "registry" in found.sentence


def test_the_embedded_world_is_shown_and_does_not_decide():
    found = recommend_weight(2.0, fits(1.0), like_yours=False)
    assert found.plw == pytest.approx(0.239)
    assert "no evidence for others" in found.sentence
    assert found.own[0].optimum.plw == 1.0


@pytest.mark.parametrize("r_g", [0.1, 7.0])
def test_the_registrys_model_tells_of_the_ends_of_its_ratios(r_g):
    assert all(item.optimum is not None for item in recommend_weight(r_g, fits(1.0)).own)


@pytest.mark.parametrize(("r_g", "dataset"), [(3.0, "even"), (3.5, "long"), (0.001, "short"), (1000.0, "long")])
def test_the_nearest_dataset_is_that_by_the_logarithm_of_the_ratio(r_g, dataset):
    frame = frame_of(lambda *at: 0.5, datasets=("even", "short", "long"))
    ratios = frame.rows["dataset"].map({"short": 0.1, "even": 1.0, "long": 10.0})
    found = nearest_verdicts(replace(frame, rows=frame.rows.assign(r_g=ratios)), r_g)
    assert (found.dataset, found.r_g) == (dataset, {"short": 0.1, "even": 1.0, "long": 10.0}[dataset])
    assert {verdict.dataset for verdict in found.verdicts} == {dataset}
    assert nearest_verdicts(replace(frame, rows=frame.rows.assign(r_g=np.nan)), r_g) is None


def test_outside_of_the_registrys_ratios_its_model_says_nothing():
    found = recommend_weight(9.0, fits(1.0))
    assert [item.optimum for item in found.own] == [None] * 3
    assert re.findall(r"\d[\d.]*", str(found.own[0].refusal)) == ["9", "0.1", "7"]
    assert found.plw is None


def test_nothing_is_claimed_of_a_ratio_beyond_the_papers():
    inside, beyond = recommend_weight(8.0, []), recommend_weight(401.0, [])
    assert "here: at R_g 8 the paper's ratio model" in inside.sentence
    words = "hardly matters at R_g 8, the nearest ratio that the paper tells of, and nothing is known of 401"
    assert words in beyond.sentence
    assert (inside.plw, inside.hardly_matters, beyond.plw, beyond.hardly_matters) == (None, True, None, False)


def test_as_json_it_keeps_what_is_missing_missing():
    told = recommend_weight(9.0, [], no_model="no registry there").to_dict()
    assert told["no_model"] == "no registry there"
    assert told["own"] == []
    assert (told["plw"], told["hardly_matters"]) == (None, False)
    assert {item["aggregate"]: item["plw"] for item in told["published"]}["generation"] == 0.654
