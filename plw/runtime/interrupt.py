"""SIGINT, SIGTERM and SIGHUP: training makes a checkpoint at its next step, everything else stops at once; all say so.

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
HANG_UP = signal.SIGHUP
"""The terminal is gone. Handled as well, unless whoever started the process has it ignored (nohup)."""
READER_GONE = signal.SIGPIPE
"""What a process is stopped with where nobody reads its output any more. Not handled as a signal: servers that hang up
send it too.
"""


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
        """What a shell expects of a process that a signal ended: 130 of SIGINT, 143 of SIGTERM."""
        return 128 + self.number


@dataclass
class _State:
    requested: int | None = None
    deferring: bool = False
    patient: bool = False
    stands_for: int | None = None


_state = _State()


@contextmanager
def interruptible(also: tuple[signal.Signals, ...] = ()) -> Iterator[None]:
    """Handle the signals while the block runs; in another thread than the main one, or nested, this does nothing.

    Args:
        also: further signals that are handled in the same way.
    """
    numbers = (*SIGNALS, *also)
    if signal.getsignal(HANG_UP) is not signal.SIG_IGN:
        numbers = (*numbers, HANG_UP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread() or _handle in handlers.values():
        yield
        return
    _state.requested, _state.deferring, _state.patient, _state.stands_for = None, False, False, None
    for number in numbers:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _state.requested, _state.deferring = None, False


def handle_as_worker(*, deferring: bool = False) -> None:
    """Handle SIGTERM for the life of this process, whose parent tells it to stop; the terminal's signals are for that.

    A second SIGTERM changes nothing: the parent and the machine may both send one.

    Args:
        deferring: begin as under :func:`deferred`.
    """
    _state.requested, _state.deferring, _state.patient = None, deferring, True
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(HANG_UP, signal.SIG_IGN)


def stop(number: int) -> None:
    """Stop the process's work, from any of its threads, as if the signal had come; nothing, where none is handled."""
    if threading.current_thread() is threading.main_thread():
        _handle(number, None)
    elif signal.getsignal(signal.SIGTERM) is _handle:
        # A signal that is handled wakes the main thread from whatever it waits for.
        _state.stands_for = number
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _handle(number: int, _: FrameType | None) -> None:
    number, _state.stands_for = _state.stands_for or number, None
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
