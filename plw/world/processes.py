"""The two base models pretrained side by side, each in a fresh interpreter with its own threads."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from threading import Thread

from plw.errors import StageError
from plw.progress import Progress

PACKAGE_ROOT = Path(__file__).resolve().parents[2]

Lines = Queue[tuple[str, str | None]]
"""Lines of the processes' output with the name of the model; None is the end of one's output."""


def run_parallel(folder: Path, names: Sequence[str], steps: int, progress: Progress) -> None:
    """Pretrain `names` in `folder`, one process each, and report the steps of all together.

    Raises:
        StageError: a process failed; the line holds the last line it wrote. The others are stopped.
    """
    running = {name: _start(folder, name) for name in names}
    lines: Lines = Queue()
    readers = [Thread(target=_forward, args=(name, process, lines), daemon=True) for name, process in running.items()]
    try:
        for reader in readers:
            reader.start()
        _follow(folder, running, lines, steps, progress)
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()
        for name in names:
            _errors(folder, name).unlink(missing_ok=True)


def _follow(
    folder: Path, running: dict[str, "subprocess.Popen[str]"], lines: Lines, steps: int, progress: Progress
) -> None:
    done = dict.fromkeys(running, 0)
    losses: dict[str, str] = {}
    open_names = set(running)
    while open_names:
        name, line = lines.get()
        if line is None:
            open_names.remove(name)
            if running[name].wait() != 0:
                raise StageError(f"pretraining of base model {name} failed: {_last_line(folder, name)}")
        elif line.startswith("step "):
            _, step, losses[name] = line.split()
            done[name] = int(step)
            note = ", ".join(f"{key} loss {losses[key]}" for key in running if key in losses)
            progress(sum(done.values()), steps * len(running), note)


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


def _forward(name: str, process: "subprocess.Popen[str]", lines: Lines) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            lines.put((name, line))
    lines.put((name, None))


def _errors(folder: Path, name: str) -> Path:
    return folder / f"{name}.errors"


def _last_line(folder: Path, name: str) -> str:
    lines = _errors(folder, name).read_text().strip().splitlines()
    return lines[-1] if lines else "no message"
