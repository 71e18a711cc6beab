"""A folder of the user's own groups serves every command that composes a config, and is named where it is not there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra.core.global_hydra import GlobalHydra
from typer.testing import CliRunner

from plw.cli import app
from plw.commands.choice import chosen_cell
from plw.config.overrides import quoted
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COMMANDS = [("status",), ("report",), ("registry", "export"), ("registry", "rebuild"), ("plan",)]


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """A study, a dataset and a suite; the folder's name holds letters of Hydra's grammar."""
    folder, data = tmp_path / "my groups, a=b (1)", tmp_path / "rows.json"
    data.write_text(json.dumps([{"instruction": "Say it.", "output": "It is said and done."}] * 3))
    for name, text in {
        "study/mine.yaml": "# @package _global_\nstudy:\n  name: mine\nseed: 7\n",
        "dataset/mine.yaml": f"name: mine\npath: {data}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    return folder


def test_its_choices_are_composed_beside_our_own(groups: Path) -> None:
    config = chosen_cell(["study=mine", "dataset=mine", "model=folder", "model.name=m", "model.path=x"], groups)
    assert (config.study.name, config.seed, config.dataset.name, config.model.name) == ("mine", 7, "mine", "m")


def test_without_the_folder_its_choices_are_unknown(groups: Path) -> None:
    with pytest.raises(UserError, match="study/mine"):
        chosen_cell(["study=mine"])
    with pytest.raises(UserError, match=r"--config-dir .*nowhere: no such folder"):
        chosen_cell([], groups / "nowhere")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: [x\npath: y\n", ["bad.yaml: line 2", "not valid YAML"]),
        (b"name: x\n\tpath: y\n", ["bad.yaml: line 2", "not valid YAML"]),
        (b"name: x\nname: y\npath: z\n", ["bad.yaml: line 2", "duplicate"]),
        ("name: x\npath: y\n".encode("utf-16"), ["bad.yaml", "not UTF-8"]),
        (b"name: x\npath: y\nnonsense: 1\n", ["dataset/bad", "nonsense"]),
        (b"name: x\npath: y\nlimit: many\n", ["dataset/bad", "dataset.limit", "many"]),
        (b"- a\n- b\n", ["dataset/bad"]),
        (b"defaults:\n  - nosuch\nname: x\npath: y\n", ["dataset/nosuch"]),
    ],
)
def test_a_mistake_in_a_file_of_the_folder_is_one_line(content: bytes, words: list[str], groups: Path) -> None:
    (groups / "dataset" / "bad.yaml").write_bytes(content)
    for command in ("plan", "status"):
        done = CliRunner().invoke(app, [command, "dataset=bad", "--config-dir", str(groups)])
        assert isinstance(done.exception, UserError), done.exception
        line = str(done.exception)
        assert "\n" not in line
        assert all(word in line for word in words), line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_it(command: tuple[str, ...], groups: Path, tmp_path: Path) -> None:
    """With the folder a command comes as far as the runs folder, or the model; without it the study is unknown."""
    here = [f"execution.runs={quoted(str(tmp_path / 'runs'))}", f"execution.cache={quoted(str(tmp_path / 'cache'))}"]
    words = [*command, "study=mine", "scale=own", "suite=piqa", *here, "model.path=/nowhere"]
    found = CliRunner().invoke(app, [*words, "--config-dir", str(groups)])
    assert "study/mine" not in found.output + str(found.exception)
    assert any(path in str(found.exception) for path in (str(tmp_path / "runs"), "/nowhere")), found.exception
    lost = CliRunner().invoke(app, words)
    assert "study/mine" in str(lost.exception)


def test_a_study_of_ones_own_has_its_own_grid(groups: Path, tiny_llama: Path, tmp_path: Path) -> None:
    axes = "hydra:\n  sweeper:\n    params:\n      loss.prompt_weight: 0,0.1,1\n      seed: 1,2\n"
    with (groups / "study" / "mine.yaml").open("a") as file:
        file.write(axes)
    here = [f"execution.runs={quoted(str(tmp_path / 'runs'))}", f"execution.cache={quoted(str(tmp_path / 'cache'))}"]
    words = ["study=mine", "scale=own", "dataset=mine", "model=folder", "model.name=m", f"model.path={tiny_llama}"]
    done = CliRunner().invoke(app, ["plan", *words, "--config-dir", str(groups), "suite=piqa", "stages=[train]", *here])
    assert done.exit_code == 0, done.exception
    assert "mine-own: 6 cells" in done.output


@pytest.mark.parametrize("command", ["stats", "recommend"])
def test_a_dataset_of_ones_own_can_be_named(
    command: str, groups: Path, tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    tiny_tokenizer.save_pretrained(tmp_path / "tokenizer")
    words = [command, "mine", "--tokenizer", str(tmp_path / "tokenizer"), f"execution.runs={tmp_path}"]
    done = CliRunner().invoke(app, [*words, "--config-dir", str(groups)])
    assert done.exit_code == 0, done.exception
    assert "mine" in done.output
    lost = CliRunner().invoke(app, words)
    assert isinstance(lost.exception, UserError)
    assert "world-short" in str(lost.exception), "it lists the datasets that are known"
