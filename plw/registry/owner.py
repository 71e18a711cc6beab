"""Who holds a claim: a process of a host, and whether that process still lives."""

import os
import secrets
from dataclasses import dataclass, field
from typing import Self

import psutil

from plw.registry.rows import StageRow
from plw.runtime.machine import host_name, process_space

LEASE_TIMEOUT_S = 60.0
"""Silence after which a stage's worker counts as gone, where no config says otherwise."""
SAME_START_S = 0.5
"""Two readings of one process's start differ by less than this, also where the clock was set between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A process that works on stages. The token is the proof of one claim: take a new one for each."""

    host: str
    """Where the number is that process: ``plw.runtime.machine.process_space``."""
    pid: int
    process_started: float | None = None
    """Start of the process in seconds since boot; None where the system does not tell."""
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    @classmethod
    def here(cls) -> Self:
        """The running process, with a fresh token."""
        return cls(host=process_space(), pid=os.getpid(), process_started=process_start(os.getpid()))

    def __str__(self) -> str:
        return f"process {self.pid} on {host_name(self.host)}"


def process_start(pid: int) -> float | None:
    """Start of a process in seconds since boot, which no change of the clock moves; None: no such process."""
    try:
        return round(psutil.Process(pid).create_time() - psutil.boot_time(), 2)
    except psutil.Error:
        return None


def process_alive(pid: int, process_started: float | None) -> bool:
    """Whether the process that had this number at that start still runs on this host.

    A number that the system has given to another process since, and a process that is dead but not yet collected by its
    parent, count as dead. What cannot be known counts as alive: the heartbeat decides then.
    """
    try:
        if psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
    found = process_start(pid)
    return process_started is None or found is None or abs(found - process_started) < SAME_START_S


def abandoned(row: StageRow, host: str, lease_timeout_s: float, now: float) -> bool:
    """Whether a running row's process has released it, is silent for too long, or was on this host and is dead.

    Args:
        row: as the registry has it.
        host: where this process runs, as the row has it.
        lease_timeout_s: seconds of silence that are too long.
        now: by the clock that wrote the row's heartbeat, the database's.
    """
    if row.heartbeat is None or now - row.heartbeat > lease_timeout_s:
        return True
    return row.host == host and row.pid is not None and not process_alive(row.pid, row.process_started)
