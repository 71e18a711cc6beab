"""lm-eval's index of tasks, as far as a suite needs it: to read all of its 14,000 files takes seconds."""

import difflib
import re
from collections.abc import Collection
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from plw.evaluate.quiet import quiet

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

_NAME = rb"""^["']?(?:task|group)["']?:[ \t]*["']?(%b)["']?[ \t]*(?:#.*)?\r?$"""


def task_manager(folders: tuple[Path, ...], *, builtin: bool, names: Collection[str]) -> "TaskManager":
    """An index in which the tasks and groups of these names are those of the whole index, built once a process.

    The whole index is built where that cannot be told from few files: for a name that no file has as its own, such as
    a tag, and for a group with such members.

    Args:
        folders: Task files of one's own, which go before lm-eval's; of equal names the last folder's is taken.
        builtin: Whether lm-eval's own tasks are known.
        names: Of tasks and groups.
    """
    if not builtin:
        return _indexed((), folders)
    needed = frozenset(names)
    while True:
        named = _named_files(needed)
        # Of equal names lm-eval takes the first file's within a folder, and the last folder's.
        theirs = dict.fromkeys(file.parent for file in sorted(named.values(), key=Path.as_posix, reverse=True))
        manager = _indexed(tuple(theirs), folders)
        members = {member for name in needed for member in _members(manager, name)}
        if members <= needed:
            break
        needed |= members
    if all(_is_the_wholes(manager, name, named.get(name), folders) for name in needed):
        return manager
    return _indexed(None, folders)


@lru_cache(maxsize=8)
def _indexed(theirs: tuple[Path, ...] | None, folders: tuple[Path, ...]) -> "TaskManager":
    """The tasks of some of lm-eval's folders, None: of all, and of one's own."""
    with quiet("lm_eval"):
        from lm_eval.tasks import TaskManager

        return TaskManager(include_path=[*(theirs or ()), *folders], include_defaults=theirs is None)


@lru_cache(maxsize=8)
def _named_files(names: frozenset[str]) -> dict[str, Path]:
    """Name -> the first of lm-eval's files that gives it to a task or group."""
    name = re.compile(_NAME % b"|".join(re.escape(name.encode()) for name in sorted(names)), re.MULTILINE)
    found: dict[str, Path] = {}
    for file in sorted(_builtin_folder().glob("**/*.yaml"), key=Path.as_posix):
        for match in name.finditer(file.read_bytes()):
            found.setdefault(match[1].decode(), file)
    return found


def names_near(name: str, names: Collection[str], folders: tuple[Path, ...]) -> list[str] | None:
    """Names of tasks and groups that come near to one that no file mentions; ``None`` where a file does.

    It takes a second where the whole index takes eight.

    Args:
        name: Of a task that was asked for.
        names: Of all that are asked for.
        folders: Task files of one's own.
    """
    if name in _named_files(frozenset(names)):
        return None
    any_name = re.compile(_NAME % rb"[\w.-]+", re.MULTILINE)
    known: set[str] = set()
    for file in (file for folder in (_builtin_folder(), *folders) for file in folder.glob("**/*.yaml")):
        text = file.read_bytes()
        if name.encode() in text or file.stem == name:
            return None
        known.update(match[1].decode() for match in any_name.finditer(text))
    return difflib.get_close_matches(name, sorted(known), n=5, cutoff=0.5)


def _builtin_folder() -> Path:
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tasks"


def _is_the_wholes(manager: "TaskManager", name: str, first: Path | None, folders: tuple[Path, ...]) -> bool:
    """Whether the index has the name from the file that the whole index has it from."""
    entry = manager.task_index.get(name)
    if entry is None or entry.yaml_path is None:
        return False
    return entry.yaml_path == first or not set(folders).isdisjoint(entry.yaml_path.parents)


def _members(manager: "TaskManager", name: str) -> set[str]:
    """Names in a group's list, alone or with fields of their own; none of a task."""
    if name not in manager.all_groups:
        return set()
    listed = (manager.task_index[name].cfg or {}).get("task")
    items = listed if isinstance(listed, list) else []
    return {str(item.get("group", item.get("task")) if isinstance(item, dict) else item) for item in items}
