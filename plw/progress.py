"""How long-running work reports how far it has come: a callback of units done and units in all."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Called with the units done and the units in all, and a few words on the current state."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def no_progress(done: int, total: int, note: str = "") -> None:
    """Progress callback that does nothing."""


@dataclass(kw_only=True)
class Pace:
    """How fast units get done. Times are seconds of one clock that never jumps."""

    started: float
    """When it was first heard of."""
    first: int
    """Units that were done then: a continued stage starts in its middle."""
    done: int
    total: int
    heard: float

    @classmethod
    def begin(cls, done: int, total: int, now: float) -> Self:
        """The first word."""
        return cls(started=now, first=done, done=done, total=total, heard=now)

    def move(self, done: int, total: int, now: float) -> None:
        """A further word; where the count starts anew, so does the pace."""
        if done < self.done or total != self.total:
            self.started, self.first = now, done
        self.done, self.total, self.heard = done, total, now

    def seconds_left_at(self, now: float) -> float | None:
        """The same from a time on; None also once it is over: the units that come take longer than those that went."""
        left = self.seconds_left
        left = None if left is None else left - (now - self.heard)
        return left if left is not None and left > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all is done at the rate so far, from the last word on; None where no rate is known."""
        rate = (self.done - self.first) / max(self.heard - self.started, 1e-9)
        return (self.total - self.done) / rate if rate > 0 and self.done < self.total else None


def duration(seconds: float) -> str:
    """A length of time as a person says it: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1: ``1 seed``, ``3 seeds``, ``1,200 scores``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def counted(items: Collection[Item], progress: Progress) -> Iterator[Item]:
    """The items one after the other, each reported when it is done with."""
    for number, item in enumerate(items, start=1):
        yield item
        progress(number, len(items))
