"""A changed task of one's own is another task: its file of whatever name, what that includes, its functions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plw.evaluate.lm_eval.definition import task_definitions
from plw.files.hashing import file_hash
from plw.paths import task_folder

FILES = {
    "some_file.yaml": "include: base_yaml\ntask: mine\ndoc_to_text: !function words.text\n"
    "process_docs: !function lm_eval.utils.of_the_library\n",
    "base_yaml": "include: [deep/base.yaml]\ndataset_path: json\n",
    "deep/base.yaml": 'doc_to_target: !function "more.target"\n',
    "deep/more.py": "def target(doc): return 1\n",
    "words.py": "def text(doc): return 'a'\n",
    "deep/group.yaml": "group: all\ntask:\n  - mine\n  - task: single\n  - mmlu\n",
    "single.yaml": "task: single\n",
    "other.yaml": "task: other\n",
    "other.py": "def text(doc): return 'a'\n",
    "broken.yaml": "task: [\n",
    "list.yaml": "- task: mine\n",
}


def task_definition(folder: Path, name: str) -> str | None:
    return task_definitions((folder,), [name])[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


OF_MINE = {"some_file.yaml", "base_yaml", "deep/base.yaml", "deep/more.py", "words.py"}
OF_GROUP = {*OF_MINE, "deep/group.yaml", "single.yaml"}


@pytest.mark.parametrize("changed", FILES)
@pytest.mark.parametrize(("task", "made_of"), [("mine", OF_MINE), ("all", OF_GROUP), ("single", {"single.yaml"})])
def test_what_a_task_is_made_of_changes_it(task: str, made_of: set[str], changed: str, folder: Path) -> None:
    before = task_definition(folder, task)
    with (folder / changed).open("a") as file:
        file.write("# another\n")
    assert (task_definition(folder, task) != before) == (changed in made_of)


def test_a_task_of_lm_evals_own_has_none(folder: Path) -> None:
    assert task_definition(folder, "mmlu") is None
    assert task_definition(folder, "broken") is None


def test_a_task_of_one_file_is_that_file(folder: Path) -> None:
    assert task_definition(folder, "single") == file_hash(folder / "single.yaml")


@pytest.mark.parametrize("end", [lambda p: p.write_text("include: a.yaml\ntask: a\n"), lambda p: p.unlink()])
def test_files_that_lead_to_themselves_or_nowhere_end(end: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: b.yaml\ntask: a\n")
    (tmp_path / "b.yaml").write_text("include: a.yaml\n")
    end(tmp_path / "b.yaml")
    assert task_definition(tmp_path, "a")


def test_every_task_of_ours_has_one() -> None:
    assert all(task_definitions((task_folder(),), [path.stem for path in task_folder().glob("*.yaml")]).values())


def test_of_equal_names_the_last_folders_file_is_taken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What one folder alone has is what it was; a group may have members in both."""
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / "single.yaml").write_text("task: single\nrepeats: 1\n")
    (theirs / "both.yaml").write_text("group: both\ntask: [single, other]\n")
    both = (folder, theirs)
    assert task_definitions(both, ["single"]) == {"single": file_hash(theirs / "single.yaml")}
    assert task_definitions(both, ["mine"]) == task_definitions((folder,), ["mine"])
    before = task_definitions(both, ["all", "both"])
    assert before["all"] != task_definitions((folder,), ["all"])["all"], "a member of it is another file now"
    (folder / "other.yaml").write_text("task: other\nrepeats: 1\n")
    after = task_definitions(both, ["all", "both"])
    assert (after["all"] == before["all"], after["both"] == before["both"]) == (True, False)
