"""A log of values by key, so that a killed stage pays for nothing twice: one checked JSON line each, appended.

A line is handed to the operating system at once, and to the disk every few seconds. The line that a kill left torn is
cut off when the log is opened again; a line that was changed since is not read.
"""

import errno
import json
import os
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SYNC_S = 5.0
"""Between two calls that see lines through to the disk: what the machine's end, not the process's, may cost."""
IDENTITY = "identity"
"""Key of the first line of a log that says whose it is."""


@dataclass(frozen=True, kw_only=True)
class LogContent:
    """What a log holds."""

    values: dict[str, Any] = field(default_factory=dict)
    """The last value of each key."""
    broken: int = 0
    """Lines that are not as they were written."""
    whole_bytes: int = 0
    """Length up to the end of the last line; a torn one may follow."""

    @property
    def identity(self) -> Any:
        """Whose log it is; None where nobody said, or the line is broken."""
        return self.values.get(IDENTITY)


def read_log(path: Path) -> LogContent:
    """The lines of a log as they were written; an empty log where there is no file."""
    if not path.exists():
        return LogContent()
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    values: dict[str, Any] = {}
    broken = 0
    for line in data[:whole].split(b"\n")[:-1]:
        checksum, _, body = line.partition(b" ")
        if checksum != _checksum(body):
            broken += 1
            continue
        key, value = json.loads(body)
        values[key] = value
    return LogContent(values=values, broken=broken, whole_bytes=whole)


class AppendLog:
    """A log to read and append to; safe between threads, and closed at the end of its block.

    Args:
        path: Its file, which is made.
        identity: Whose log it is, in JSON's types. A file that says otherwise begins anew.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any] | None = None) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._identity = identity
        content = read_log(path)
        self._file = path.open("ab", buffering=0)
        if content.identity == identity:
            self.values = content.values
            self._file.truncate(content.whole_bytes)
        else:
            self.values = {}
            self._file.truncate(0)
        self._synced = time.monotonic()
        if identity is not None and not self.values:
            self.put(IDENTITY, identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, key: str, value: Any) -> None:
        """Remember a value; from now on it survives a kill.

        Raises:
            OSError: the disk takes no more; the value is not kept.
        """
        body = json.dumps([key, value]).encode()
        with self._lock:
            line = _checksum(body) + b" " + body + b"\n"
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            self.values[key] = value
            if time.monotonic() - self._synced >= SYNC_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)
