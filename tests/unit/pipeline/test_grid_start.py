"""A grid's start where the registry is away: a person is told at once, a job of a scheduler waits."""

import sqlite3
import threading
from pathlib import Path

import pytest
from rich.console import Console

from plw.errors import UserError
from plw.registry import Registry, database
from plw.sweep.grid import prepare_grid
from tests.unit.pipeline.conftest import OwnStudy

SCREEN = Console(quiet=True)


def test_a_registry_that_is_away_is_waited_for_where_the_caller_says_so(
    own_study: OwnStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    config = own_study()
    path = tmp_path / "runs/registry.sqlite"
    Registry.open(f"sqlite:///{path}").close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match="cannot open the registry"):
        prepare_grid([config], SCREEN)
    timer = threading.Timer(0.5, other.close)
    timer.start()
    try:
        todo, cells = prepare_grid([config], SCREEN, wait_s=30)
    finally:
        timer.join()
    assert len(todo) == len(cells) == 1
