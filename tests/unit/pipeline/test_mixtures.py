"""A name that stands for something else in the cells to run than in finished ones is told before the first cell."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from plw.config import CellConfig
from plw.files.sealed import read_sealed_json, write_sealed_json
from plw.sweep.grid import prepare_grid
from tests.unit.pipeline.conftest import OwnStudy, run


@pytest.fixture(autouse=True)
def finished(own_study: OwnStudy) -> None:
    assert run(own_study("seed=1")).stages["generate"].status == "done"


def told(*configs: CellConfig) -> str:
    said = io.StringIO()
    prepare_grid(list(configs), Console(file=said, width=10_000))
    return said.getvalue()


def test_an_unchanged_grid_is_told_nothing(own_study: OwnStudy) -> None:
    assert "Warning" not in told(*(own_study(f"seed={seed}") for seed in (1, 2, 3)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "suite.decoding.max_new_tokens=5",
            "stage generate-own .*decoding.max_new_tokens: 4 -> 5.* a suite.name of its",
        ),
        ("suite.prompts.alpaca_eval.limit=2", "stage generate-own .*limit: null -> 2.* a suite.name of its own"),
        (
            "recipe.epochs=2",
            "recipe.name=.* stands for something else .*recipe.epochs: 1 -> 2.* a recipe.name of its own",
        ),
        ("dataset.limit=9", "dataset.name=d stands for something else .*dataset.limit: null -> 9"),
    ],
)
def test_what_changed_for_the_rest_of_a_grid_is_told_once(own_study: OwnStudy, change: str, words: str) -> None:
    said = told(*(own_study(f"seed={seed}", change) for seed in (2, 3)))
    assert said.count("Warning") == 1
    assert re.search(words, said), said


def test_a_file_that_was_edited_is_told(own_study: OwnStudy, tmp_path: Path) -> None:
    with (tmp_path / "records.json").open("r+") as file:
        text = file.read().replace("It is 3.", "It is three.")
        file.seek(0)
        file.write(text)
    assert "Warning: dataset.name=d stands for something else" in told(own_study("seed=2"))


def test_cells_that_nobody_compares_are_not_told(own_study: OwnStudy) -> None:
    said = io.StringIO()
    prepare_grid([own_study("seed=2", "dataset.limit=9")], Console(file=said, width=10_000), is_compared=False)
    assert "Warning" not in said.getvalue()


@pytest.mark.parametrize("other", ["dataset.name=e", "model.name=n"])
def test_a_recipe_goes_by_dataset_and_model(own_study: OwnStudy, other: str) -> None:
    """As the epochs of study=wit; each of its datasets was warned of."""
    assert "Warning" not in told(own_study("seed=2", other, "recipe.epochs=2"))


def test_another_name_is_another_thing(own_study: OwnStudy) -> None:
    assert "Warning" not in told(own_study("seed=2", "suite.decoding.max_new_tokens=5", "suite.name=other"))


def test_scores_of_another_lm_eval_are_told_of(own_study: OwnStudy, tmp_path: Path) -> None:
    """A finished cell is left as it is, so half of a study would be scored by each, and nobody said so."""
    stages = "stages=[train,harness]"
    run(own_study("seed=1", stages))
    assert "Warning" not in told(own_study("seed=2", stages))
    (record,) = tmp_path.rglob("harness-own/record.json")
    found = read_sealed_json(record)
    write_sealed_json(record, found | {"versions": found["versions"] | {"lm_eval": "0.4.8"}})
    (warned,) = (
        line for line in told(*(own_study(f"seed={n}", stages) for n in (2, 3))).splitlines() if "Warning" in line
    )
    assert "stage harness-own was scored by lm_eval 0.4.8 in cells done before" in warned
    assert warned.endswith("or install lm_eval==0.4.8")
