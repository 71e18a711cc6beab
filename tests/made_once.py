"""Folders that take long to make: the first of a run's workers to need one makes it, the others wait and read it."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name, the same for all workers of a run.

    Args:
        factory: of this worker.
        name: no other fixture's.
        make: makes the folder, which is not there yet.
    """
    # A worker of pytest-xdist has a folder below the run's.
    base = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, done = base / name, base / f"{name}.made"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            # What a test that failed while it made it has left.
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder
