"""How long-running work reports how far it has come: a callback of units done and units in all."""

from typing import Protocol


class Progress(Protocol):
    """Called with the units done and the units in all, and a few words on the current state."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def no_progress(done: int, total: int, note: str = "") -> None:
    """Progress callback that does nothing."""
