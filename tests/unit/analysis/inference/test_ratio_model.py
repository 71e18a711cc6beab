"""The ratio model of a study: three aggregates, Table 4 beside the published one, refusals told, contours drawn."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from simulated_study import GROUPS, RATIOS, WEIGHTS

from analysis.figures.contours import CONTOURS, contour_caption, contour_figure
from analysis.figures.theme import picture
from analysis.gam.fit import fit_gam
from analysis.gam.surface import surface
from analysis.inference.ratio_model import AGGREGATES, optima_by_ratio, ratio_fits
from analysis.scores.frame import tidy_frame
from analysis.tables.ratio_model import table_4


def study(datasets=("data", "cleaned", "short"), weights=WEIGHTS):
    """Multiple choice rises with the weight, short generation falls, the others know nothing of it."""
    generator, rows = np.random.default_rng(2), []
    for dataset, model, weight, (benchmark, group) in product(datasets, ("wide", "deep"), weights, GROUPS.items()):
        slope = {"multiple_choice": 0.3, "short_generation": -0.3}.get(group, 0.0)
        rows.append({
            "dataset": dataset, "model": model, "prompt_weight": weight, "response_weight": 1.0, "seed": 42,
            "normalizer": "nonzero", "scope": "batch", "r_g": RATIOS[dataset], "suite": "world", "benchmark": benchmark,
            "metric": "acc", "value": 0.5 + slope * weight + generator.normal(0, 0.02), "stderr": 0.03, "n": 100,
            "headline": True,
        })  # fmt: skip
    return tidy_frame(pd.DataFrame(rows), GROUPS)


@pytest.fixture(scope="module")
def frame():
    """Ten weights, three ratios, two base models, thirteen benchmarks."""
    return study()


@pytest.fixture(scope="module")
def of_all(frame):
    return ratio_fits(frame)


def test_each_aggregate_is_fitted_to_its_benchmarks(frame, of_all):
    fits = {item.aggregate: item for item in of_all}
    assert list(fits) == list(AGGREGATES)
    assert [len(item.fit.benchmarks) for item in fits.values()] == [13, 4, 3]
    assert fits["generation"].fit.benchmarks == ("alpaca_eval", "pandalm", "truthful_gen")
    rows = frame.rows[frame.rows["group"] == "multiple_choice"]
    same = fit_gam(rows["scaled"], rows["prompt_weight"], rows["r_g"], list(rows["benchmark"]))
    assert fits["multiple choice"].fit.score == same.score
    assert {best.plw for best in fits["multiple choice"].optima} == {1.0}
    assert len(fits["all"].points) == 30
    assert set(fits["all"].points["n"]) == {26}


def test_table_4_has_the_papers_rows_and_numbers_and_ours_within_the_datas_ratios(of_all):
    table = table_4(of_all)
    assert table.shown["R_g"].tolist() == [f"{half / 2:.1f}" for half in range(16, 0, -1)]
    printed = dict(zip(table.shown["R_g"], table.shown["all, paper"], strict=True))
    assert (printed["0.5"], printed["1.5"], printed["2.0"], printed["2.5"]) == ("0.155", "0.183", "0.239", "*")
    assert table.shown.set_index("R_g").loc["8.0", "generation, paper"] == "0.654"
    inside = table.raw["optimum"].notna()
    assert set(table.raw.loc[inside, "r_g"]) == {half / 2 for half in range(1, 16) if half / 2 <= max(RATIOS.values())}
    assert table.shown.set_index("R_g").loc["8.0", "all"] == "–"
    assert (table.raw["low"] <= table.raw["optimum"])[inside].all()
    assert "780 scores of 13 benchmarks" in table.caption
    ours = optima_by_ratio(of_all)["multiple choice"]
    assert set(ours) == set(table.raw.loc[inside, "r_g"])
    assert set(ours.values()) <= {1.0, None}


def test_fewer_than_three_ratios_are_refused_and_said():
    frame = study(datasets=("data", "short"), weights=(0.0, 0.1, 1.0))
    # Two tokenizers give one dataset two ratios; that is no third dataset.
    rows = frame.rows.assign(r_g=frame.rows["r_g"] + 1e-9 * (frame.rows["model"] == "deep"))
    fits = ratio_fits(type(frame)(rows=rows, missing=frame.missing, notes=()))
    assert all(item.fit is None for item in fits)
    assert fits[0].refusal == (
        "the ratio model needs datasets of 3 different generation ratios or more; found short 0.08, data 3.2"
    )
    table = table_4(fits)
    assert (table.shown["all"] == "–").all()
    assert "No model of all: the ratio model needs" in table.caption
    assert all(item.fit is None for item in fits)
    assert optima_by_ratio(fits) == {}


def test_an_aggregate_without_benchmarks_is_refused_alone(frame):
    rows = frame.rows[frame.rows["group"] == "multiple_choice"]
    refusals = {
        item.aggregate: item.refusal for item in ratio_fits(type(frame)(rows=rows, missing=frame.missing, notes=()))
    }
    assert refusals["multiple choice"] == ""
    assert "found none" in refusals["generation"]


def test_the_surface_is_the_mean_over_benchmarks_on_the_grid(of_all):
    fit = of_all[1].fit
    drawn = surface(fit)
    assert drawn.score_YM.shape == (len(drawn.ratio_Y), len(drawn.weight_M)) == drawn.error_YM.shape
    at = pd.DataFrame({"b": fit.benchmarks, "w": drawn.weight_M[7], "r": drawn.ratio_Y[11]})
    assert drawn.score_YM[11, 7] == pytest.approx(fit.predict(at["w"], at["r"], list(at["b"]))[0].mean())


def test_the_contours_are_drawn_the_same_each_time(frame, of_all):
    fits, again = of_all, ratio_fits(frame)[0]
    assert {item.aggregate for item in fits if item.fit is not None} == set(CONTOURS.values())
    assert picture(contour_figure(fits[0]), "png") == picture(contour_figure(again), "png")
    for item in fits:
        assert contour_figure(item).get_size_inches()[0] == pytest.approx(3.3)
        assert "R_g 0.08 to 7.7" in contour_caption(item)
    labels = [text.get_text() for text in contour_figure(fits[0]).axes[0].texts]
    assert labels == ["data", "cleaned", "short"]
