"""Python looks through all its objects seldom, and finds young ones that nothing refers to as soon as ever."""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from plw.__main__ import start
from plw.launch.threads import SPIN_COUNT
from plw.runtime.memory import collect_rarely


@pytest.fixture(autouse=True)
def as_python_starts() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def full_collections() -> int:
    return int(gc.get_stats()[-1]["collections"])


def made(objects: int) -> int:
    """Collections of all objects while so many are made that stay."""
    gc.collect()
    before = full_collections()
    kept = [[] for _ in range(objects)]
    assert len(kept) == objects
    return full_collections() - before


class Node:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python collects in steps by itself")
def test_a_million_objects_that_stay_are_not_looked_through() -> None:
    objects = max(1_000_000, len(gc.get_objects()))
    assert made(objects) > 0
    collect_rarely()
    assert made(1_000_000) == 0


def test_a_young_cycle_is_found() -> None:
    collect_rarely()
    gone = weakref.ref(Node())
    kept = [[] for _ in range(20_000)]
    assert kept
    assert gone() is None


def test_the_command_collects_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["plw", "--version"])
    monkeypatch.setenv("GOMP_SPINCOUNT", SPIN_COUNT)
    with pytest.raises(SystemExit):
        start()
    threshold = gc.get_threshold()
    collect_rarely()
    assert threshold == gc.get_threshold() != (700, 10, 10)
