"""What defines a task of one's own: its file, those that it includes, its functions, and the members of a group.

Found without lm-eval, whose import takes seconds: a whole grid is planned by it.
"""

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from plw.config.evaluation import SuiteConfig
from plw.errors import UserError
from plw.files.hashing import file_hash, folder_hash
from plw.paths import task_folder
from plw.results.identity import fingerprint

FUNCTION = re.compile(r"!function\s+[\"']?([\w.]+)\.\w+")
"""A function of a task's own, as lm-eval's files name it."""


class _Loader(yaml.SafeLoader):
    """Reads lm-eval's files; a tag is passed over."""


_Loader.add_multi_constructor("!", lambda *_: None)


def task_folders(suite: SuiteConfig) -> tuple[Path, ...]:
    """Folders of task files that are not lm-eval's: the project's and the user's.

    Of equal names the last folder's file is taken.

    Raises:
        UserError: ``suite.task_folder`` is no folder, or has no task file.
    """
    if suite.task_folder is None:
        return (task_folder(),)
    folder = Path(suite.task_folder).expanduser().absolute()
    if not folder.is_dir():
        raise UserError(f"suite.task_folder={suite.task_folder}: no such folder")
    if not any(folder.rglob("*.yaml")):
        raise UserError(f"suite.task_folder={suite.task_folder}: no lm-eval task file (NAME.yaml) in it")
    return (task_folder(), folder)


def has_own_tasks_alone(suite: SuiteConfig) -> bool:
    """Whether every task of a suite is a file of the project's, so that lm-eval need not be asked of them."""
    own = task_folder()
    return suite.task_folder is None and all((own / f"{task.task}.yaml").is_file() for task in suite.tasks.values())


def task_definitions(folders: tuple[Path, ...], names: Iterable[str]) -> dict[str, str | None]:
    """Task or group -> hash of the files that make it; None where no folder has one of that name (lm-eval's own).

    Args:
        folders: Task files of one's own, at any depth; of equal names the last folder's is taken.
        names: Of tasks and groups, which need not be their files'.
    """
    contents = tuple(folder_hash(folder, ("**/*",)) for folder in folders)
    return {name: _definition(folders, name, contents) for name in names}


@lru_cache(maxsize=1024)
def _definition(folders: tuple[Path, ...], name: str, contents: tuple[str, ...]) -> str | None:
    """Found once a process for each state of the folders: a grid's cells share it."""
    named: dict[str, list[Path]] = {}
    for folder, content in zip(folders, contents, strict=True):
        named |= _by_name(folder, content)
    waiting, seen = [name], set[str]()
    files: set[Path] = set()
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        for file in named.get(wanted, ()):
            files |= set(_rests_on(file, set()))
            waiting += _members(_fields(file))
    if not files:
        return None
    root = next(folder for folder in reversed(folders) if folder in named[name][0].parents)
    if files == {root / f"{name}.yaml"}:
        return file_hash(*files)
    return fingerprint({_name_from(root, file, folders): file_hash(file) for file in files})


def _name_from(root: Path, file: Path, folders: tuple[Path, ...]) -> str:
    """A file's path from the folder of the task that needs it; one of another folder's is known by that place alone."""
    for number, folder in enumerate(folders):
        if folder != root and folder in file.parents:
            return f"folder {number}: {file.relative_to(folder).as_posix()}"
    return os.path.relpath(file, root)


@lru_cache(maxsize=8)
def _by_name(folder: Path, content: str) -> dict[str, list[Path]]:  # noqa: ARG001 - the cache goes by both
    """Task or group -> the files that are of this name."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.yaml")):
        fields = _fields(file)
        for name in (fields.get("group"), fields.get("task")):
            if isinstance(name, str):
                found.setdefault(name, []).append(file)
    return found


def _fields(file: Path) -> dict[str, Any]:
    """What a file says; nothing of one that cannot be read, which is told where it is loaded."""
    try:
        found = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _rests_on(file: Path, seen: set[Path]) -> Iterator[Path]:
    """A file, what it includes at any depth, and the modules of their functions that lie beside them."""
    if file in seen or not file.is_file():
        return
    seen.add(file)
    yield file
    for module in FUNCTION.findall(file.read_text(encoding="utf-8", errors="replace")):
        path = file.parent / f"{module.replace('.', '/')}.py"
        if path.is_file():
            yield path
    included = _fields(file).get("include")
    for name in included if isinstance(included, list) else [included]:
        if isinstance(name, str):
            yield from _rests_on(Path(os.path.normpath(file.parent / name)), seen)


def _members(fields: dict[str, Any]) -> list[str]:
    """Names in a group's list, alone or with fields of their own."""
    listed = fields.get("task")
    items = listed if isinstance(listed, list) else []
    names = [item.get("group", item.get("task")) if isinstance(item, dict) else item for item in items]
    return [name for name in names if isinstance(name, str)]
