"""A judge that may be out of order: between the client and the embedded world's own judge stands a real server."""

import threading
import time
from collections import Counter, deque
from typing import Any

from plw.world.judge import FactJudge
from tests.judge_server import Reply, Server, error, said

TRICKS = ("time-out", "no JSON", "no choices", "cut", "hung up", "429", "500", "nonsense")
NONSENSE = "Both of them have their merits, and bananas are yellow."
"""Words of a judge that no parser takes for a verdict."""


class JudgeOutOfOrder:
    """Answers as the world's judge, but for the next requests after ``play``.

    Args:
        facts: The world's judge.
        timeout_s: The client's timeout.
    """

    def __init__(self, facts: FactJudge, timeout_s: float) -> None:
        self._facts = facts
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._tricks: deque[str] = deque()
        self.played: Counter[str] = Counter()
        self.server = Server(self._reply)

    def play(self, trick: str, requests: int) -> None:
        """Answer the next so many requests in this way."""
        with self._lock:
            self._tricks.extend([trick] * requests)

    @property
    def to_come(self) -> int:
        """Replies that are still to be wrong."""
        with self._lock:
            return len(self._tricks)

    def heal(self) -> None:
        """Be in order from now on."""
        with self._lock:
            self._tricks.clear()

    def _reply(self, number: int, body: dict[str, Any]) -> Reply:
        with self._lock:
            trick = self._tricks.popleft() if self._tricks else None
            if trick is not None:
                self.played[trick] += 1
        right = said(self._facts(_prompt(body)))
        if trick is None:
            return 200, right, {}
        if trick == "time-out":
            time.sleep(self._timeout_s + 0.3)
            return 200, right, {}
        if trick == "hung up":
            raise ConnectionAbortedError
        if trick == "cut":
            return 200, right, {"Content-Length": "100000", "Connection": "close"}
        return {
            "no JSON": (200, "<html>Welcome to the proxy</html>", {}),
            "no choices": (200, {"choices": []}, {}),
            "429": error(429, "Rate limit reached", **{"Retry-After": "1"}),
            "500": error(500, "CUDA out of memory"),
            "nonsense": (200, said(NONSENSE), {}),
        }[trick]


def _prompt(body: dict[str, Any]) -> str:
    """What the world's judge is asked: a chat's messages joined by blank lines, or a completion's prompt."""
    if "prompt" in body:
        return str(body["prompt"])
    return "\n\n".join(str(message["content"]) for message in body["messages"])
