"""Where words for a person go: as wide as their terminal, and wide enough for a table in a log file."""

from rich.console import Console

LOG_WIDTH = 140


def console() -> Console:
    """A console on standard output; lines are never broken inside a path."""
    made = Console(soft_wrap=True, highlight=False)
    return made if made.is_terminal else Console(soft_wrap=True, highlight=False, width=LOG_WIDTH)
