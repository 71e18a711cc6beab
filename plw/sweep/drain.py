"""When a grid takes no new cell: its hours are used up, or its study is drained.

A drain is a file in the study's folder of results, which every worker of the study looks for.
"""

import getpass
import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from plw.config import CellConfig
from plw.errors import UserError
from plw.files.reading import read_json
from plw.files.writing import write_json_atomic

DRAIN = "drain.json"


@dataclass(frozen=True, kw_only=True)
class Drain:
    """Since when a study takes nothing new, and by whom."""

    since: float
    """Seconds since 1970 (UTC)."""
    by: str

    @property
    def text(self) -> str:
        """The state in a few words."""
        since = datetime.fromtimestamp(self.since).astimezone().strftime("%Y-%m-%d %H:%M")
        return f"drained since {since} by {self.by}"


def read_drain(config: CellConfig) -> Drain | None:
    """The study's drain; None where it takes cells."""
    path = config.study_folder / DRAIN
    try:
        # Another worker may see it go between two looks.
        found = read_json(path) if path.exists() else None
    except UserError as error:
        if path.exists():
            raise UserError(f"{error}; `plw drain --undo` removes it") from None
        found = None
    if found is None:
        return None
    try:
        return Drain(since=float(found["since"]), by=str(found["by"]))
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{path}: not what `plw drain` writes; `plw drain --undo` removes it") from None


def begin_drain(config: CellConfig) -> Drain:
    """Let the study's workers take nothing new, wherever they are; a drain that stands already stays.

    Raises:
        UserError: nothing of the study has been run, or its folder cannot be written.
    """
    folder = config.study_folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; nothing of study={config.study.name} has been run there")
    found = read_drain(config)
    if found is not None:
        return found
    made = Drain(since=time.time(), by=f"{_user()}@{socket.gethostname()}")
    try:
        write_json_atomic(folder / DRAIN, {"since": made.since, "by": made.by})
    except PermissionError as error:
        raise UserError(f"{folder / DRAIN} cannot be written: {error.strerror}") from None
    return made


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return f"user {os.getuid()}"


def end_drain(config: CellConfig) -> bool:
    """Let the study take cells again; whether it was drained."""
    try:
        (config.study_folder / DRAIN).unlink()
    except FileNotFoundError:
        return False
    return True


class Gate:
    """Whether a grid may begin a further cell; once closed it stays so.

    Args:
        config: a cell of the grid.
        started: when the grid began, on the monotonic clock.
    """

    def __init__(self, config: CellConfig, started: float) -> None:
        self._config = config
        hours = config.execution.budget_hours
        self._end = None if hours is None else started + timedelta(hours=hours).total_seconds()
        self.closed: str | None = None
        """Why no further cell is begun."""

    def may_begin(self) -> bool:
        """Look whether it is open still."""
        if self.closed is None:
            self.closed = self._reason()
        return self.closed is None

    def _reason(self) -> str | None:
        if self._end is not None and time.monotonic() >= self._end:
            return "the hours of execution.budget_hours are used up"
        drain = read_drain(self._config)
        return None if drain is None else f"{drain.text}; `plw drain --undo` ends that"
