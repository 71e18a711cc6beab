"""What the threads that ask a server know together of its limit: one is told to wait, and all wait.

After a wait one request goes first, and each answer lets one more be under way at once: all together would be refused
together, and refusals count against the limit at many servers.
"""

import math
import random
import threading
import time
from typing import Any

from plw.evaluate.judging.responses import Failure

JITTER = 0.25
"""A wait is up to so much longer than it must be, as a share: other processes wait for the same limit."""


class RateLimit:
    """Lets requests go to a server as its limit allows, until it is stopped; safe between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopped = False
        self._until = 0.0
        self._under_way = 0
        self._allowed = math.inf
        self._periods = 0
        self._waits = 0
        # Training's random numbers are not touched.
        self._random = random.Random()

    def stop(self) -> None:
        """No further request: whoever waits returns."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def sleep(self, seconds: float) -> None:
        """Wait on a request's own account, or until all is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, seconds)

    def enter(self) -> int | None:
        """Return when a request may go, which must then :meth:`leave`.

        Returns:
            The period between two waits in which it goes; ``None`` once all is stopped.
        """
        with self._changed:
            while not self._stopped:
                left = self._until - time.monotonic()
                if left <= 0 and self._under_way < self._allowed:
                    self._under_way += 1
                    return self._periods
                self._changed.wait(left if left > 0 else None)
            return None

    def leave(self, period: int, found: dict[str, Any] | Failure | None) -> bool:
        """A request has ended.

        Args:
            period: What :meth:`enter` has returned for it.
            found: Its answer, its failure, or ``None`` where it ended in an exception. One that is refused for a limit
                holds all back. Requests that were under way together are refused together: it is one wait.

        Returns:
            Whether a request that was refused for a limit is worth asking again: not after ``found.retries`` waits in a
            row in which no request was answered.
        """
        with self._changed:
            self._under_way -= 1
            worth = isinstance(found, Failure) and found.of_all and self._hold(period, found)
            if isinstance(found, dict):
                self._waits = 0
                self._allowed += 1
            self._changed.notify_all()
            return worth

    def _hold(self, period: int, failure: Failure) -> bool:
        if period == self._periods:
            if self._waits >= failure.retries:
                return False
            self._waits += 1
            self._periods += 1
            self._allowed = 1
        seconds = failure.delay(max(0, self._waits - 1)) * self._random.uniform(1, 1 + JITTER)
        self._until = max(self._until, time.monotonic() + seconds)
        return True
