"""Silence for libraries that print: no progress bars, no chatter on stdout, no warnings or log lines below an error."""

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any


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
    tqdm.std.tqdm.__init__ = hidden
    try:
        with redirect_stdout(_Sink(sys.stdout)), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        tqdm.std.tqdm.__init__ = original
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
