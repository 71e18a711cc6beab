"""A user's config files and words say what they seem to say: no text becomes a number, no file is left unread."""

from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from plw.commands.choice import chosen_cell
from plw.config.own_files import check_config_dir
from plw.errors import UserError

DATASET = "name: mine\npath: rows.json\n"


@pytest.fixture(autouse=True)
def _hydra_afresh() -> None:
    GlobalHydra.instance().clear()


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "dataset/t.yaml",
            "name: no\npath: x\n",
            "t.yaml: line 1: dataset.name: no is read as false; write it in quotes",
        ),
        ("dataset/t.yaml", "path: x\nname: 1e5\n", "line 2: dataset.name: 1e5 is read as 100000.0"),
        ("dataset/t.yaml", "name: 007\n", "line 1: dataset.name: 007 is read as 7"),
        ("dataset/t.yaml", "revision: 1234567e12\n", "line 1: dataset.revision: 1234567e12 is read as 1.23"),
        ("dataset/t.yaml", "columns:\n  output: off\n", "line 2: dataset.columns.output: off is read as false"),
        ("dataset/t.yaml", "limit: 010\n", "line 1: dataset.limit: 010 is read as 8; write it as a plain decimal"),
        ("dataset/t.yaml", "limit: 1:30\n", "line 1: dataset.limit: 1:30 is read as 90"),
        ("suite/t.yaml", "tasks:\n  a:\n    task: 1e3\n", "line 3: suite.tasks.a.task: 1e3 is read as 1000.0"),
        ("loss/factor/t.yaml", "kind: yes\n", "line 1: loss.factor.kind: yes is read as true"),
        ("study/t.yaml", "# @package _global_\nstudy:\n  name: on\n", "line 3: study.name: on is read as true"),
        ("dataset/t.yaml", "name: a\0\n", r"t.yaml: not valid YAML \(U\+0000 at character 8\)"),
        ("dataset/t.yml", DATASET, "t.yml: is not read; the names of config files end in .yaml"),
        (
            "config.yaml",
            "seed: 1\n",
            "config.yaml: is not read, since conf/config.yaml comes first; fields that belong",
        ),
        ("dataset/lima.yaml", DATASET, "lima.yaml: is not read, since conf/dataset/lima.yaml comes first; rename it"),
    ],
)
def test_what_would_be_read_as_something_else(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_config_dir(write(tmp_path, name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dataset/t.yaml", "name: 'no'\npath: 2024-01-01\nlimit: 1_000\ntarget_ratio: 1e-1\nrevision: null\n"),
        ("template/t.yaml", "name: t\nend_of_sequence: no\n"),
        ("dataset/t.yaml", "name: ${oc.env:HOME}\npath: 12\n"),
        ("task/t.yaml", "task: no\n"),
    ],
)
def test_what_is_read_as_it_stands(tmp_path: Path, name: str, text: str) -> None:
    check_config_dir(write(tmp_path, name, text))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("dataset.name=1e5", "1e5 would be read as 100000.0; write it in quotes: 'dataset.name=\"1e5\"'"),
        ("model.name=true", "true would be read as True"),
        ("+model.revision=12e3456", "12e3456 would be read as inf"),
        ("+dataset.columns.input=1_0", "1_0 would be read as 10"),
    ],
)
def test_a_word_that_would_be_another(word: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen_cell([word])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense: chat\n", "dataset/t.yaml: dataset.nonsense: no such field; allowed: name, path, "),
        ("columns: [input]\n", "dataset/t.yaml: .*is a list where fields with names belong; write NAME: VALUE"),
        ("columns: {input: {a: b}}\n", r"dataset.columns.input=\{'a': 'b'\} is no text; give one"),
    ],
)
def test_a_mistake_of_form_names_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        chosen_cell(["dataset=t"], write(tmp_path, "dataset/t.yaml", DATASET + text))
