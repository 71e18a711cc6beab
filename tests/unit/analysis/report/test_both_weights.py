"""A study over both weights is asked what the published grid is asked: the same numbers in, the same findings out."""

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from analysis.published.wit_grid import (
    BENCHMARKS,
    CONVENTIONAL,
    WeightGrid,
    panels,
    read_wit_grid,
    relative_gain,
    true_average,
)
from analysis.report.both_weights import both_weights, sensitivity_panels
from analysis.report.catalogue import TABLES
from analysis.report.context import Context
from analysis.report.parts import Drawing, Paragraphs
from analysis.report.study_grid import score_rows_of_both
from analysis.report.study_grid import study_grid as grid_of_rows
from analysis.report.text import study_headline
from analysis.scores.frame import tidy_frame
from analysis.scores.study import read_study
from analysis.scores.training_records import read_model_sizes
from analysis.tables.table import Table
from plw.errors import UserError

GROUPS = dict.fromkeys(BENCHMARKS, "long_generation")


def scores_of(grid: pd.DataFrame) -> pd.DataFrame:
    """Printed scores as a registry would hold them."""
    rows = grid[grid["benchmark"].isin(BENCHMARKS)].rename(columns={"score": "value"})
    same = {
        "normalizer": "nonzero", "scope": "batch", "recipe": "wit", "seed": 23, "r_g": 1.0, "suite": "s",
        "metric": "win_rate", "stderr": 1.0, "n": 100, "headline": True, "higher_is_better": True,
    }  # fmt: skip
    return rows.assign(**same)


def context_of(scores: pd.DataFrame) -> Context:
    study = SimpleNamespace(scores=scores, benchmarks=SimpleNamespace(groups=GROUPS), cells=[])
    frame = tidy_frame(scores[scores["response_weight"] == 1.0], GROUPS)
    return context_with(study=study, frame=frame, statistics=pd.DataFrame(), verdicts=[])


def context_with(**known: Any) -> Context:
    """A context of what the chapter reads, without what the other chapters are made from."""
    unknown = {item.name: None for item in fields(Context) if item.name not in known}
    return Context(**known, **unknown)


def study_grid(context: Any) -> tuple[WeightGrid, list[str]]:
    return grid_of_rows(score_rows_of_both(context.study, context.frame))


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    return scores_of(read_wit_grid())


def test_the_published_numbers_as_a_study_give_the_published_gains(scores: pd.DataFrame) -> None:
    grid, notes = study_grid(context_of(scores))
    assert notes == []
    assert set(grid.benchmarks) == set(BENCHMARKS)
    expected = relative_gain(true_average(read_wit_grid()))
    pd.testing.assert_frame_equal(grid.gain, expected[grid.gain.columns], check_like=True)


def few(scores: pd.DataFrame) -> pd.DataFrame:
    """Two base models on one dataset: drawing fifteen panels takes long."""
    models = sorted(set(scores["model"]))[:2]
    return scores[(scores["dataset"] == "LIMA") & scores["model"].isin(models)]


def test_the_chapter_has_findings_maps_and_tables(scores: pd.DataFrame) -> None:
    parts = list(both_weights(context_of(few(scores))))
    assert isinstance(parts[0], Paragraphs)
    assert "35 pairs" in parts[0].paragraphs[0]
    assert "in 2 panels" in parts[0].paragraphs[0]
    maps = [part.key for part in parts if isinstance(part, Drawing)]
    assert maps == [
        "both_weights_map_average",
        *(f"both_weights_map_{name}" for name in sorted(BENCHMARKS)),
        "both_weights_share",
        "wit_map_regions",
        "wit_response_surface",
    ]
    tables = [part.key for part in parts if isinstance(part, Table)]
    assert tables == [
        "wit_winners", "wit_fixed_pairs", "wit_left_out", "wit_shares", "wit_equal_ratio", "wit_share_verdicts",
        "wit_choice", "wit_regions", "wit_good_pairs", "wit_ratios", "wit_magnitude", "wit_surface",
    ]  # fmt: skip
    assert not [part for part in parts if isinstance(part, Paragraphs) and part.warning], "all was computed"


