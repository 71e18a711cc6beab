"""A study's tables `by_dataset` and `by_model`: an entry that would set nothing is refused, any other is not."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from plw import cli
from plw.commands.choice import chosen_cell
from plw.errors import UserError

OWN = ["study=own", "scale=own", "model=folder", "model.name=m", "model.path=x", "dataset=file", "dataset.path=y"]


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()


def test_what_a_recipe_looks_up_is_set() -> None:
    words = [*OWN, "dataset.name=d", "recipe=wit", "+study.by_dataset.epochs.d=7", "+study.by_model.learning_rate.m=3"]
    recipe = chosen_cell(words).recipe
    assert (recipe.epochs, recipe.learning_rate) == (7, 3)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("by_dataset.epochs.world-shrot=5", "study.by_dataset.epochs.world-shrot: no dataset has that name"),
        ("by_model.learning_rate.world-wyde=5", "study.by_model.learning_rate.world-wyde: no model has that name"),
        # A file of conf/model, whose model is world-deep-1.
        ("by_model.precision.world-deep=bf16", "study.by_model.precision.world-deep: no model has that name"),
        ("by_model.learning_rate.m=0.001", "recipe wit-mini does not look it up and has learning_rate=0.0002"),
        ("by_dataset.batch_size.d=9", "recipe wit-mini does not look it up and has batch_size=8"),
    ],
)
def test_an_entry_that_sets_nothing_is_refused(entry: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        chosen_cell([*OWN, "dataset.name=d", "recipe=wit-mini", f"+study.{entry}"])


@pytest.mark.parametrize(
    "words",
    [
        [*OWN, "dataset.name=d", "recipe=wit-mini", "+study.by_dataset.epochs.world-few=5"],
        [*OWN, "dataset.name=d", "recipe=wit-mini", "+study.by_model.learning_rate.m=0.0002"],
        [*OWN, "dataset.name=d", "recipe=wit-mini", "+study.by_model.learning_rate.m=0.1", "recipe.learning_rate=0.01"],
        [
            "study=wit",
            "scale=paper",
            "model=mistral-7b",
            "dataset=lima",
            "recipe.epochs=1",
            "recipe.learning_rate=1e-4",
        ],
    ],
)
def test_what_is_another_cells_or_overridden_is_no_mistake(words: list[str]) -> None:
    assert chosen_cell(words)


@pytest.fixture
def planned(tmp_path, monkeypatch, capsys, tiny_llama):
    """The words of `plw plan` or `plw run` -> its first line of errors."""
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "a", "output": "b"}] * 3))
    groups = {"dataset/tix.yaml": f"name: tickets\npath: {tmp_path}/rows.json\n"}
    for name, text in groups.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True)
        (tmp_path / "conf" / name).write_text(text)
    given = ["study=own", "scale=own", "model=folder", "model.name=m", f"model.path={tiny_llama}", "recipe=wit"]
    given += [f"execution.runs={tmp_path}/runs", "stages=[train]", "execution.cost.device=gpu"]

    def call(command: str, *words: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["plw", command, *given, *words])
        with pytest.raises(SystemExit):
            cli.main()
        return " ".join(capsys.readouterr().err.split())

    return call


ROWS = ("dataset=file", "dataset.path=rows.json")


def test_a_grid_is_checked_as_a_whole(planned) -> None:
    axis = (*ROWS, "-m", "dataset.name=one,two", "loss.prompt_weight=0,1")
    assert planned("plan", *axis, "+study.by_dataset.epochs.two=3") == ""
    assert "epochs.three: no dataset has that name" in planned("plan", *axis, "+study.by_dataset.epochs.three=3")
    assert not Path("runs").exists()


def test_a_single_cell_is_checked_before_it_runs(planned) -> None:
    said = planned("run", *ROWS, "dataset.name=one", "+study.by_dataset.epochs.three=3")
    assert said.startswith("plw: study.by_dataset.epochs.three: no dataset has that name")
    assert not Path("runs").exists()


def test_names_of_a_folder_of_ones_own_are_known(planned) -> None:
    mine = ("dataset=tix", "--config-dir", "conf")
    assert planned("plan", *mine, "+study.by_dataset.epochs.tickets=3") == ""
    assert (
        planned("plan", *ROWS, "dataset.name=one", "--config-dir", "conf", "+study.by_dataset.epochs.tickets=3") == ""
    )
    assert "epochs.tix: no dataset has that name" in planned("plan", *mine, "+study.by_dataset.epochs.tix=3")
