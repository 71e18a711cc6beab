"""Logging of the project's own modules: the standard library's, through rich on a terminal, plainly elsewhere.

A module logs with ``logging.getLogger(__name__)``. ``PLW_LOG`` names the level; by default warnings alone are shown.
"""

import logging
import os
import sys
from typing import TextIO

from plw.errors import UserError, printable
from plw.redact import redact

VARIABLE = "PLW_LOG"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOGGERS = ("plw", "analysis", "hydra_plugins")
HANDLER = "plw"
PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logging() -> None:
    """Send the project's log lines to standard error: once a process, before its work; a second call changes nothing.

    The libraries' loggers keep their levels; what they warn of is shown in the same form.

    Raises:
        UserError: PLW_LOG names no level.
    """
    level = os.environ.get(VARIABLE, "WARNING").upper() or "WARNING"
    if level not in LEVELS:
        raise UserError(f"{VARIABLE}={os.environ[VARIABLE]} is no log level; allowed: {', '.join(LEVELS)}")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level)
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if handler.name != HANDLER] + [_handler()]


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is now: it may be redirected, or a display may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _handler() -> logging.Handler:
    made: logging.Handler
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        made = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    else:
        made = _StandardError()
        made.setFormatter(logging.Formatter(PLAIN))
    made.name = HANDLER
    made.addFilter(_not_shown_yet)
    made.addFilter(_redact)
    return made


def _redact(record: logging.LogRecord) -> bool:
    """Take keys, and characters that a terminal obeys, out of a line and out of the traceback under it."""
    record.msg, record.args = _clean(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = _clean(logging.Formatter().formatException(record.exc_info))
    return True


def _clean(text: str) -> str:
    return "\n".join(map(printable, redact(text).split("\n")))


def _not_shown_yet(record: logging.LogRecord) -> bool:
    """Whether no handler of a library's own has the record: some libraries show a line and pass it on as well."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return False
        logger = logger.parent
    return True
