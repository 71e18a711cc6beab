"""Local files of benchmarks, found by name in the one folder that a user gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from plw.errors import UserError


def existing_folder(folder: str) -> str:
    """The folder that the config has as `suite.data`.

    Raises:
        UserError: there is none.
    """
    if not Path(folder).expanduser().is_dir():
        raise UserError(f"suite.data={folder}: no such folder")
    return folder


def found_below(folder: str, name: str, field: str) -> str:
    """The path of the one file of this name in a folder, at any depth.

    Args:
        folder: as the config has it (`suite.data`).
        name: of the file.
        field: the config field that names the file, for messages.

    Raises:
        UserError: no such file is in it, or several are.
    """
    found = sorted(path for path in Path(folder).expanduser().rglob(name) if path.is_file())
    if not found:
        raise UserError(
            f"suite.data={folder}: {name} is not in it ({field}); put it there, or leave the benchmark out with "
            f"~{field.rpartition('.local')[0]}"
        )
    if len(found) > 1:
        raise UserError(
            f"suite.data={folder}: {name} ({field}) is there {len(found)} times, such as {found[0]} and {found[1]}; "
            "keep one"
        )
    return str(found[0])


class TaskFiles(Protocol):
    """A benchmark of lm-eval."""

    files: dict[str, str]
    local: dict[str, str]


class PromptFile(Protocol):
    """A set of prompts."""

    prompts: str
    local: str | None


def take_local_files(data: str, tasks: Mapping[str, TaskFiles], prompts: Mapping[str, PromptFile]) -> None:
    """Point every benchmark that names a local file, and has no path of its own, at that file in ``suite.data``.

    Raises:
        UserError: no such folder, or the file of a benchmark is not in it, or is there twice.
    """
    folder = existing_folder(data)
    for name, task in tasks.items():
        if not task.files:
            task.files = {
                split: found_below(folder, file, f"suite.tasks.{name}.local.{split}")
                for split, file in task.local.items()
            }
    for name, item in prompts.items():
        if item.local is not None:
            item.prompts = found_below(folder, item.local, f"suite.prompts.{name}.local")
