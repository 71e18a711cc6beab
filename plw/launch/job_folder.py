"""The folder of a launch: what its worker processes are told, and which process started them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plw.files.reading import read_json
from plw.files.writing import write_json_atomic
from plw.runtime.machine import process_space

LAUNCH = "launch"
"""Folder of a launch, in its stage's."""
JOB = "job.json"
ENDED = "ended"
"""File that says that no worker may start on this launch any more."""
STOP = "stop"
"""File that asks the workers to make a checkpoint and end."""
RESULT = "result.json"
"""What rank 0 found, once all is done."""


def put_job(plain: dict[str, Any], folder: Path, *, owner: int) -> None:
    """Write a job's plain fields and the process that started it; this comes after all other files of the job.

    Args:
        plain: the job in JSON's types.
        folder: of the launch.
        owner: process that holds the claim; workers end when it does.
    """
    write_json_atomic(folder / JOB, {"job": plain, "owner": {"pid": owner, "host": process_space()}})


def job_fields(folder: Path) -> dict[str, Any]:
    """The job's plain fields, as they were written."""
    fields: dict[str, Any] = read_json(folder / JOB)["job"]
    return fields


@dataclass(frozen=True, kw_only=True)
class LaunchOwner:
    """The process that holds the claim under which a job is done."""

    pid: int
    here: bool
    """Whether that is on this machine."""


def read_owner(folder: Path) -> LaunchOwner:
    """Who started the launch."""
    owner = read_json(folder / JOB)["owner"]
    return LaunchOwner(pid=owner["pid"], here=owner["host"] == process_space())
