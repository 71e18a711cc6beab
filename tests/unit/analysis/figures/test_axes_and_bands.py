"""What a figure's axes, lines and bands must show whatever the study's weights, ratios and base models are."""

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from analysis.figures.axes import STYLES, dashes, is_hollow, short_weights, weight_ticks
from analysis.figures.benchmarks import figure_gains
from analysis.figures.contours import ratio_ticks
from analysis.figures.theme import MARKERS, dataset_colours
from analysis.report.page import WEB


def _gains(weights: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame([
        {"dataset": "short", "prompt_weight": weight, "kind": kind, "quantity": "gain over PLW 0", "unit": "benchmarks",
         "estimate": 0.1, "low": 0.05, "high": 0.15}
        for weight in weights
        for kind in ("simple", "relative")
    ])  # fmt: skip


@pytest.mark.parametrize("weights", [(1.0,), (0.01,), (0.5, 1.0), (0.01, 0.1, 1.0)])
def test_a_gain_has_its_interval_and_the_axis_begins_at_the_weight_that_it_is_from(weights):
    figure = figure_gains(_gains(weights))
    figure.draw_without_rendering()
    for axis in figure.axes:
        low, high = axis.get_xlim()
        assert low < 0.0 < high
        assert any(_is_seen(part) for part in axis.collections), "a band of no width is seen by nobody"


def _is_seen(part: mpl.collections.Collection) -> bool:
    wide, high = np.ptp(np.concatenate([path.vertices for path in part.get_paths()]), axis=0)
    return high > 0 and wide + max(part.get_linewidth()) > 0


def test_as_many_base_models_as_the_legend_says_have_a_style_of_their_own():
    assert len({(str(dashes(index)), is_hollow(index)) for index in range(STYLES)}) == STYLES


@pytest.mark.parametrize(("low", "high"), [(0.01, 5.0), (0.08, 7.7), (1.1, 1.9), (20.0, 90.0), (0.0007, 0.0009)])
def test_an_axis_of_ratios_has_ticks_over_its_whole_range(low, high):
    ticks = ratio_ticks(low, high)
    assert len(ticks) > 1
    assert low <= min(ticks)
    assert max(ticks) <= high
    assert np.log(min(ticks) / low) < 1
    assert np.log(high / max(ticks)) < 1


@pytest.mark.parametrize("weights", [(0.0, 0.5, 0.99, 0.995, 1.0), (0.0, 0.1234, 0.1236), (0.0, 1e-5, 1.0)])
def test_two_weights_have_two_labels_that_are_near_them(weights):
    names = short_weights(weights)
    assert len(set(names)) == len(weights)
    assert [float(name) for name in names] == pytest.approx(list(weights), rel=0.06)


@pytest.mark.parametrize(("weights", "turned"), [((0.0, 1.0), 0), ((0.0, 0.0022, 1.0), 90)])
def test_labels_are_turned_where_they_need_it(weights, turned):
    axis = mpl.figure.Figure().subplots()
    weight_ticks(axis, weights)
    assert {label.get_rotation() for label in axis.get_xticklabels()} == {turned}


@pytest.mark.parametrize("names", [[f"set-{letter}" for letter in "abcdefgh"], ["my-short", *"abcdefg"]])
def test_eight_datasets_have_eight_colours(names):
    """A box of figure 2 has no marker that would tell two of one colour apart."""
    assert len(set(dataset_colours(names).values())) == len(names) == len(MARKERS)


def test_the_page_has_every_marker_that_figures_have():
    drawn = re.search(r"const SHAPES = \{(.*?)\n\};", (WEB / "chart.js").read_text(), re.DOTALL)
    assert drawn is not None
    assert set(re.findall(r'^  "?([^\s":]+)"?: ', drawn[1], re.MULTILINE)) == set(MARKERS)
