"""What a judge has said so far: a log of requests and replies, so that a killed stage asks nothing twice.

The log belongs to one stage and benchmark, whose judge and prompts its fingerprint fixes.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from plw.evaluate.append_log import AppendLog

logger = logging.getLogger(__name__)


class ResponseCache:
    """Replies by request; safe between threads, and closed at the end of its block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = AppendLog(path)
        self._earlier = {key for key, reply in self._log.values.items() if reply is not None}
        self._used: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.__exit__(kind, error, trace)
        if self._used:
            logger.info("%s: %d replies served from the cache", self.path, len(self._used))

    def __len__(self) -> int:
        return len(self.replies())

    def get(self, request: str) -> str | None:
        """The reply to a request that was answered before."""
        key = _key(request)
        if key in self._earlier:
            self._used.add(key)
        return self._log.values.get(key)

    def replies(self) -> list[str]:
        """All replies, in no order that counts."""
        return [reply for reply in self._log.values.values() if reply is not None]

    def put(self, request: str, reply: str) -> None:
        """Remember a reply; from now on it survives a kill."""
        self._log.put(_key(request), reply)

    def forget(self, unread: Iterable[str], words_of: Callable[[str], str] = str) -> None:
        """Drop replies: a judge that is set right must be asked for them anew.

        Args:
            unread: The words of those to drop, compared without blanks around them.
            words_of: A kept reply's words.
        """
        dropped = {words.strip() for words in unread}
        for key, reply in list(self._log.values.items()):
            if reply is not None and words_of(reply).strip() in dropped:
                self._log.put(key, None)


def _key(request: str) -> str:
    return hashlib.sha256(request.encode("utf-8", "surrogatepass")).hexdigest()
