"""Parts of large studies: spread evenly, whole curves over the weight, those with trouble first, and said so."""

from dataclasses import replace
from itertools import pairwise, product

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from analysis.scores.sample import MODEL_ROWS, VERDICT_ROWS, fitted_rows, spread, verdict_rows
from analysis.scores.study import shown_cells
from plw.registry.rows import CellRow, StageRow

CELL = CellRow(
    study="plw", scale="mini", cell="", dataset="short", model="wide", prompt_weight=0.0, response_weight=1.0,
    normalizer="nonzero", scope="batch", seed=0, folder="", payload="{}", created=1.0, recipe="mini",
)  # fmt: skip
STAGE = StageRow(
    study="plw", scale="mini", cell="", name="train", kind="train", fingerprint="", status="done", attempts=1
)


@given(st.integers(1, 500), st.integers(1, 500))
def test_places_are_spread_from_the_first_to_the_last(total, most):
    places = spread(total, most)
    assert places == sorted(set(places))
    assert len(places) <= min(total, most)
    assert places[0] == 0
    assert places[-1] == total - 1 or most == 1
    if most < total:
        gaps = [later - place for place, later in pairwise(places)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def rows(seeds, models=2, benchmarks=4, weights=5):
    axes = product(["short"], range(seeds), range(models), range(benchmarks), range(weights))
    return pd.DataFrame(axes, columns=["dataset", "seed", "model", "benchmark", "prompt_weight"])


def test_a_study_of_the_usual_size_is_fitted_whole():
    table = rows(10)
    part, notes = fitted_rows(table)
    assert part.equals(table)
    assert notes == []


def test_of_a_large_study_whole_seeds_are_kept_and_the_page_says_how_many():
    table = rows(100)
    part, notes = fitted_rows(table, whole=400, least=100)
    assert len(part) == 400
    assert part.groupby("seed").size().eq(40).all(), "each seed kept is whole"
    assert {0, 99} <= set(part["seed"])
    assert len(notes) == 1
    assert "400 of its 4,000 scores" in notes[0]
    assert "10 of 100 seeds" in notes[0]


def test_verdicts_are_of_all_seeds_and_base_models_that_a_study_of_thousands_of_cells_trained():
    """Ten seeds of four base models at 25 weights, 13 benchmarks, three datasets: models alone are fitted to a part."""
    table = pd.concat([rows(10, models=4, benchmarks=13, weights=25).assign(dataset=name) for name in "abc"])
    assert MODEL_ROWS < len(table) < VERDICT_ROWS
    part, notes = verdict_rows(table)
    assert part.equals(table)
    assert notes == []
    fitted, said = fitted_rows(table.reset_index(drop=True))
    assert fitted["model"].nunique() == 4, "base models are left out after seeds"
    assert 0.7 * MODEL_ROWS < len(fitted) <= MODEL_ROWS
    assert ["models use" in line for line in said] == [True] * 3


def test_of_many_datasets_each_keeps_what_a_fit_needs():
    table = pd.concat([rows(10).assign(dataset=name) for name in "abcd"], ignore_index=True)
    part, _ = fitted_rows(table, whole=400, least=200)
    assert part.groupby("dataset").size().to_dict() == dict.fromkeys("abcd", 200)


def test_a_dataset_of_which_all_is_used_is_not_named():
    table = pd.concat([rows(100), rows(10).assign(dataset="data")], ignore_index=True)
    part, notes = fitted_rows(table, whole=800, least=100)
    assert part.groupby("dataset").size().to_dict() == {"data": 400, "short": 400}
    assert [note.partition(":")[0] for note in notes] == ["short"]


def test_of_one_seed_with_many_base_models_some_models_are_kept():
    part, _ = fitted_rows(rows(1, models=50), whole=100, least=20)
    assert len(part) == 100
    assert part["model"].nunique() == 5


def cells(seeds, weights=10):
    made = [replace(CELL, seed=seed, prompt_weight=weight / 10) for seed in range(seeds) for weight in range(weights)]
    return [replace(cell, cell=f"{place:064x}") for place, cell in enumerate(made)]


def test_every_cell_of_a_study_of_the_usual_size_is_shown():
    assert shown_cells(cells(20), [], most=200) == cells(20)


def test_of_a_large_study_whole_curves_are_shown_and_those_with_trouble_first():
    all_cells = cells(100)
    failed = [replace(STAGE, cell=all_cells[place].cell, status="failed") for place in (37, 421)]
    shown = shown_cells(all_cells, failed, most=100)
    assert len(shown) <= 100
    assert {3, 42} <= {cell.seed for cell in shown}, "the curves with a failed stage"
    assert all(sum(cell.seed == seed for cell in shown) == 10 for seed in {cell.seed for cell in shown})
    assert [cell.cell for cell in shown] == sorted(cell.cell for cell in shown), "in the order of the grid"
