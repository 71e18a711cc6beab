"""Every figure draws names as they are: a `$` in one is no mathematics, and what looks like LaTeX is not parsed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from simulated_study import GROUPS, RATIOS, WEIGHTS, give_items, right_or_wrong

import analysis.report.context as context_module
from analysis.figures.heat_maps import heat_maps, share_figure
from analysis.figures.lengths import length_figure
from analysis.figures.theme import RC, picture
from analysis.figures.weight_surface import surface_figure
from analysis.inference.weight_surface import SURFACE_PLACES
from analysis.report.catalogue import FIGURES, make_figure
from analysis.report.context import make_context
from analysis.scores.benchmarks import Benchmarks
from analysis.scores.frame import tidy_frame
from analysis.scores.study import read_study

BENCHMARK, DATASET, MODEL = r"cost_$\foo$_x", r"set $\bar{$ $x$", r"$\frac$ 100% a_b"
"""The second and the third have mathematics that parses beside such that does not."""
OWN = {
    r"transformed prompt weight $w_p$ = PLW$^{\,0.301}$",
    r"prompt loss weight (PLW), spaced as $w_p$ = PLW$^{\,0.301}$",
    r"generation ratio $R_g$",
}
"""The figures' own mathematics."""


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setitem(RC, "savefig.dpi", 30)
    monkeypatch.setattr(context_module, "regressions", lambda rows: [])
    monkeypatch.setattr(context_module, "scope_verdicts", lambda frame: [])
    monkeypatch.setattr(context_module, "sensitivity", lambda rows: pd.DataFrame())


def _of_the_report(make_study, monkeypatch):
    for kind, name in (("multiple_choice", BENCHMARK), ("long_generation", f"{BENCHMARK} long")):
        monkeypatch.setitem(GROUPS, name, kind)
    monkeypatch.setitem(RATIOS, DATASET, 0.5)
    url, runs = make_study(weights=WEIGHTS[::3], datasets=(DATASET, "data", "short", "cleaned"), models=(MODEL, "wide"))
    give_items(url, runs, lambda cell: right_or_wrong(BENCHMARK, np.arange(40) < 10 + 20 * cell.prompt_weight))
    read = read_study(url, runs, "plw", "mini")
    read = replace(read, benchmarks=Benchmarks(groups=dict(GROUPS), info={}))
    made = make_context(read, tidy_frame(read.scores, GROUPS, read.cells))
    residual_N = np.linspace(0.01, 0.99, 50)
    checks = SimpleNamespace(
        residual_N=residual_N, fitted_N=residual_N, expected_N=residual_N, sorted_N=residual_N,
        band_N2=np.stack([residual_N, residual_N], axis=1), checks=pd.DataFrame({"check": ["uniformity"], "p": [0.5]}),
    )  # fmt: skip
    context = replace(made, checks={DATASET: checks})
    return {key: figure for key in FIGURES if (figure := make_figure(context, key)) is not None}


def _of_both_weights():
    pairs = pd.MultiIndex.from_product([(0.0, 0.5, 1.0), (0.5, 1.0)], names=["prompt_weight", "response_weight"])
    panels = pd.MultiIndex.from_tuples([(DATASET, MODEL), (DATASET, "wide")], names=["dataset", "model"])
    values = pd.DataFrame(np.arange(12.0).reshape(2, 6), index=panels, columns=pairs)
    place_N = np.linspace(0, 1, SURFACE_PLACES)
    places_M2 = np.array([(prompt, response) for prompt in place_N for response in place_N])
    surface = SimpleNamespace(
        scope=DATASET, places_M2=places_M2, value_M=places_M2.sum(axis=1), tops_Z2=np.zeros((3, 2)), top=(0.1, 1.0)
    )
    return [heat_maps(values, unit=BENCHMARK, diverging=True), share_figure(values), surface_figure([surface])]


def _drawn(figure):
    """The texts of a figure that has been drawn; drawing it is what fails on mathematics that does not parse."""
    for kind in ("png", "pdf"):
        assert picture(figure, kind)
    return [text for text in figure.findobj(Text) if text.get_text()]


def _names(figure):
    texts = _drawn(figure)
    parsed = {text.get_text() for text in texts if text.get_parse_math() and "$" in text.get_text()}
    assert parsed <= OWN
    return " ".join(text.get_text() for text in texts)


@pytest.mark.slow
def test_no_figure_of_a_report_parses_a_name(make_study, monkeypatch):
    figures = {key: figure for key, (figure, _) in _of_the_report(make_study, monkeypatch).items()}
    assert set(figures) == set(FIGURES)
    words = {key: _names(figure) for key, figure in figures.items()}
    assert all(DATASET in said for said in words.values())
    assert MODEL in words["figure1_aggregates"]
    assert all(
        BENCHMARK in words[key] for key in ("figure4_multiple_choice", "figure6_long_generation", "figure_forest")
    )


def test_no_figure_of_both_weights_parses_a_name():
    for figure in _of_both_weights():
        assert DATASET in _names(figure)


def test_lengths_within_a_decade_have_plain_labels():
    length_E = np.array([1, 2, 2])
    assert "$" not in _names(length_figure(length_E, length_E, length_E, 8))
