"""A process that watches its parent ends with it, also where nothing could tell it."""

import subprocess
import sys
import time

import psutil

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
