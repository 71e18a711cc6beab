"""The two base models pretrained side by side, each in a fresh interpreter with its own threads."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from plw.errors import StageError
from plw.progress import Progress

PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def run_side_by_side(folder: Path, names: Sequence[str], steps: int, progress: Progress) -> None:
    """Pretrain `names` in `folder`, one process each, and report the steps of all together.

    Raises:
        StageError: a process failed; the line holds the last line it wrote.
    """
    done = dict.fromkeys(names, 0)
    losses: dict[str, str] = {}
    running = {name: _start(folder, name) for name in names}
    lock = threading.Lock()

    def follow(name: str) -> None:
        stream = running[name].stdout
        assert stream is not None
        for line in stream:
            words = line.split()
            if len(words) == 3 and words[0] == "step":
                with lock:
                    done[name], losses[name] = int(words[1]), words[2]
                    note = ", ".join(f"{key} loss {float(loss):.2f}" for key, loss in sorted(losses.items()))
                    progress(sum(done.values()), steps * len(names), note)

    followers = [threading.Thread(target=follow, args=(name,), daemon=True) for name in names]
    try:
        for follower in followers:
            follower.start()
        for name, process in running.items():
            if process.wait() != 0:
                raise StageError(f"pretraining of base model {name} failed: {_last_line(folder, name)}")
    finally:
        for process in running.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        for follower in followers:
            follower.join()
        for name, process in running.items():
            if process.stdout is not None:
                process.stdout.close()
            _errors(folder, name).unlink(missing_ok=True)


def _start(folder: Path, name: str) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")])),
    }
    with _errors(folder, name).open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "plw.world.pretrain", str(folder), name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )


def _errors(folder: Path, name: str) -> Path:
    return folder / f"{name}.errors"


def _last_line(folder: Path, name: str) -> str:
    lines = _errors(folder, name).read_text().strip().splitlines()
    return lines[-1] if lines else "no message"
