"""Silence for libraries that print: no progress bars, no chatter on stdout, no warnings or log lines below an error.

A bar worth hearing is turned into calls of our own progress with :func:`tqdm_adapter`.
"""

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any
from unittest import mock

from plw.progress import Progress


class _Sink(io.TextIOBase):
    """Swallows what is printed; rich's own displays go on to the real stdout."""

    def __init__(self, stdout: Any) -> None:
        super().__init__()
        self.rich_proxied_file = getattr(stdout, "rich_proxied_file", stdout)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def quiet(*logger_names: str) -> Iterator[None]:
    """Hold back progress bars, prints, warnings, and the named loggers' lines below ERROR while the block runs."""
    import tqdm  # type: ignore[import-untyped]

    loggers = [logging.getLogger(name) for name in logger_names]
    levels = [logger.level for logger in loggers]
    original = tqdm.std.tqdm.__init__

    def hidden(bar: Any, *args: Any, **kwargs: Any) -> None:
        original(bar, *args, **{**kwargs, "disable": True})

    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            mock.patch.object(tqdm.std.tqdm, "__init__", hidden),
            redirect_stdout(_Sink(sys.stdout)),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def tqdm_adapter(progress: Progress) -> "Callable[..., ProgressBar]":
    """What stands in for the class ``tqdm`` in a library's module, so that its bars tell ``progress``."""

    def bar(iterable: Iterable[Any] | None = None, total: int | None = None, desc: str = "", **_: Any) -> "ProgressBar":
        return ProgressBar(iterable, total, desc, progress)

    return bar


class ProgressBar:
    """The part of a tqdm bar that libraries use; nothing is drawn."""

    def __init__(self, iterable: Iterable[Any] | None, total: int | None, note: str, progress: Progress) -> None:
        self._iterable = iterable if total is not None else list(iterable or ())
        self._total = len(self._iterable) if isinstance(self._iterable, list) else total or 0
        self._done = 0
        self._note = note
        self._progress = progress

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable or ():
            yield item
            self.update(1)

    def update(self, n: int = 1) -> None:
        """Add ``n`` to what is done."""
        self._done += n
        self._progress(self._done, self._total, self._note)

    def close(self) -> None:
        """Nothing to take down."""
