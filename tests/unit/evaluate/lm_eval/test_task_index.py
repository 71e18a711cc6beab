"""The index of a suite's tasks says of them what lm-eval's whole index says."""

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plw.evaluate.lm_eval.task_index import task_manager
from plw.paths import task_folder

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

SIZE = 40
"""Names asked for at once."""


@pytest.fixture(scope="module")
def whole() -> "TaskManager":
    """A tag needs it."""
    found = task_manager((task_folder(),), builtin=True, names={"ai2_arc"})
    assert len(found.all_subtasks) > 10_000
    return found


def outline(manager: "TaskManager", name: str) -> tuple[object, ...]:
    """What an index has of a task, or of a group and all in it."""
    entry = manager.task_index[name]
    members = (entry.cfg or {}).get("task") if name in manager.all_groups else None
    inner = [outline(manager, member) for member in members or () if isinstance(member, str)]
    return entry.kind, entry.yaml_path, entry.cfg, sorted(entry.tags), inner


@pytest.mark.slow
def test_any_tasks_are_those_of_the_whole_index(whole: "TaskManager") -> None:
    draw = random.Random(0)
    for _ in range(4):
        names = draw.sample(whole.all_subtasks, SIZE)
        few = task_manager((task_folder(),), builtin=True, names=names)
        assert len(few.all_tasks) < len(whole.all_tasks)
        assert [outline(few, name) for name in names] == [outline(whole, name) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bbh_zeroshot", "plw_mmlu", "mmlu", "ai2_arc", "nosuch"])
def test_groups_have_all_of_their_members(whole: "TaskManager", name: str) -> None:
    """The members of the last three are found by a tag, which any file may have, or there are none."""
    found = task_manager((task_folder(),), builtin=True, names={name, "piqa"})
    assert (name in found.all_tasks) == (name in whole.all_tasks)
    if name in whole.all_tasks:
        assert outline(found, name) == outline(whole, name)
    assert outline(found, "piqa") == outline(whole, "piqa")


def test_a_file_of_our_own_goes_before_lm_evals(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: piqa\ndataset_path: json\noutput_type: multiple_choice\n")
    found = task_manager((tmp_path,), builtin=True, names={"piqa", "arc_easy"})
    assert found.task_index["piqa"].yaml_path == tmp_path / "mine.yaml"
    assert found.task_index["arc_easy"].yaml_path is not None


def test_without_lm_evals_own_tasks_only_ours_are_known() -> None:
    found = task_manager((task_folder(),), builtin=False, names={"piqa"})
    assert "piqa" not in found.all_tasks
    assert "world_piqa" in found.all_tasks
