"""One command of a study at a time looks at Slurm's queue and submits: the next one then sees what it has submitted.

The turn is a file that only one process can make, beside the submissions, where every machine that submits sees it. Its
holder touches it again and again; one that is silent for too long, or dead on this machine, loses it.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from plw.config import ExecutionConfig
from plw.errors import ClaimLostError, StageError
from plw.files.writing import write_json_atomic
from plw.pipeline.heartbeat import Heartbeat
from plw.registry.owner import Owner, process_alive

FILE = "submitting"
WAIT_LOOK_S = 0.2


class Turn:
    """The right to submit, of one process; a lease that ``Heartbeat`` keeps alive.

    Args:
        folder: where the study's submissions are kept; it is there.
        lease_timeout_s: seconds of a holder's silence after which its turn is taken over.
    """

    def __init__(self, folder: Path, lease_timeout_s: float) -> None:
        self._path = folder / FILE
        self._lease_timeout_s = lease_timeout_s
        self._owner = Owner.here()

    def take(self, say: Callable[[str], None]) -> None:
        """Wait for the turn; ``say`` is told once that another command has it."""
        seen: tuple[int, int] | None = None
        since = 0.0
        while not self._made():
            found = self._look()
            if found is None:
                # Given back between the two.
                continue
            holder, sign = found
            if seen is None:
                say(f"{holder or 'another process'} submits cells of this study just now; waiting ({self._path})")
            # By our own clock: that of the disk's machine may be another.
            if sign != seen:
                seen, since = sign, time.monotonic()
            dead = holder is not None and holder.host == self._owner.host and not _alive(holder)
            if dead or time.monotonic() - since > self._lease_timeout_s:
                write_json_atomic(self._path, asdict(self._owner))
                return
            time.sleep(WAIT_LOOK_S)

    def heartbeat(self, *, wait: bool = True) -> bool:  # noqa: ARG002 - a disk that is away makes the call wait
        """Touch the file; False where another process has taken the turn over."""
        if not self._is_held():
            return False
        os.utime(self._path)
        return True

    def give_back(self) -> None:
        """Let the next one submit."""
        if self._is_held():
            self._path.unlink(missing_ok=True)

    def _made(self) -> bool:
        """Whether the file was not there, and is this process's now."""
        try:
            with self._path.open("x", encoding="utf-8") as file:
                json.dump(asdict(self._owner), file)
        except FileExistsError:
            return False
        return True

    def _is_held(self) -> bool:
        found = self._look()
        return found is not None and found[0] is not None and found[0].token == self._owner.token

    def _look(self) -> tuple[Owner | None, tuple[int, int]] | None:
        """The holder, None while its file is being written, and a sign of life that changes; None: nobody's turn."""
        try:
            # Opened, as a network's disk may know of a file that is not opened how it was a minute ago.
            with self._path.open(encoding="utf-8") as file:
                state, text = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return None
        try:
            holder = Owner(**json.loads(text))
        except (ValueError, TypeError):
            holder = None
        return holder, (state.st_ino, state.st_mtime_ns)


def _alive(holder: Owner) -> bool:
    return process_alive(holder.pid, holder.process_started)


@contextlib.contextmanager
def turn_to_submit(folder: Path, execution: ExecutionConfig, say: Callable[[str], None]) -> Iterator[Heartbeat]:
    """Wait until no other command submits, and let none begin before the end of the block.

    Args:
        folder: where the study's submissions are kept.
        execution: has the seconds between signs of life, and of the silence that ends a turn.
        say: is told, once, that another command is waited for.

    Yields:
        What tells, by ``confirm``, that the turn is held still; to be asked before anything is submitted.

    Raises:
        StageError: on ``confirm``, this process was silent for so long that another one has taken the turn over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    turn = Turn(folder, execution.lease_timeout_s)
    turn.take(say)
    try:
        with Heartbeat(turn, str(folder / FILE), execution.heartbeat_s, execution.lease_timeout_s) as heartbeat:
            yield heartbeat
    except ClaimLostError as error:
        raise StageError(f"{error}; nothing was submitted, and the same command tries again") from None
    finally:
        turn.give_back()
