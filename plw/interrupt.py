"""SIGINT and SIGTERM: training makes a checkpoint at its next step, everything else stops at once, and both say so.

A signal raises :class:`Interrupted` in the main thread. A block under :func:`deferred` gets it later: it looks at
:func:`requested` where it can stop, and raises by itself.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The process was asked to stop. Not an Exception: no retry and no failed attempt comes of it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.number).name

    @property
    def line(self) -> str:
        """What the command says of it."""
        return f"plw: stopped by {self.name}; the same command continues where it was"

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 or 143."""
        return 128 + self.number


@dataclass
class _State:
    requested: int | None = None
    deferring: bool = False
    patient: bool = False


_state = _State()


@contextmanager
def interruptible(also: tuple[signal.Signals, ...] = ()) -> Iterator[None]:
    """Handle both signals while the block runs; in another thread than the main one, or nested, this does nothing.

    Args:
        also: further signals that are handled in the same way.
    """
    numbers = (*SIGNALS, *also)
    handlers = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread() or _handle in handlers.values():
        yield
        return
    _state.requested, _state.deferring, _state.patient = None, False, False
    for number in numbers:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _state.requested, _state.deferring = None, False


def handle_as_worker(*, deferring: bool = False) -> None:
    """Handle SIGTERM for the life of this process, whose parent tells it to stop; the terminal's SIGINT is for that.

    A second SIGTERM changes nothing: the parent and the machine may both send one.

    Args:
        deferring: begin as under :func:`deferred`.
    """
    _state.requested, _state.deferring, _state.patient = None, deferring, True
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _handle(number: int, _: FrameType | None) -> None:
    if _state.deferring and (_state.patient or _state.requested is None):
        _state.requested = _state.requested or number
        return
    raise Interrupted(number)


@contextmanager
def deferred() -> Iterator[None]:
    """Keep a signal for the block, which looks at :func:`requested`."""
    before, _state.deferring = _state.deferring, True
    try:
        yield
    finally:
        _state.deferring = before


@contextmanager
def undeferred() -> Iterator[None]:
    """One task of a process that defers between its tasks: a signal from before is forgotten, one within stops it."""
    _state.requested = None
    before, _state.deferring = _state.deferring, False
    try:
        yield
    finally:
        _state.deferring = before


def requested() -> int | None:
    """The signal that waits for a deferring block, or None."""
    return _state.requested


def raise_if_requested() -> None:
    """Stop now, where a signal came while nobody could stop."""
    if _state.requested is not None:
        raise Interrupted(_state.requested)
