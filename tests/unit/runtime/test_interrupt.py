"""Signals stop at once, or where a block that defers them says so."""

import builtins
import pickle
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from plw.__main__ import start
from plw.runtime.interrupt import Interrupted, deferred, interruptible, raise_if_requested, requested, undeferred

ALL = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


@pytest.fixture(autouse=True)
def hang_up_as_usual() -> Iterator[None]:
    """Whoever runs the tests may have it ignored (nohup)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def send(number: int) -> None:
    signal.raise_signal(number)


@ALL
def test_a_signal_stops_at_once_and_handlers_are_put_back(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, interruptible():
        send(number)
    assert caught.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}[number]
    assert caught.value.name == signal.Signals(number).name
    assert signal.getsignal(number) is before


@ALL
def test_a_signal_while_the_command_is_imported_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = builtins.__import__

    def interrupted(name: str, *rest: Any, **named: Any) -> Any:
        if name == "plw.cli":
            send(number)
        return imported(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 128 + number
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"plw: stopped by {signal.Signals(number).name}; the same command continues where it was"


@ALL
def test_a_deferring_block_is_told_and_goes_on(number: int) -> None:
    with interruptible():
        with deferred():
            assert requested() is None
            send(number)
            assert requested() == number
        with pytest.raises(Interrupted) as caught:
            raise_if_requested()
    assert caught.value.number == number
    with interruptible():
        raise_if_requested()


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    """`nohup` ignores it for what it starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_does_not_wait() -> None:
    with interruptible(), deferred():
        send(signal.SIGTERM)
        with pytest.raises(Interrupted) as caught:
            send(signal.SIGINT)
    assert caught.value.number == signal.SIGINT


def test_a_worker_forgets_between_tasks_and_is_stopped_within_one() -> None:
    with interruptible(), deferred():
        send(signal.SIGTERM)
        with undeferred():
            assert requested() is None
            with pytest.raises(Interrupted):
                send(signal.SIGTERM)


def test_nothing_is_handled_in_another_thread() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def work() -> None:
        with interruptible():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_it_comes_back_from_another_process_as_it_was() -> None:
    again = pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM)))
    assert (type(again), again.exit_code) == (Interrupted, 143)
