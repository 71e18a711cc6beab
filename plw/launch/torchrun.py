"""Worker processes under torchrun, seen by the process that holds the claim: started, watched, and ended with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from plw.errors import StageError, UserError
from plw.files import read_json
from plw.train.jobfile import ENDED

LAUNCH = "launch"
"""Folder of a launch, in its stage's."""
OUTPUT = "output.txt"
POLL_S = 0.1
ERRORS = {"UserError": UserError, "StageError": StageError}


def torchrun(
    module: str, folder: Path, *, processes: int, nodes: int = 1, meeting: Sequence[str] = ("--standalone",)
) -> list[str]:
    """The command that starts this machine's ``processes``, each as ``python -m module folder``."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}"),
        *(f"--nproc-per-node={processes}", "--max-restarts=0", *meeting),
        *("-m", module, str(folder.absolute())),
    ]


def watch(
    command: Sequence[str], module: str, folder: Path, *, threads: int, what: str, turn: Callable[[], None]
) -> None:
    """Run torchrun to its end; whatever happens, none of its workers on this machine is left after this.

    Args:
        command: what :func:`torchrun` gave.
        module: the workers' module, which calls :func:`plw.launch.worker_main.serve`.
        folder: of the launch, with the job in it; what is printed goes to a file there.
        threads: CPU threads of a worker.
        what: what the processes do, for messages.
        turn: called several times a second and once at the end; what it raises ends the work.

    Raises:
        UserError, StageError: what the first process to fail says, in its own words.
    """
    output = (folder / OUTPUT).open("wb")
    started = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        while started.poll() is None:
            turn()
            time.sleep(POLL_S)
        turn()
        if started.returncode != 0:
            raise _failure(folder, started.returncode, what)
    finally:
        _end(started, folder, module)
        output.close()


def _failure(folder: Path, code: int, what: str) -> Exception:
    """The first worker's own words, or the last line that anyone printed."""
    for path in sorted(folder.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns):
        error = read_json(path)
        if error["kind"] in ERRORS:
            return ERRORS[error["kind"]](error["message"])
        return StageError(f"a {what} process failed: {error['kind']}: {error['message']}; {folder / OUTPUT} says more")
    lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip(" =-")), "nothing")
    return StageError(f"torchrun ended with code {code} and said last: {said}; {folder / OUTPUT} says more")


def _end(started: "subprocess.Popen[bytes]", folder: Path, module: str) -> None:
    """Kill what still runs on this machine, and wait until it is gone: nothing is written after this."""
    (folder / ENDED).touch()
    if started.poll() is None:
        started.kill()
        started.wait()
    here, waiting = socket.gethostname(), []
    for path in folder.glob("worker-*.json"):
        worker = read_json(path)
        # Another owner may have launched in this folder since: its workers are not ours to kill.
        mine = worker["host"] == here and worker["owner"] == os.getpid()
        if mine and _is_alive(worker["pid"], module):
            os.kill(worker["pid"], signal.SIGKILL)
            waiting.append(worker["pid"])
    while any(_is_alive(pid, module) for pid in waiting):
        time.sleep(0.02)


def _is_alive(pid: int, module: str) -> bool:
    """Running, and a worker of ours: a number may have gone to another process since."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return module.encode() in command and state != "Z"
