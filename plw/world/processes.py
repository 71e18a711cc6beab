"""The base models pretrained side by side, one a core, each in a fresh interpreter with its own threads."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from threading import Thread

from plw.errors import StageError, StorageError
from plw.files.storage import storage_error
from plw.launch.process_end import signal_words
from plw.progress import Progress

PACKAGE_ROOT = Path(__file__).resolve().parents[2]

Lines = Queue[tuple[str, str | None]]
"""Lines of the processes' output with the name of the model; None is the end of one's output."""


def run_parallel(folder: Path, names: Sequence[str], steps: int, progress: Progress) -> None:
    """Pretrain `names` in `folder`, one process each and as many at once as there are cores.

    `progress` counts the steps of all together.

    Raises:
        StageError: a process failed; the line holds the last line it wrote, or the signal. The others are stopped.
        StorageError: the disk takes no more.
    """
    lines: Lines = Queue()
    running: dict[str, subprocess.Popen[str]] = {}
    readers: list[Thread] = []
    waiting = list(names)

    def start() -> None:
        name = waiting.pop(0)
        running[name] = _start(folder, name)
        readers.append(Thread(target=_forward, args=(name, running[name], lines), daemon=True))
        readers[-1].start()

    done = dict.fromkeys(names, 0)
    try:
        for _ in range(min(len(names), os.cpu_count() or 1)):
            start()
        while running:
            name, line = lines.get()
            if line is None:
                code = running.pop(name).wait()
                if code != 0:
                    raise _failure(folder, name, code)
                if waiting:
                    start()
            elif line.startswith("step "):
                _, step, loss = line.split()
                done[name] = int(step)
                progress(sum(done.values()), steps * len(names), f"{name} loss {loss}")
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()
        for name in names:
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


def _forward(name: str, process: "subprocess.Popen[str]", lines: Lines) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            lines.put((name, line))
    lines.put((name, None))


def _errors(folder: Path, name: str) -> Path:
    return folder / f"{name}.errors"


def _failure(folder: Path, name: str, code: int) -> StageError | StorageError:
    if code < 0:
        return StageError(f"pretraining of base model {name} was ended by {signal_words(-code)}")
    said = _last_line(folder, name)
    # Its words lie on the same disk, so they may be lost: the disk is asked as well.
    full = storage_error(RuntimeError(said), f"{folder.parent}: pretraining of base model {name}", folder)
    return full or StageError(f"pretraining of base model {name} failed: {said}")


def _last_line(folder: Path, name: str) -> str:
    lines = _errors(folder, name).read_text().strip().splitlines()
    return lines[-1] if lines else "no message"