def with_posix(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores, and the prompt sensitivity of every cell: the printed numbers of BBH."""
    one = scores[scores["benchmark"] == "BBH"]
    return scores, one.assign(benchmark="prompt_sensitivity", metric="posix", headline=False)


def test_sensitivity_is_laid_out_where_every_cell_has_it(scores: pd.DataFrame) -> None:
    whole = context_of(pd.concat(with_posix(scores), ignore_index=True))
    grid, _ = study_grid(whole)
    found, lacking = sensitivity_panels(whole, grid)
    assert found is not None
    pd.testing.assert_frame_equal(found, panels(read_wit_grid(), "BBH"), check_like=True)
    assert lacking == 0
    assert sensitivity_panels(context_of(scores), grid) == (None, 0)


def test_where_cells_lack_the_sensitivity_it_is_said(scores: pd.DataFrame) -> None:
    headline, posix = with_posix(few(scores))
    parts = both_weights(context_of(pd.concat([headline, posix.iloc[:-3]], ignore_index=True)))
    lines = [line for part in parts if isinstance(part, Paragraphs) for line in part.bullets]
    assert any("POSIX" in line and "3 of 70 cells lack it" in line for line in lines), lines


@pytest.mark.parametrize("other", [{"normalizer": "weights"}, {"recipe": "wit-dropout"}, {"weighting": "dft"}])
def test_sensitivity_and_preferences_are_of_the_loss_that_is_shown(scores: pd.DataFrame, other: dict[str, str]) -> None:
    """Of two variants one is shown: the other's numbers are not averaged with it."""
    headline, posix = (table.assign(weighting="") for table in with_posix(few(scores)))
    paired = posix.assign(benchmark="preferences", metric="accuracy")
    beside = pd.concat([posix, paired], ignore_index=True)
    both = pd.concat([headline, beside, beside.assign(value=beside["value"] + 50, **other)], ignore_index=True)
    context, alone = context_of(both), context_of(pd.concat([headline, beside], ignore_index=True))
    grid, _ = study_grid(alone)
    found, expected = (sensitivity_panels(one, grid)[0] for one in (context, alone))
    assert found is not None
    pd.testing.assert_frame_equal(found, expected)
    tables = [TABLES["preferences"](one) for one in (context, alone)]
    assert tables[0] is not None
    assert tables[1] is not None
    pd.testing.assert_frame_equal(tables[0].raw, tables[1].raw)


@pytest.mark.parametrize("alike", ["equal ratios", "all cells"])
def test_cells_that_are_one_training_give_no_number_that_is_none(scores: pd.DataFrame, alike: str) -> None:
    """In fp32 cells of equal ratio often end in the same scores: no test, no top and no bound follows from that."""
    grid = few(scores)
    share = (grid["prompt_weight"] / (grid["prompt_weight"] + grid["response_weight"])).round(6)
    same = ["benchmark", "model", *([share] if alike == "equal ratios" else [])]
    parts = list(both_weights(context_of(grid.assign(value=grid.groupby(same)["value"].transform("mean")))))
    texts = [line for part in parts if isinstance(part, Paragraphs) for line in (*part.paragraphs, *part.bullets)]
    texts += [str(cell) for part in parts if isinstance(part, Table) for cell in part.shown.to_numpy().ravel()]
    assert any("one training to the digit" in text for text in texts)
    assert not [text for text in texts if re.search(r"\bnan\b|Doubling both weights", text)]
    assert any("the surface is highest" in text for text in texts) == (alike == "equal ratios")
    assert any("scores of all pairs are the same" in text for text in texts) == (alike == "all cells")


def test_a_benchmark_without_gains_has_no_wins(scores: pd.DataFrame) -> None:
    zero = few(scores)
    zero = zero.assign(value=zero["value"].where(zero["benchmark"] != "IFEval", 0.0))
    (table,) = [part for part in both_weights(context_of(zero)) if isinstance(part, Table) and part.key == "wit_shares"]
    shown = table.shown.set_index("benchmark")["wins"]
    assert shown["IFEval"] == "–"
    assert shown["MMLU"] in {"0", "1", "2"}


def test_what_a_panel_lacks_is_left_out_and_said(scores: pd.DataFrame) -> None:
    lost = (scores["benchmark"] == "BBH") & (scores["model"] == scores["model"].iloc[0])
    short = (scores["prompt_weight"] == 0.4) & (scores["response_weight"] == 0.6) & (scores["dataset"] == "LIMA")
    grid, notes = study_grid(context_of(scores[~lost & ~short]))
    assert "BBH" not in grid.benchmarks
    assert (0.4, 0.6) not in grid.gain.columns
    assert [note.split(",")[0] for note in notes] == ["Left out", "1 pairs of weights are left out"]


def test_without_the_usual_loss_there_is_nothing_to_compare_with(scores: pd.DataFrame) -> None:
    usual = (scores["prompt_weight"] == CONVENTIONAL[0]) & (scores["response_weight"] == CONVENTIONAL[1])
    with pytest.raises(UserError, match=r"the usual loss \(0, 1\), which gains are measured against"):
        list(both_weights(context_of(scores[~usual])))


def test_a_study_of_the_prompt_weight_alone_has_no_such_chapter(scores: pd.DataFrame) -> None:
    assert list(both_weights(context_of(scores[scores["response_weight"] == 1.0]))) == []


def not_computed(scores: pd.DataFrame) -> list[str]:
    """The lines of the chapter on what cannot be computed."""
    parts = list(both_weights(context_of(scores)))
    assert all(isinstance(part, Table | Drawing | Paragraphs) for part in parts)
    return [line for part in parts if isinstance(part, Paragraphs) and part.warning for line in part.bullets]


def test_of_one_base_model_one_dataset_and_one_benchmark_what_can_be_said_is(scores: pd.DataFrame) -> None:
    """Each thing that cannot be computed is a line that says why."""
    one = few(scores)
    one = one[(one["model"] == one["model"].iloc[0]) & (one["benchmark"] == "IFEval")]
    lines = not_computed(one)
    for words in ("there is one base model", "cannot be tested in one panel", "of one benchmark in one panel"):
        assert any(words in line for line in lines), lines
    assert not not_computed(few(scores)[few(scores)["benchmark"] != "MMLU"])


def test_a_grid_of_a_few_pairs_says_what_it_lacks(scores: pd.DataFrame) -> None:
    pair = scores["prompt_weight"].isin([0.0, 0.2, 0.6]) & (scores["response_weight"] == 1.0)
    other = (scores["prompt_weight"] == 0.4) & (scores["response_weight"] == 0.6)
    lines = not_computed(few(scores[pair | other]))
    assert any("no two pairs of weights have one ratio" in line for line in lines), lines
    assert any("do not determine it" in line for line in lines), lines
    without = few(scores[pair | other]).assign(stderr=float("nan"))
    assert any("the error of a cell is not known" in line for line in not_computed(without))


def test_a_panel_that_has_hardly_begun_is_left_out_and_not_the_pairs_that_it_lacks(scores: pd.DataFrame) -> None:
    begun = (scores["model"] == scores["model"].iloc[0]) & (scores["dataset"] == "LIMA")
    context = context_of(scores[~begun | (scores["prompt_weight"] == 0.0)])
    study, notes = context.both_weights
    assert study.grid.average.shape == (14, 35)
    assert len(notes) == 1
    assert f"{scores['model'].iloc[0]} on LIMA" in notes[0]


def test_the_headline_says_what_the_best_pair_is_worth_where_it_was_not_chosen(scores: pd.DataFrame) -> None:
    said = study_headline(context_of(few(scores)))
    assert said.startswith("Over both weights, the best of 35 pairs (λ_p, λ_r) for all, (")
    assert "where it was chosen" in said
    assert "on a base model that had no part in it" in said
    assert "At response weight 1: No dataset has scores to compare." in said
    prompt_alone = context_of(few(scores)[few(scores)["response_weight"] == 1.0])
    assert study_headline(prompt_alone) == "No dataset has scores to compare."
    without_usual = scores[(scores["prompt_weight"] > 0) | (scores["response_weight"] < 1)]
    assert study_headline(context_of(few(without_usual))).startswith("At response weight 1: ")


def test_the_headline_names_the_benchmarks_that_it_is_without(scores: pd.DataFrame) -> None:
    """One panel without a judge, and the headline was of the other benchmarks without a word."""
    lost = (scores["benchmark"] == "BBH") & (scores["model"] == scores["model"].iloc[0])
    said = {name: study_headline(context_of(rows)) for name, rows in (("all", scores), ("most", scores[~lost]))}
    assert "gains against the usual loss (0, 1) " in said["all"]
    assert "gains against the usual loss (0, 1), without BBH, " in said["most"]


def test_a_usual_loss_that_scores_nothing_is_named(scores: pd.DataFrame) -> None:
    one = few(scores)
    usual = (one["prompt_weight"] == 0.0) & (one["response_weight"] == 1.0)
    zero = one.assign(value=one["value"].where(~usual, 0.0))
    with pytest.raises(UserError, match=r"scores 0 with .* on LIMA"):
        list(both_weights(context_of(zero)))
    of_one = one.assign(value=one["value"].where(~usual | (one["benchmark"] != "IFEval"), 0.0))
    assert list(both_weights(context_of(of_one)))


def test_several_seeds_are_the_error_of_a_cell(scores: pd.DataFrame) -> None:
    one = few(scores)
    both = pd.concat([one, one.assign(seed=24, value=one["value"] + 1)], ignore_index=True)
    study, _ = context_of(both).both_weights
    _, error = study.regions
    assert "over seeds (2 a cell)" in error.source
    usual = study.grid.average[CONVENTIONAL]
    assert (error.deviation_P * usual / 100).to_numpy() == pytest.approx(0.5)


def test_what_the_best_weights_may_go_with_is_read_from_records(
    make_study: Callable[..., tuple[str, Path]], scores: pd.DataFrame
) -> None:
    url, runs = make_study(datasets=("data",), weights=(0.0, 1.0))
    study = read_study(url, runs, "plw", "mini")
    for cell in study.cells:
        path = runs / cell.folder / "train" / "record.json"
        if cell.model == "wide":
            path.write_text(json.dumps(json.loads(path.read_text()) | {"training": {"parameters": 5}}))
        else:
            path.write_text("[")
    assert read_model_sizes(study) == {"wide": 5.0}
    context = context_of(few(scores))
    context.study.cells, context.study.runs, context.study.stages_of = study.cells, study.runs, study.stages_of
    statistics = pd.DataFrame(
        {"dataset": ["LIMA"] * 2, "r_g": [2.0, 4.0], "instruction_mean": [1.0, 3.0], "input_mean": [2.0, None]}
    )
    context = replace(context, statistics=statistics)
    known = {covariate.name: dict(covariate.values) for covariate in context.both_weights[0].covariates}
    assert known["parameters"] == {"wide": 5.0}
    assert known["generation ratio"] == {"LIMA": 3.0}
    assert known["prompt tokens"] == {"LIMA": 3.0}
    assert known["n-gram overlap"] == {}
