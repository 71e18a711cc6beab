"""`suite.data=FOLDER`: every benchmark's local file from one folder, found by its name or missed in one line."""

import dataclasses
from pathlib import Path

import pytest

from plw.commands.choice import chosen_cell
from plw.config import PromptSetConfig, SuiteConfig, TaskConfig, identity_fields
from plw.config.evaluation import check_local_files_are_read
from plw.errors import UserError

NAMES = ("piqa.jsonl", "answers.json")


def suite(data: Path | None, **task: object) -> SuiteConfig:
    fields: dict[str, object] = {"task": "piqa", "group": "multiple_choice", "local": {"validation": NAMES[0]}}
    return SuiteConfig(
        name="s",
        data=None if data is None else str(data),
        tasks={"piqa": TaskConfig(**(fields | task))},  # type: ignore[arg-type]
        prompts={"long": PromptSetConfig(protocol="alpaca_eval", prompts="elsewhere.json", local=NAMES[1])},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, name in zip(("tasks/multiple", "judges"), NAMES, strict=True):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / name).write_text("[]")
    return tmp_path


def test_files_are_found_at_any_depth_and_change_no_identity(folder: Path) -> None:
    found = suite(folder)
    assert found.tasks["piqa"].files == {"validation": str(folder / "tasks/multiple" / NAMES[0])}
    assert found.prompts["long"].prompts == str(folder / "judges" / NAMES[1])
    assert dataclasses.replace(found, limit=3).tasks["piqa"].files == found.tasks["piqa"].files
    # Files are known by their content: paths stand in the config alone.
    given = suite(None, files={"validation": str(folder / "tasks/multiple" / NAMES[0])})
    given.prompts["long"].prompts = str(folder / "judges" / NAMES[1])
    assert identity_fields(found) == identity_fields(given)


def test_a_file_given_for_the_benchmark_itself_comes_first(folder: Path) -> None:
    assert suite(folder, files={"validation": "mine.jsonl"}).tasks["piqa"].files == {"validation": "mine.jsonl"}


def test_without_a_folder_nothing_is_looked_for() -> None:
    assert suite(None).tasks["piqa"].files == {}
    assert suite(None).prompts["long"].prompts == "elsewhere.json"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_missing_or_there_twice_is_one_line(folder: Path, name: str) -> None:
    (found,) = folder.rglob(name)
    second = folder / "copy" / name
    second.parent.mkdir()
    second.write_text("[]")
    with pytest.raises(UserError, match=rf"{name} .* is there 2 times"):
        suite(folder)
    for path in (found, second):
        path.unlink()
    with pytest.raises(UserError, match=rf"suite\.data={folder}: {name} is not in it \(suite\."):
        suite(folder)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        suite(tmp_path / "none")
    with pytest.raises(UserError, match="no such folder"):
        SuiteConfig(name="s", data=str(tmp_path / "none"))


def test_a_folder_that_no_benchmark_reads_is_refused(folder: Path) -> None:
    check_local_files_are_read(suite(folder))
    check_local_files_are_read(suite(None))
    with pytest.raises(UserError, match=rf"suite\.data={folder}: no benchmark of suite s names a file"):
        check_local_files_are_read(dataclasses.replace(suite(folder), tasks={}, prompts={}))
    words = [
        "study=own",
        "scale=own",
        "model=world-wide-1",
        "dataset=world-short",
        "suite=world",
        f"suite.data={folder}",
    ]
    with pytest.raises(UserError, match="no benchmark of suite world names a file"):
        chosen_cell(words, None)
