"""Several processes for one cell: torchrun is started, watched, and ended when the work must not go on.

This process keeps the stage's claim and does no work of its own. The job goes to the others as files in the stage's
folder; what they log is read from there. A worker ends when torchrun or this process ends, so none works on unseen.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plw.errors import StageError, UserError
from plw.files import read_json
from plw.train.job import LOG, TrainingJob, TrainingSummary
from plw.train.jobfile import ENDED, write_job
from plw.train.log import logged_steps

LAUNCH = "launch"
SUMMARY = "summary.json"
OUTPUT = "output.txt"
POLL_S = 0.1
ERRORS = {"UserError": UserError, "StageError": StageError}


def launch(
    job: TrainingJob, *, on_step: Callable[[dict[str, Any]], None] | None, keep_going: Callable[[], None]
) -> TrainingSummary:
    """``train`` in ``job.processes`` processes on this machine, and on the others that join at the rendezvous.

    Raises:
        UserError, StageError: what the first process to fail says, in its own words.
    """
    folder = job.folder / LAUNCH
    shutil.rmtree(folder, ignore_errors=True)
    write_job(job, folder, owner=os.getpid())
    output = (folder / OUTPUT).open("wb")
    torchrun = subprocess.Popen(
        torchrun_command(job, folder),
        env={**os.environ, "OMP_NUM_THREADS": str(job.threads), "TOKENIZERS_PARALLELISM": "false"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        told = _Told(job.folder / LOG, on_step)
        while torchrun.poll() is None:
            keep_going()
            told.more()
            time.sleep(POLL_S)
        keep_going()
        told.more()
        if torchrun.returncode != 0:
            raise _failure(folder, torchrun.returncode)
        summary = TrainingSummary(**read_json(folder / SUMMARY))
    finally:
        _end(torchrun, folder)
        output.close()
    shutil.rmtree(folder)
    return summary


def torchrun_command(job: TrainingJob, folder: Path) -> list[str]:
    """The command that starts this machine's processes; other machines join with the same one."""
    meeting = ["--standalone"]
    if job.nodes > 1:
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={job.rendezvous}", f"--rdzv-id={job.folder.parent.name}"]
    return [
        *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={job.nodes}"),
        *(f"--nproc-per-node={job.processes}", "--max-restarts=0", *meeting),
        *("-m", "plw.train.worker", str(folder.absolute())),
    ]


class _Told:
    """Passes log rows on as they appear, each once, from the step that this attempt begins with."""

    def __init__(self, path: Path, on_step: Callable[[dict[str, Any]], None] | None) -> None:
        self._path, self._on_step = path, on_step
        self._state = self._stat()
        self._last: int | None = None

    def more(self) -> None:
        """Pass on what is new."""
        if self._on_step is None or self._stat() == self._state:
            return
        self._state = self._stat()
        rows = logged_steps(self._path)
        begins = self._path.parent / LAUNCH / "begins.json"
        if self._last is None:
            if not begins.exists():
                return
            self._last, self._steps = read_json(begins)
        assert self._last is not None
        for row in rows[self._last :]:
            self._on_step({**row, "steps": self._steps})
        self._last = max(self._last, len(rows))

    def _stat(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size


def _failure(folder: Path, code: int) -> Exception:
    """The first worker's own words, or the last line that anyone printed."""
    for path in sorted(folder.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns):
        error = read_json(path)
        if error["kind"] in ERRORS:
            return ERRORS[error["kind"]](error["message"])
        return StageError(
            f"a training process failed: {error['kind']}: {error['message']}; {folder / OUTPUT} says more"
        )
    lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip(" =-")), "nothing")
    return StageError(f"torchrun ended with code {code} and said last: {said}; {folder / OUTPUT} says more")


def _end(torchrun: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Kill what still runs on this machine, and wait until it is gone: nothing is written after this."""
    (folder / ENDED).touch()
    if torchrun.poll() is None:
        torchrun.kill()
        torchrun.wait()
    here, waiting = socket.gethostname(), []
    for path in folder.glob("worker-*.json"):
        worker = read_json(path)
        # Another owner may have launched in this folder since: its workers are not ours to kill.
        mine = worker["host"] == here and worker["owner"] == os.getpid()
        if mine and _is_alive(worker["pid"]):
            os.kill(worker["pid"], signal.SIGKILL)
            waiting.append(worker["pid"])
    while any(_is_alive(pid) for pid in waiting):
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    """Running, and a worker of ours: a number may have gone to another process since."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"plw.train.worker" in command and state != "Z"
