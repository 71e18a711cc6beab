"""A study over both weights is asked what the published grid is asked: the same numbers in, the same findings out."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from analysis.published.wit_grid import (
    BENCHMARKS,
    CONVENTIONAL,
    panels,
    read_wit_grid,
    relative_gain,
    true_average,
)
from analysis.report.both_weights import both_weights, sensitivity_panels, study_grid
from analysis.report.parts import Drawing, Paragraphs
from analysis.scores.frame import tidy_frame
from analysis.tables.table import Table
from plw.errors import UserError

GROUPS = dict.fromkeys(BENCHMARKS, "long_generation")


def scores_of(grid: pd.DataFrame) -> pd.DataFrame:
    """Printed scores as a registry would hold them."""
    rows = grid[grid["benchmark"].isin(BENCHMARKS)].rename(columns={"score": "value"})
    fields = {
        "normalizer": "nonzero", "scope": "batch", "recipe": "wit", "seed": 23, "r_g": 1.0, "suite": "s",
        "metric": "win_rate", "stderr": 1.0, "n": 100, "headline": True, "higher_is_better": True,
    }  # fmt: skip
    return rows.assign(**fields)


def context_of(scores: pd.DataFrame) -> Any:
    study = SimpleNamespace(scores=scores, benchmarks=SimpleNamespace(groups=GROUPS))
    frame = tidy_frame(scores[scores["response_weight"] == 1.0], GROUPS)
    return SimpleNamespace(study=study, frame=frame)


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
    ]
    tables = [part.key for part in parts if isinstance(part, Table)]
    assert tables == ["wit_winners", "wit_fixed_pairs", "wit_left_out", "wit_shares", "wit_equal_ratio"]


def test_sensitivity_is_laid_out_where_every_cell_has_it(scores: pd.DataFrame) -> None:
    one = scores[scores["benchmark"] == "BBH"]
    posix = one.assign(benchmark="prompt_sensitivity", metric="posix", headline=False)
    whole = context_of(pd.concat([scores, posix], ignore_index=True))
    grid, _ = study_grid(whole)
    pd.testing.assert_frame_equal(sensitivity_panels(whole, grid), panels(read_wit_grid(), "BBH"), check_like=True)
    assert sensitivity_panels(context_of(pd.concat([scores, posix.iloc[:-1]], ignore_index=True)), grid) is None
    assert sensitivity_panels(context_of(scores), grid) is None


def test_what_a_panel_lacks_is_left_out_and_said(scores: pd.DataFrame) -> None:
    lost = (scores["benchmark"] == "BBH") & (scores["model"] == scores["model"].iloc[0])
    short = (scores["prompt_weight"] == 0.4) & (scores["response_weight"] == 0.6) & (scores["dataset"] == "LIMA")
    grid, notes = study_grid(context_of(scores[~lost & ~short]))
    assert "BBH" not in grid.benchmarks
    assert (0.4, 0.6) not in grid.gain.columns
    assert [note.split(",")[0] for note in notes] == ["Left out", "1 pairs of weights are left out"]


def test_without_the_usual_loss_there_is_nothing_to_compare_with(scores: pd.DataFrame) -> None:
    usual = (scores["prompt_weight"] == CONVENTIONAL[0]) & (scores["response_weight"] == CONVENTIONAL[1])
    with pytest.raises(UserError, match=r"with \(0, 1\) among them"):
        list(both_weights(context_of(scores[~usual])))


def test_a_study_of_the_prompt_weight_alone_has_no_such_chapter(scores: pd.DataFrame) -> None:
    assert list(both_weights(context_of(scores[scores["response_weight"] == 1.0]))) == []
