"""Logging of the project's own modules: the standard library's, through rich on a terminal, plainly elsewhere.

A module logs with ``logging.getLogger(__name__)``. ``PLW_LOG`` names the level; by default warnings alone are shown.
"""

import logging
import os
import sys

from plw.errors import UserError

VARIABLE = "PLW_LOG"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOGGERS = ("plw", "analysis", "hydra_plugins")
PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logging() -> None:
    """Send the project's log lines to standard error: once a process, before its work; a second call changes nothing.

    The libraries' loggers and the root logger are left as they are.

    Raises:
        UserError: PLW_LOG names no level.
    """
    level = os.environ.get(VARIABLE, "WARNING").upper() or "WARNING"
    if level not in LEVELS:
        raise UserError(f"{VARIABLE}={os.environ[VARIABLE]} is no log level; allowed: {', '.join(LEVELS)}")
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        # Libraries put handlers of their own on the root logger; a line would be shown twice.
        logger.propagate = False
        logger.handlers = [_handler()]


def _handler() -> logging.Handler:
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        return RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(PLAIN))
    return handler
