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

from plw.files.hashing import file_hash, folder_hash
from plw.results.identity import fingerprint

FUNCTION = re.compile(r"!function\s+[\"']?([\w.]+)\.\w+")
"""A function of a task's own, as lm-eval's files name it."""


class _Loader(yaml.SafeLoader):
    """Reads lm-eval's files; a tag is passed over."""


_Loader.add_multi_constructor("!", lambda *_: None)


def task_definitions(folder: Path, names: Iterable[str]) -> dict[str, str | None]:
    """Task or group -> hash of the files that make it; None where the folder has none of that name (lm-eval's own).

    Args:
        folder: Task files of one's own, at any depth.
        names: Of tasks and groups, which need not be their files'.
    """
    content = folder_hash(folder, ("**/*",))
    return {name: _definition(folder, name, content) for name in names}


@lru_cache(maxsize=1024)
def _definition(folder: Path, name: str, content: str) -> str | None:
    """Found once a process for each state of the folder: a grid's cells share it."""
    named, waiting = _by_name(folder, content), [name]
    seen: set[str] = set()
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
    if files == {folder / f"{name}.yaml"}:
        return file_hash(*files)
    return fingerprint({os.path.relpath(file, folder): file_hash(file) for file in files})


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
