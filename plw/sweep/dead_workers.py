"""What is done when a worker of a pool dies: which cells it takes with it, and how the workers beside it end."""

import logging
import signal
import time
from collections.abc import Collection, Iterable, MutableSequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess

from plw.progress import count
from plw.runtime.interrupt import Interrupted

logger = logging.getLogger(__name__)

CHECKPOINT_TIMEOUT_S = 600.0
"""How long a sweep that stops waits for its workers' checkpoints; Slurm's KillWait is usually shorter."""
STOP_LOOK_S = 0.05
EXIT_TIMEOUT_S = 5.0
"""For a worker that has stopped to leave."""

Seats = MutableSequence[int]
"""Memory that workers share with their parent: two numbers a worker, its process and the cell that it is on, or has
been on, which is then written as ``~cell``."""


def crashed_cells(processes: Collection[BaseProcess], seats: Seats, under_way: list[int]) -> list[int]:
    """The cells under way whose worker died by itself; all of them, where that cannot be told.

    The pool ends the other workers by SIGTERM, some moments later.
    """
    died = {process.pid for process in _gone(processes) if process.exitcode not in (None, 0, -signal.SIGTERM)}
    of_died = {max(number, ~number) for pid, number in zip(seats[::2], seats[1::2], strict=True) if pid in died}
    return [number for number in under_way if number in of_died] or under_way


def _gone(processes: Collection[BaseProcess]) -> list[BaseProcess]:
    """The processes that have ended or do so just now, which a large one takes a while for; each with its exit code."""
    ended = connection.wait([process.sentinel for process in processes], timeout=0)
    gone = [process for process in processes if process.sentinel in ended]
    _await_exit(gone)
    return gone


def _await_exit(processes: Collection[BaseProcess]) -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT_S
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(STOP_LOOK_S)


def end_beside_a_dead_one(processes: Iterable[BaseProcess], seats: Seats) -> None:
    """Wait until the workers beside a dead one, which its pool has told to stop, have done so; kill what is left.

    A worker without a cell may never end by itself: the dead one may have had the lock of what it waits for.
    """
    alive = [process for process in processes if process.is_alive()]
    if working := _on_a_cell(alive, seats):
        logger.warning(
            "a worker process died; waiting for the checkpoints of %s beside it, %g s at most",
            count(len(working), "other"), CHECKPOINT_TIMEOUT_S,
        )  # fmt: skip
    try:
        _let_stop(alive, seats)
    except Interrupted:
        # They have been told already; a second signal ends the wait.
        _let_stop(alive, seats)
        raise
    finally:
        for process in alive:
            process.kill()
        for process in alive:
            process.join()


def _let_stop(processes: list[BaseProcess], seats: Seats) -> None:
    deadline = time.monotonic() + CHECKPOINT_TIMEOUT_S
    while (working := _on_a_cell(processes, seats)) and time.monotonic() < deadline:
        connection.wait([process.sentinel for process in working], timeout=STOP_LOOK_S)
    if working:
        logger.warning("%s did not stop in time, killed", count(len(working), "worker"))
    else:
        _await_exit(processes)


def _on_a_cell(processes: Iterable[BaseProcess], seats: Seats) -> list[BaseProcess]:
    """The processes that live and are on a cell."""
    busy = {pid for pid, number in zip(seats[::2], seats[1::2], strict=True) if number >= 0}
    return [process for process in processes if process.pid in busy and process.is_alive()]
