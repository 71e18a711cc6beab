"""A process that watches its parent ends with it, also where nothing could tell it."""

import signal
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.launch.process_end import signal_words
from plw.launch.torchrun import killed_rank

CHILD = "import os, time; from plw.launch.process_end import end_with_parent; end_with_parent(os.getppid()); "
WAITS = CHILD + "print(os.getpid(), flush=True); time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITS!r}])"


def test_a_child_ends_with_a_parent_killed_with_9() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(1)
        assert child.is_running()
        parent.kill()
        child.wait(timeout=20)


FAILURES = """
[1]:
  time      : 2026-11-30_03:38:26
  host      : localhost
  rank      : {rank} (local_rank: 0)
  exitcode  : {code} (pid: 4242)  (NAME)
"""


@pytest.mark.parametrize(
    ("code", "before", "found"),
    [
        (-9, "", (3, signal.SIGKILL)),
        (-11, "", (3, signal.SIGSEGV)),
        (1, "", None),
        (-15, "", None),
        (-9, "Unable to shutdown process 4242 via Signals.SIGTERM, forcefully exiting via 9", None),
    ],
    ids=["killed", "segmentation fault", "failed by itself", "ended by torchrun", "ended by torchrun at last"],
)
def test_the_rank_that_a_signal_ended_is_told_from_those_that_torchrun_ended(
    code: int, before: str, found: tuple[int, int] | None
) -> None:
    assert killed_rank(before + FAILURES.format(rank=3, code=code)) == found


@given(st.integers(1, 64))
def test_every_signal_has_words(number: int) -> None:
    assert signal_words(number).startswith(("SIG", "signal "))
