"""Who holds a claim: a process of a host, and whether that process still lives."""

import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A process that works on stages. The token is the proof of one claim: take a new one for each."""

    host: str
    pid: int
    process_started: float | None = None
    """Start of the process in clock ticks since boot; None where the system does not tell."""
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    @classmethod
    def here(cls) -> Self:
        """The running process, with a fresh token."""
        return cls(host=socket.gethostname(), pid=os.getpid(), process_started=process_start(os.getpid()))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def process_start(pid: int) -> float | None:
    """Start of a process in clock ticks since boot; None where there is no /proc or no such process."""
    stat = _stat(pid)
    return float(stat[19]) if stat else None


def process_alive(pid: int, process_started: float | None) -> bool:
    """Whether the process that had this number at that start still runs on this host.

    A number that the system has given to another process since, and a process that is dead but not yet collected by its
    parent, count as dead. What cannot be known counts as alive: the heartbeat decides then.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    stat = _stat(pid)
    if stat is None:
        return True
    zombie = stat[0] in ("Z", "X")
    replaced = process_started is not None and float(stat[19]) != process_started
    return not zombie and not replaced


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on (field 3), behind the command name, which may hold any character."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
