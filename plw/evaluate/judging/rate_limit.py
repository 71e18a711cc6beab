"""What the threads that ask a server know together of its limit: one is told to wait, and all wait."""

import threading
import time


class RateLimit:
    """Holds requests back until the time that the server has named; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._answered = 0

    @property
    def answered(self) -> int:
        """Requests that had an answer. While it grows the server keeps up, and a limit is no reason to give up."""
        return self._answered

    def note_answer(self) -> None:
        """A request had an answer."""
        with self._lock:
            self._answered += 1

    def hold(self, seconds: float) -> None:
        """No request for so long, whoever asks: those that are refused count against the limit at many servers."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, stopped: threading.Event) -> None:
        """Return when requests are allowed, or when ``stopped`` is set."""
        while (left := self._until - time.monotonic()) > 0 and not stopped.wait(left):
            pass
