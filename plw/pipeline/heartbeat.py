"""Keeps a claim alive while work goes on, and lets the work go on only while the claim is known to be held."""

import logging
import threading
import time
from typing import Protocol

from plw.errors import ClaimLostError

logger = logging.getLogger(__name__)


class Lease(Protocol):
    """What a heartbeat needs of a claim."""

    def heartbeat(self, *, wait: bool) -> bool:
        """Say that the work goes on; False when the claim is lost. ``wait`` for a registry that is away."""


class Heartbeat:
    """Sends heartbeats from a thread; a context manager around the work.

    Args:
        lease: the claim.
        name: what is claimed, for messages.
        every_s: seconds between heartbeats.
        timeout_s: seconds of silence after which another worker may take the claim over.
    """

    def __init__(self, lease: Lease, name: str, every_s: float, timeout_s: float) -> None:
        self._lease = lease
        self._name = name
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._confirmed = _clocks()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check_lease(self) -> None:
        """Return at once where a heartbeat of late was heard; otherwise wait for the registry's word.

        It is not heard where the process was stopped for a while, or the registry is away.

        Raises:
            ClaimLostError: another worker has the claim.
            RegistryAwayError: the registry was away for longer than it is waited for.
        """
        if self._silence() > self._timeout_s / 2:
            self.confirm()
        if self._lost.is_set():
            raise ClaimLostError(f"{self._name}: taken over by another worker")

    def confirm(self) -> None:
        """Ask the registry whether the claim is held; raises as ``check_lease``."""
        self._renew(wait=True)
        if self._lost.is_set():
            raise ClaimLostError(f"{self._name}: taken over by another worker")

    def _renew(self, *, wait: bool) -> None:
        now = _clocks()
        if self._lease.heartbeat(wait=wait):
            self._confirmed = now
        elif not self._lost.is_set():
            self._lost.set()
            logger.warning("%s: the claim is lost; another worker has taken it over", self._name)

    def _silence(self) -> float:
        """Seconds since the last heartbeat that was heard, by a clock that never jumps or by the one others see."""
        return max(now - then for now, then in zip(_clocks(), self._confirmed, strict=True))

    def _run(self) -> None:
        failed = False
        while not self._stop.wait(self._every_s) and not self._lost.is_set():
            try:
                self._renew(wait=False)
                failed = False
            except Exception as error:
                # Nothing that happens to the registry may end hours of work from here; check_lease holds the work up.
                if not failed:
                    logger.warning("%s: a heartbeat failed (%s); trying again", self._name, error)
                failed = True


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()
