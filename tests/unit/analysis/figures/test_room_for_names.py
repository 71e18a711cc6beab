"""Long names, many datasets and many weights: no label leaves its figure, and none lies on another."""

import warnings
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from simulated_study import GROUPS, give_items, right_or_wrong

import analysis.report.context as context_module
from analysis.figures.heat_maps import heat_maps, share_figure
from analysis.figures.theme import short_names
from analysis.figures.weight_surface import surface_figure
from analysis.inference.weight_surface import SURFACE_PLACES
from analysis.report.catalogue import make_figure
from analysis.report.context import make_context
from analysis.scores.benchmarks import Benchmarks
from analysis.scores.frame import tidy_frame
from analysis.scores.study import read_study

LONG = "a-name-that-was-made-of-a-path-and-of-all-the-settings-of-a-run-2026-11-29"
DRAWN = ("figure1_aggregates", "figure2_mechanism", "figure4_multiple_choice", "figure_gains", "figure_forest")


@given(st.lists(st.text("ab-", max_size=30), max_size=20, unique=True), st.integers(8, 20))
def test_shown_names_are_short_and_differ(names, most):
    shown = short_names(names, most)
    assert list(shown) == names
    assert len(set(shown.values())) == len(names)
    assert all(len(short) <= most for short in shown.values())
    # A name is cut for want of room alone; a short one may get its number where a cut one looks like it.
    assert all(shown[name] == name for name in names if len(name) < most and "…" not in shown[name])


def test_names_alike_at_both_ends_are_shown_where_they_differ():
    names = [f"a_benchmark_number_{number}_of_a_long_name" for number in (7, 12, 31)]
    shown = list(short_names(names, 24).values())
    assert [number in text for number, text in zip(("_7_", "_12_", "_31_"), shown, strict=True)] == [True] * 3
    assert all(len(text) <= 24 for text in shown)


def test_letters_that_no_font_has_are_boxes_and_such_names_still_differ():
    # Of the private use area, for which fonts of words have no picture.
    first, second = "\uf8f0\uf8f1", "\uf8f2\uf8f3"
    shown = short_names([first, second, "plain"], 20)
    assert shown[first] == "□□"
    assert shown[second] != shown[first]
    assert shown["plain"] == "plain"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("datasets", "weights"),
    [
        ([f"{LONG}-{number}" for number in range(3)], (0.0, 0.1, 1.0)),
        ([f"set-{number}" for number in range(5)], (0.0, 1.0)),
        (["data"], tuple(np.linspace(0, 1, 30).round(4))),
    ],
    ids=["long names", "many datasets", "many weights"],
)
def test_labels_keep_to_their_place(make_study, monkeypatch, datasets, weights):
    for name, empty in (("regressions", list), ("scope_verdicts", list)):
        monkeypatch.setattr(context_module, name, lambda rows, empty=empty: empty())
    for number in range(3):
        monkeypatch.setitem(GROUPS, f"{LONG}-{number}", "multiple_choice")
    url, runs = make_study(weights=weights, datasets=tuple(datasets), models=(f"model-{LONG}", "wide"))
    give_items(url, runs, lambda cell: right_or_wrong("arc", np.arange(40) < 10 + 20 * cell.prompt_weight))
    read = replace(read_study(url, runs, "plw", "mini"), benchmarks=Benchmarks(groups=dict(GROUPS), info={}))
    context = make_context(read, tidy_frame(read.scores, GROUPS, read.cells))
    for key in DRAWN:
        made = make_figure(context, key)
        assert made is not None
        _labels_have_room(made[0], key)


def _labels_have_room(figure, key):
    with warnings.catch_warnings():
        # "constrained_layout not applied"
        warnings.simplefilter("error", UserWarning)
        figure.draw_without_rendering()
    axes = [*figure.axes, *(child for axis in figure.axes for child in axis.child_axes)]
    titles = [child for axis in axes for child in axis.get_children() if isinstance(child, Text)]
    entries = [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in (*titles, *entries) if text.get_text()]
    for said, box in boxes:
        assert min(box.x0, figure.bbox.width - box.x1) > -2, (key, said)
    for (said, box), (other, beside) in combinations(boxes, 2):
        assert not box.shrunk(0.9, 0.9).overlaps(beside.shrunk(0.9, 0.9)), (key, said, other)
    for axis in axes:
        shown = [label for label in axis.get_xticklabels() if label.get_text()]
        places = sorted(label.get_window_extent().x0 for label in shown if label.get_rotation() not in (0, 90))
        # Aslant, neighbours need the height of a letter.
        assert all(np.diff(places) > 0.07 * figure.dpi), key


@pytest.mark.parametrize("datasets", [[LONG], [f"{LONG}-{number}" for number in range(5)]])
@pytest.mark.parametrize("models", [1, 7])
def test_maps_over_both_weights_keep_to_their_place(datasets, models):
    names = [f"organisation/{LONG}-{number}" for number in range(models)]
    panels = pd.MultiIndex.from_product([datasets, names], names=["dataset", "model"])
    weights = pd.MultiIndex.from_product([(0.0, 0.5, 1.0), (0.5, 1.0)], names=["prompt_weight", "response_weight"])
    values = pd.DataFrame(np.random.default_rng(0).normal(size=(len(panels), 6)), index=panels, columns=weights)
    maps = heat_maps(values, unit="percent", diverging=True)
    for figure, key in ((maps, "heat_maps"), (share_figure(values), "share_figure")):
        _labels_have_room(figure, key)
        boxes = [axis.get_window_extent() for axis in figure.axes if axis.axison and axis.get_label() != "<colorbar>"]
        assert min(min(box.width, box.height) for box in boxes) > 0.08 * figure.dpi
        for axis in figure.axes:
            label = axis.yaxis.label.get_window_extent()
            assert label.y0 > -2
            assert label.y1 < figure.bbox.height + 2


@pytest.mark.parametrize("scopes", [1, 3])
def test_surfaces_keep_to_their_place(scopes):
    place_N = np.linspace(0, 1, SURFACE_PLACES)
    places_M2 = np.array([(prompt, response) for prompt in place_N for response in place_N])
    surfaces = [
        SimpleNamespace(
            scope=f"{number} {LONG}", places_M2=places_M2, value_M=places_M2.sum(axis=1), tops_Z2=np.zeros((3, 2)),
            top=(0.1, 1.0),
        )
        for number in range(scopes)
    ]  # fmt: skip
    _labels_have_room(surface_figure(surfaces), "surface_figure")
