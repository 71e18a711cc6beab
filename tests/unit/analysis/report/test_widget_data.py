"""The numbers that the page's scripts draw: those of the registry, with every hole left open."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_study import GROUPS, simulate

import analysis.inference.sensitivity as sensitivity
import analysis.report.context as context_module
from analysis.inference.residuals import MIN_DRAWS, residual_checks
from analysis.report.context import make_context
from analysis.report.grid_data import grid_data
from analysis.report.json_values import script_json
from analysis.report.widget_data import benchmarks_data, curves_data, mechanism_data, scores_data
from analysis.scores.benchmarks import Benchmarks
from analysis.scores.study import read_study, study_frame
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.store import Registry

WEIGHTS = (0.0, 0.01, 0.1, 1.0)


@pytest.fixture(autouse=True)
def one_squeeze(monkeypatch):
    """The numbers are tested here, not the fits beside them."""
    monkeypatch.setattr(sensitivity, "SQUEEZES", {sensitivity.BASELINE: sensitivity.squeeze})
    monkeypatch.setattr(context_module, "residual_checks", partial(residual_checks, draws=MIN_DRAWS))


def _context(study):
    return make_context(study, study_frame(study))


def _study(url, runs):
    return read_study(url, runs, "plw", "mini", configured=lambda name: Benchmarks(groups=GROUPS))


@pytest.fixture
def read(make_study):
    """The context of a simulated study, and the registry's address."""

    def make(**options):
        url, runs = make_study(**{"weights": WEIGHTS, "datasets": ("data", "short")} | options)
        study = _study(url, runs)
        return _context(study), url

    return make


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The context of a study of sixteen cells. Shared by all tests: read it, never write."""
    folder = tmp_path_factory.mktemp("usual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "SQUEEZES", {sensitivity.BASELINE: sensitivity.squeeze})
        patch.setattr(context_module, "residual_checks", partial(residual_checks, draws=MIN_DRAWS))
        return _context(_study(*simulate(folder, weights=WEIGHTS, datasets=("data", "short"))))


def test_every_headline_score_is_there_once_with_its_error_and_n(usual):
    context = usual
    study, frame, axes = context.study, context.frame, context.axes
    data = benchmarks_data(context)
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


def test_the_aggregates_over_all_are_the_tables_own_and_a_models_are_its_cells_alone(usual):
    context = usual
    frame, data, axes, table = context.frame, scores_data(context), context.axes, context.aggregates
    intervals = context.intervals
    bounds = intervals[(intervals["quantity"] == "aggregate") & (intervals["unit"] == "benchmarks x models")]
    for series in data["series"]:
        dataset = axes["datasets"][series["dataset"]]["name"]
        for weight, _, value, low, high, cells in series["points"]:
            if series["group"] == series["model"] == "":
                row = table[(table["dataset"] == dataset) & (table["prompt_weight"] == weight)].iloc[0]
                kind = series["kind"]
                assert value == pytest.approx(row[kind], rel=1e-5)
                interval = bounds.query("dataset == @dataset and kind == @kind and prompt_weight == @row.prompt_weight")
                assert (low, high) == pytest.approx((interval["low"].iloc[0], interval["high"].iloc[0]), rel=1e-4)
                assert cells == 2
            elif series["group"] == "" and series["kind"] == "simple":
                rows = frame.rows[(frame.rows["dataset"] == dataset) & (frame.rows["model"] == series["model"])]
                own = rows.loc[rows["prompt_weight"] == weight, "score01"]
                assert value == pytest.approx(own.mean(), rel=1e-5)
    assert {(s["group"], s["model"]) for s in data["series"]} >= {("", ""), ("translation", "wide"), ("", "deep")}


def test_a_hole_is_a_state_of_the_grid_and_no_number_anywhere(read):
    context, _ = read(skip=lambda cell, benchmark: cell.prompt_weight == 0.1 and cell.model == "deep" and (
        benchmark == "pandalm" or cell.dataset == "short"))  # fmt: skip
    axes = context.axes
    states = {
        (axes["datasets"][row["dataset"]]["name"], axes["models"][row["model"]], axes["weights"][i]): (
            point["state"], len(point["lacks"]))
        for row in grid_data(context)["rows"] for i, point in enumerate(row["points"])
    }  # fmt: skip
    assert states["data", "deep", 0.1] == ("partial", 1)
    assert states["short", "deep", 0.1] == ("partial", 13)
    assert sum(state == ("complete", 0) for state in states.values()) == 14
    for series in scores_data(context)["series"]:
        if series["model"] == "deep" and series["group"] == "":
            assert 0.1 not in [point[0] for point in series["points"]]


def test_a_failed_stage_and_an_absent_cell_are_told(read, make_study):
    context, url = read(weights=(0.0, 1.0), datasets=("data",))
    study, cell = context.study, context.study.cells[0]
    with Registry.open(url) as registry:
        key, owner = StageKey(study="plw", scale="mini", cell=cell.cell, name="judge"), Owner.here()
        registry.claim(key, kind="judge", fingerprint="x", owner=owner, lease_timeout_s=60, now=1.0)
        registry.fail(key, owner.token, "garbage", "Traceback", now=2.0)
    again = _study(url, study.runs)
    point = grid_data(replace(context, study=again))["rows"][0]["points"][0]
    assert point["state"] == "failed"
    assert ["judge", "failed", 1, 1, "garbage"] in point["stages"]
    url, runs = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",), name="other")
    with Registry.open(url) as registry:
        first = registry.cells()[0]
        registry.ensure_cell(type(first)(**first.to_dict() | {"cell": "f" * 64, "dataset": "short", "folder": "f"}))
    study = _study(url, runs)
    rows = grid_data(_context(study))["rows"]
    assert [[point["state"] for point in row["points"]] for row in rows] == [
        ["complete", "complete"], ["missing", "missing"]]  # fmt: skip


def test_mechanism_and_curves_are_the_registrys(usual):
    context = usual
    study = context.study
    panels = mechanism_data(context)["panels"]
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
    context, _ = read(weights=(1.0,))
    curve = curves_data(context.study)["cells"][0]
    assert curve["every"] == 3
    assert curve["step"] == [2, 5, 8, 11]
    assert curve["completion_loss"][0] == pytest.approx(np.mean([1 / n + 0.2 for n in (1, 2, 3)]), rel=1e-4)


@given(st.recursive(st.text(st.characters(codec=None)) | st.integers() | st.none(), st.lists, max_leaves=6))
def test_no_text_can_leave_a_script_element(value):
    text = script_json(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value
    text.encode()
