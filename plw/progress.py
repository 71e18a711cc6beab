"""How long-running work reports how far it has come: a callback of units done and units in all."""

from collections.abc import Collection, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Called with the units done and the units in all, and a few words on the current state."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def no_progress(done: int, total: int, note: str = "") -> None:
    """Progress callback that does nothing."""


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1: ``1 seed``, ``3 seeds``, ``1,200 scores``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def counted(items: Collection[Item], progress: Progress) -> Iterator[Item]:
    """The items one after the other, each reported when it is done with."""
    for number, item in enumerate(items, start=1):
        yield item
        progress(number, len(items))
