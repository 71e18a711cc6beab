"""Standard streams that everything can write to, whatever the process was started with, and whoever has left them."""

import codecs
import errno
import io
import os
import stat
import sys
from typing import Any

from plw.runtime.interrupt import READER_GONE, stop

ASCII_WORDS = {"λ": "lambda", "χ": "chi", "²": "^2", "±": "+-", "–": "-", "·": "-", "µ": "u", "…": "~"}
"""Letter of ours -> what is written where a stream's encoding lacks it. A table that is cut has room for one letter."""
PLAIN_LETTERS = "plw.plain"
"""The name of ``_plain_letters`` among Python's ways to treat what cannot be encoded."""


def complete_streams() -> None:
    """Make the process's standard streams whole; before anything is written.

    A stream that was closed is the null device. Where the reader of standard output has ended (`| head`), the process
    is stopped as by SIGPIPE; standard error that nobody reads, and a terminal that is gone, end nothing.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started us (`2>&-`). Its number has to be taken: the next file that is opened, such as
            # the registry, would get it, and with it what C libraries print.
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for the process
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            if stream is getattr(sys, f"__{name}__") and _may_lose_its_reader(number):
                stream = _watched(stream, number)
                setattr(sys, name, stream)
            # A log in another encoding than UTF-8 gets "lambda" where it has no letter for it, "\u4e2d" of others.
            stream.reconfigure(errors=PLAIN_LETTERS)


def writable(text: str, encoding: str) -> str:
    """The text as a stream of the encoding shows it: letters that it lacks are plain words or escapes."""
    return text if text.isascii() else text.encode(encoding, PLAIN_LETTERS).decode(encoding)


def _plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (ASCII_WORDS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in lacking)
    return "".join(escaped), error.end


codecs.register_error(PLAIN_LETTERS, _plain_letters)


def _may_lose_its_reader(number: int) -> bool:
    kind = os.fstat(number).st_mode
    return stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or stat.S_ISCHR(kind)


def _watched(stream: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    stream.flush()
    raw = io.BufferedWriter(_Watched(number, "w", closefd=False))
    return io.TextIOWrapper(
        raw, encoding=stream.encoding, line_buffering=stream.line_buffering, write_through=stream.write_through
    )


class _Watched(io.FileIO):
    """The file below a standard stream; once nobody reads it, what is written goes nowhere."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if error.errno == errno.EPIPE and self.fileno() == 1:
                stop(READER_GONE)
            return memoryview(data).nbytes
