"""The paper's tables and figures from a simulated study: their captions, their layout, and what they compare with."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from simulated_study import GROUPS, WEIGHTS, give_items, simulate, some_items
from study_frames import frame_of

import analysis.inference.sensitivity as sensitivity
from analysis.figures.axes import weight_ticks
from analysis.figures.benchmarks import BENCHMARK_FIGURES, figure_benchmarks
from analysis.figures.contours import CONTOURS
from analysis.figures.residuals import figure_residuals
from analysis.figures.theme import dataset_colours
from analysis.inference.regression import GLMM, Regression
from analysis.inference.residuals import ResidualChecks
from analysis.report.catalogue import (
    ALTS,
    FIGURES,
    TABLES,
    TITLES,
    make_figure,
    make_table,
)
from analysis.report.context import make_context
from analysis.scores.aggregates import GROUPINGS, aggregates, grouped_aggregates
from analysis.scores.benchmark_curves import Z, benchmark_curves
from analysis.scores.benchmarks import Benchmarks
from analysis.scores.frame import tidy_frame, weight_from_scale
from analysis.scores.published import OPTIMUM, TABLE_1, TABLE_3, TABLE_4
from analysis.scores.study import Study, read_study
from analysis.tables.beyond_paper import differences_table
from analysis.tables.captions import coverage
from analysis.tables.checks import residual_table
from analysis.tables.latex import latex

FIT = Regression(
    dataset="AlpacaDataShort", engine=GLMM, n=260, w=5.0, w2=-4.0, intercept=-1.0, w_se=0.5, p=0.0, optimum=0.21,
    converged=True,
)  # fmt: skip
BEYOND = {"intervals", "gains", "selection", "seeds", "groups", "benchmarks", "differences", "sensitivity"}
PAIRED = {"comparisons", "noise"}
OF_FITS = {"residuals", "table4_optima"}
CHECKS = ResidualChecks(
    residual_N=np.linspace(0.01, 0.99, 99),
    expected_N=np.linspace(0.01, 0.99, 99),
    sorted_N=np.linspace(0.01, 0.99, 99),
    band_N2=np.zeros((99, 2)), fitted_N=np.arange(99.0), w_N=np.zeros(99), conditional=True, draws=500, seed=0,
    checks=pd.DataFrame({"check": ["uniformity"], "statistic": [0.1], "p": [0.5], "meaning": ["another distribution"]}),
)  # fmt: skip
PAPER = {"table1_datasets", "table2_benchmarks", "table3_regression", "results", "stage_times"}


@pytest.fixture(scope="module", autouse=True)
def one_squeeze():
    """The table is tested here, not every fit in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "SQUEEZES", {sensitivity.BASELINE: sensitivity.squeeze})
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of five datasets without one benchmark of one cell."""
    url, runs = simulate(
        tmp_path_factory.mktemp("study"),
        weights=WEIGHTS[::3],
        datasets=("data", "cleaned", "short", "medium", "tiny"),
        skip=lambda cell, benchmark: benchmark == "arc" and (cell.dataset, cell.prompt_weight) == ("tiny", 0.0),
    )
    give_items(url, runs, some_items)
    read = read_study(url, runs, "plw", "mini")
    return read, tidy_frame(read.scores, GROUPS, read.cells)


@pytest.fixture(scope="module")
def context(study):
    return _context(*study, checks={"short": CHECKS})


def _context(read, frame, **other):
    """The context of a study whose one regression, and its checks, are given."""
    info = {name: {"task": name, "shots": 0, "metric": "acc"} for name in frame.groups}
    read = replace(read, benchmarks=Benchmarks(groups=dict(frame.groups), info=info))
    return replace(make_context(read, frame), fits=[FIT], **other)


def _tables(context):
    made = {key: make_table(context, key) for key in TABLES}
    return {key: table for key, table in made.items() if table is not None}


def _figures(context):
    made = {key: make_figure(context, key) for key in FIGURES}
    return {key: figure for key, figure in made.items() if figure is not None}


def test_every_table_is_there_and_says_what_it_rests_on(context):
    tables = _tables(context)
    assert set(tables) == BEYOND | PAPER | OF_FITS | PAIRED
    for key in BEYOND | OF_FITS | {"results", "table3_regression"}:
        caption = tables[key].caption
        for counted in ("n = 518", "40 cells", "5 datasets", "2 base models", "4 weights", "13 benchmarks", "seed 42"):
            assert counted in caption
        assert "2 scores in 2 cells (arc)" in caption
        assert ("Left out: 2 cells" in caption) == (key in {"results", "intervals", "gains", "selection", "seeds"}), key
    assert "Missing: nothing." in tables["table1_datasets"].caption
    for table in tables.values():
        assert len(table.shown) > 0
        assert r"\bottomrule" in latex(table)


def test_figures_have_a_caption_a_title_and_their_datasets_colours(context):
    figures = _figures(context)
    assert set(figures) == set(TITLES) == set(ALTS)
    assert set(CONTOURS) <= set(figures)
    assert "2 scores in 2 cells (arc)" in figures["figure4_multiple_choice"][1]
    assert "Missing: nothing." in figures["figure6_long_generation"][1]
    wanted = set(dataset_colours(context.frame.rows["dataset"]).values())
    for key in BENCHMARK_FIGURES:
        for axis in figures[key][0].axes:
            drawn = {to_hex(line.get_color()).upper() for line in axis.lines}
            assert drawn <= wanted
            assert not axis.get_visible() or len(drawn) == 5


def test_a_group_without_scores_and_a_study_without_plw_0_are_left_out(tmp_path):
    frame = frame_of(lambda *at: 0.2 + at[3] / 2 + 0.1 * (at[1] == "arc"), weights=(0.1, 0.5, 1.0))
    read = Study(name="own", scale="own", runs=tmp_path, cells=[], shown=[], stages=[], curves=_nothing(),
                 scores=frame.rows.assign(headline=True))  # fmt: skip
    context = _context(read, frame, checks={})
    assert set(_figures(context)) == {"figure1_aggregates", "figure4_multiple_choice"}
    # What base models differ by is told of the changes from the smallest weight, whichever it is.
    assert set(_tables(context)) == (BEYOND | PAPER | {"noise"}) - {"gains", "table1_datasets"}


def _nothing():
    return pd.DataFrame()


def test_groupings_are_aggregates_of_their_benchmarks_alone(study):
    _, frame = study
    grouped = grouped_aggregates(frame)
    assert set(grouped["grouping"]) == {"all benchmarks", *GROUPINGS}
    sizes = grouped.groupby("grouping")["benchmarks"].first().to_dict()
    assert (sizes["all benchmarks"], sizes["generation without translation"]) == (13, 3)
    long = aggregates(frame.of_groups(["long_generation"]))
    tiny = long[(long["dataset"] == "tiny") & (long["prompt_weight"] == 0.0)]
    assert tiny["cells"].tolist() == [2], "a cell without arc is complete where arc does not count"
    by_hand = frame.rows.query("dataset == 'tiny' and prompt_weight == 0 and group == 'long_generation'")
    assert tiny["simple"].iloc[0] == pytest.approx(by_hand["score01"].mean())


def test_curves_by_hand():
    frame = frame_of(lambda *at: 0.2 + 0.4 * (at[2] == "wide") + 0.01 * at[4], seeds=(1, 2), stderr=0.03)
    row = benchmark_curves(frame).iloc[0]
    assert (row["scores"], row["mean"]) == (4, pytest.approx(0.415))
    assert row["high"] - row["mean"] == pytest.approx(Z * 0.03 / 2), "four scores halve the standard error"
    unknown = benchmark_curves(frame_of(lambda *at: 0.5, stderr=None))
    assert unknown["low"].isna().all()
    assert benchmark_curves(frame_of(lambda *at: 0.99, stderr=0.03))["high"].eq(1).all()
    assert figure_benchmarks(unknown, "long generation") is None


def test_differences_hold_published_and_own_numbers_with_the_reason(context):
    raw = make_table(context, "differences").raw.set_index(["quantity", "dataset"])
    assert raw.loc[("R_g", "short"), "published"] == 0.082
    assert raw.loc[("R_g", "short"), "difference"] == pytest.approx(0.08 - 0.082)
    assert raw.loc[("λ*", "AlpacaDataShort"), "published"] == 0.242
    assert raw.loc[("λ*", "AlpacaDataShort"), "difference"] == pytest.approx(0.21 - 0.242)
    assert raw["reason"].str.startswith("embedded world").all()
    paper = differences_table(_nothing(), [FIT], "paper")
    rows = paper.raw.set_index("quantity")
    assert rows.loc["w_p", "difference"] == pytest.approx(5.0 - 5.59)
    assert "normaliser" in rows.loc["w_p", "reason"]
    assert paper.shown.set_index("quantity").loc["p", "published"] == "<0.001"
    assert np.isnan(rows.loc["p", "difference"])
    ratio = differences_table(_nothing(), [], "paper", {"all": {0.5: 0.2, 2.5: 0.3}, "generation": {}}).raw
    assert ratio["quantity"].tolist() == [*(f"λ* at R_g {n}" for n in ("0.5", "1", "1.5", "2", "0.5", "8"))]
    assert ratio["difference"].tolist()[0] == pytest.approx(0.2 - 0.155)
    assert ratio["difference"][1:].isna().all(), "what the model gives no optimum for is no difference of 0"
    medium = Regression(dataset="world-medium", engine=GLMM, n=10, w=1.0)
    assert differences_table(_nothing(), [medium], "mini").raw.empty, "the paper has no regression of Medium"
    own = Regression(dataset="my-chats", engine=GLMM, n=10, w=1.0)
    assert differences_table(_nothing(), [own], "own").raw.empty


def test_the_published_numbers_agree_with_each_other():
    short = TABLE_3["short"]
    assert weight_from_scale(-short["w"] / (2 * short["w2"])) == pytest.approx(OPTIMUM["short"], abs=5e-4)
    for kind in ("data", "cleaned", "short"):
        row = TABLE_1[kind]
        ratio = row["completion_mean"] / (row["instruction_mean"] + row["input_mean"])
        assert ratio == pytest.approx(row["r_g"], rel=0.01)
    for column in TABLE_4.values():
        assert sorted(column) == [number / 2 for number in range(1, 17)]


def test_coverage_counts_seeds_and_many_missing_benchmarks():
    names = ("arc", "piqa", "b", "c", "d", "e")
    frame = frame_of(lambda *at: None if (at[2], at[3], at[4]) == ("wide", 0.1, 2) else 0.1 + 0.2 * at[3],
                     benchmarks=names, seeds=(1, 2))  # fmt: skip
    words = coverage(frame)
    assert "seeds 1, 2." in words
    assert words.endswith("Missing: 6 scores in 1 cell (6 benchmarks).")


def _checks(n, p):
    residual_N = np.linspace(0.5, n - 0.5, n) / n
    return replace(
        CHECKS, residual_N=residual_N, expected_N=residual_N, sorted_N=residual_N, fitted_N=residual_N,
        band_N2=np.stack([residual_N - 0.01 * n, residual_N + 0.01 * n], axis=1),
        checks=pd.DataFrame({"check": ["dispersion", "uniformity"], "statistic": 0.1, "p": [0.7, p], "meaning": ""}),
    )  # fmt: skip


def test_the_figure_of_residuals_shows_the_tables_own_p_and_the_simulated_band():
    """An even row of residuals has p = 1 by a test that takes them for independent."""
    checks = {"short": _checks(40, 0.25), "tiny": _checks(40, 0.0004), "data": _checks(0, 1.0)}
    figure = figure_residuals(checks)
    assert len(figure.axes) == 4, "a dataset without rows is left out"
    said = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert said == ["uniformity: p = 0.250 (n = 40)", "uniformity: p <0.001 (n = 40)"]
    shown = residual_table({"short": checks["short"]}).shown.set_index("check")
    assert shown.loc["uniformity", "short, p"] == "0.250"
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    for place, ends in zip(checks["short"].expected_N, checks["short"].band_N2, strict=True):
        found = band[np.isclose(band[:, 0], place), 1]
        assert (found.min(), found.max()) == pytest.approx(tuple(ends))
    assert figure_residuals({}) is None


@pytest.mark.parametrize(("n", "points"), [(12, 0), (19, 0), (20, 2), (45, 4), (200, 8)])
def test_quartiles_of_residuals_are_lines_or_not_there(n, points):
    right = figure_residuals({"short": _checks(n, 0.5)}).axes[1]
    lines = [line for line in right.lines if line.get_color() == "#222222"]
    assert [len(line.get_xdata()) for line in lines] == [points] * (3 if points else 0)


def test_rows_of_one_fitted_value_are_one_point_of_the_quartiles():
    """Four weights have four fitted values; split into eight shares they would make lines straight up."""
    tied = replace(_checks(104, 0.5), fitted_N=np.repeat([0.2, 0.4, 0.6, 0.8], 26))
    right = figure_residuals({"short": tied}).axes[1]
    lines = [line.get_xdata() for line in right.lines if line.get_color() == "#222222"]
    assert [len(x) for x in lines] == [4] * 3
    assert all(np.diff(x).min() > 0.1 for x in lines)


def test_labels_of_weights_do_not_run_into_each_other():
    axis = mpl.figure.Figure().subplots()
    weight_ticks(axis, WEIGHTS)
    places = [tick for tick, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True) if label.get_text()]
    assert len(axis.get_xticks()) == len(WEIGHTS)
    assert (places[0], places[-1]) == (0.0, 1.0)
    assert min(np.diff(places)) > 0.085
