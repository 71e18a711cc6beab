"""How long work says how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called with the units done and the units in all, and a few words on the current state."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """Nobody listens."""
