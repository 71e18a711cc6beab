"""The numbers that the page's scripts draw: those of the registry, with every hole left open."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_study import GROUPS

from analysis.report.parts import Material
from analysis.report.widget_data import (
    benchmarks_data,
    curves_data,
    grid_data,
    mechanism_data,
    scores_data,
    script_json,
    study_data,
)
from analysis.scores.aggregates import aggregates
from analysis.scores.frame import tidy_frame
from analysis.scores.study import read_study
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.store import Registry

WEIGHTS = (0.0, 0.01, 0.1, 1.0)


@pytest.fixture
def read(make_study):
    """Read a simulated study: (study, tidy frame)."""

    def make(**options):
        url, runs = make_study(**{"weights": WEIGHTS, "datasets": ("data", "short")} | options)
        study = read_study(url, runs, "plw", "mini")
        return study, tidy_frame(study.scores, GROUPS, study.cells), url

    return make


def _grid(study, frame):
    return grid_data(Material(
        study=study, frame=frame, aggregates=None, fits=[], problems=[], tables={}, figures={}, intervals=None,
        ratio=[], groups=GROUPS, generations=None,
    ))  # fmt: skip


def test_every_headline_score_is_there_once_with_its_error_and_n(read):
    study, frame, _ = read()
    data = benchmarks_data(frame, study)
    axes = study_data(study)
    assert len(data["points"]) == len(frame.rows)
    shown = {
        (data["benchmarks"][b]["name"], study.cells[cell].dataset, study.cells[cell].model,
         study.cells[cell].prompt_weight): (value, error, n)
        for b, cell, value, error, n in data["points"]
    }  # fmt: skip
    for row in frame.rows.itertuples():
        value, error, n = shown[row.benchmark, row.dataset, row.model, row.prompt_weight]
        assert (value, error, n) == (pytest.approx(row.value, rel=1e-5), 0.03, 100)
    for (dataset, model, weight, rest), cell in zip(axes["cells"], study.cells, strict=True):
        found = (axes["datasets"][dataset]["name"], axes["models"][model], axes["weights"][weight], rest)
        assert found == (cell.dataset, cell.model, cell.prompt_weight, "")


def test_the_aggregates_over_all_are_the_tables_own_and_a_models_are_its_cells_alone(read):
    study, frame, _ = read()
    data, axes, table = scores_data(frame, study), study_data(study), aggregates(frame)
    for series in data["series"]:
        dataset = axes["datasets"][series["dataset"]]["name"]
        for weight, value, low, high, cells in series["points"]:
            if series["group"] == series["model"] == "":
                row = table[(table["dataset"] == dataset) & (table["prompt_weight"] == axes["weights"][weight])].iloc[0]
                kind = series["kind"]
                assert value == pytest.approx(row[kind], rel=1e-5)
                assert (low, high) == pytest.approx((value - row[f"{kind}_se"], value + row[f"{kind}_se"]), rel=1e-4)
                assert cells == 2
            elif series["group"] == "" and series["kind"] == "simple":
                rows = frame.rows[(frame.rows["dataset"] == dataset) & (frame.rows["model"] == series["model"])]
                own = rows.loc[rows["prompt_weight"] == axes["weights"][weight], "score01"]
                assert value == pytest.approx(own.mean(), rel=1e-5)
    assert {(s["group"], s["model"]) for s in data["series"]} >= {("", ""), ("translation", "wide"), ("", "deep")}


def test_a_hole_is_a_state_of_the_grid_and_no_number_anywhere(read):
    study, frame, _ = read(skip=lambda cell, benchmark: cell.prompt_weight == 0.1 and cell.model == "deep" and (
        benchmark == "pandalm" or cell.dataset == "short"))  # fmt: skip
    axes = study_data(study)
    states = {
        (axes["datasets"][row["dataset"]]["name"], axes["models"][row["model"]], axes["weights"][i]): (
            point["state"], len(point["lacks"]))
        for row in _grid(study, frame)["rows"] for i, point in enumerate(row["points"])
    }  # fmt: skip
    assert states["data", "deep", 0.1] == ("partial", 1)
    assert states["short", "deep", 0.1] == ("partial", 13)
    assert sum(state == ("complete", 0) for state in states.values()) == 14
    for series in scores_data(frame, study)["series"]:
        if series["model"] == "deep" and series["group"] == "":
            assert axes["weights"].index(0.1) not in [point[0] for point in series["points"]]


def test_a_failed_stage_and_an_absent_cell_are_told(read, make_study):
    study, frame, url = read()
    cell = study.cells[0]
    with Registry.open(url) as registry:
        key, owner = StageKey(study="plw", scale="mini", cell=cell.cell, name="judge"), Owner.here()
        registry.claim(key, kind="judge", fingerprint="x", owner=owner, lease_timeout_s=60, now=1.0)
        registry.fail(key, owner.token, "garbage", "Traceback", now=2.0)
    again = read_study(url, study.runs, "plw", "mini")
    point = _grid(again, frame)["rows"][0]["points"][0]
    assert point["state"] == "failed"
    assert ["judge", "failed", 1, 1, "garbage"] in point["stages"]
    url, runs = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",), name="other")
    with Registry.open(url) as registry:
        first = registry.cells()[0]
        registry.ensure_cell(type(first)(**first.to_dict() | {"cell": "f" * 64, "dataset": "short", "folder": "f"}))
    study = read_study(url, runs, "plw", "mini")
    rows = _grid(study, tidy_frame(study.scores, GROUPS, study.cells))["rows"]
    assert [[point["state"] for point in row["points"]] for row in rows] == [
        ["complete", "complete"], ["missing", "missing"]]  # fmt: skip


def test_mechanism_and_curves_are_the_registrys(read):
    study, frame, _ = read()
    panels = mechanism_data(frame, study)["panels"]
    assert panels[0]["title"] == "Instability of the training loss"
    assert all(len(panel["points"]) == len(study.cells) for panel in panels)
    curves = curves_data(study)["cells"]
    assert [curve["cell"] for curve in curves] == list(range(len(study.cells)))
    for curve in curves:
        weight = study.cells[curve["cell"]].prompt_weight
        assert curve["step"] == list(range(1, 13))
        assert (curve["prompt_loss"] == [None] * 12) == (weight == 0)
        assert curve["loss"][1] == pytest.approx((1 + weight) / 2)


def test_a_long_curve_is_averaged_over_equal_windows(read, monkeypatch):
    monkeypatch.setattr("analysis.report.widget_data.CURVE_POINTS", 5)
    study, _, _ = read(weights=(1.0,))
    curve = curves_data(study)["cells"][0]
    assert curve["every"] == 3
    assert curve["step"] == [2, 5, 8, 11]
    assert curve["completion_loss"][0] == pytest.approx(np.mean([1 / n + 0.2 for n in (1, 2, 3)]), rel=1e-4)


@given(st.recursive(st.text(st.characters(codec=None)) | st.integers() | st.none(), st.lists, max_leaves=6))
def test_no_text_can_leave_a_script_element(value):
    text = script_json(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value
    text.encode()
