"""What a judge has said so far: a log of requests and replies, so that a killed stage asks nothing twice.

One JSON line a request, handed to the operating system at once; a line that a kill left torn is not read and its
request is asked again. The log belongs to one stage and benchmark, whose judge and prompts its fingerprint fixes.
"""

import hashlib
import json
import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)


class ResponseCache:
    """Replies by request; safe between threads, and closed at the end of its block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._replies = dict(_read(path))
        self._earlier = set(self._replies)
        self._used: set[str] = set()
        self._file = path.open("a+b")
        if self._file.tell() and not path.read_bytes().endswith(b"\n"):
            # What follows a torn line must not be torn with it.
            self._file.write(b"\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._used:
            logger.info("%s: %d replies served from the cache", self.path, len(self._used))

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, request: str) -> str | None:
        """The reply to a request that was answered before."""
        key = _key(request)
        if key in self._earlier:
            self._used.add(key)
        return self._replies.get(key)

    def put(self, request: str, reply: str) -> None:
        """Remember a reply; from now on it survives a kill."""
        line = json.dumps({"request": _key(request), "reply": reply}).encode() + b"\n"
        with self._lock:
            self._replies[_key(request)] = reply
            self._file.write(line)
            self._file.flush()

    def clear(self) -> None:
        """Drop everything: the replies were of no use, and a judge that is set right must be asked anew."""
        with self._lock:
            self._replies.clear()
            self._earlier.clear()
            self._file.truncate(0)


def _key(request: str) -> str:
    return hashlib.sha256(request.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
            found.append((str(row["request"]), str(row["reply"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found
