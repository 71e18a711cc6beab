"""Workers beside one that died are waited for while they are on a cell, and none is left."""

import multiprocessing
import time

import pytest

from plw.sweep import dead_workers
from plw.sweep.dead_workers import end_beside_a_dead_one

CELL = 3


def beside(sleep_s: float) -> multiprocessing.context.ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(sleep_s,))
    process.start()
    return process


@pytest.mark.parametrize(
    ("number", "sleep_s", "limit_s", "code", "said"),
    [
        (CELL, 0.5, 60.0, 0, ["a worker process died; waiting for the checkpoints of 1 other beside it, 60 s at most"]),
        (CELL, 60.0, 0.2, -9, ["a worker process died; waiting", "1 worker did not stop in time, killed"]),
        (~CELL, 60.0, 60.0, -9, []),
    ],
    ids=["stops", "does not stop", "without a cell"],
)
def test_a_worker_beside_a_dead_one(
    number: int, sleep_s: float, limit_s: float, code: int, said: list[str],
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(dead_workers, "CHECKPOINT_TIMEOUT_S", limit_s)
    monkeypatch.setattr(dead_workers, "EXIT_TIMEOUT_S", 0.2)
    process = beside(sleep_s)
    assert process.pid is not None
    end_beside_a_dead_one([process], [process.pid, number])
    assert process.exitcode == code
    assert len(caplog.messages) == len(said)
    assert all(message.startswith(start) for message, start in zip(caplog.messages, said, strict=True))
