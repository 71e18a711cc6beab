"""Worker processes under torchrun, seen by the process that holds the claim: started, watched, and ended with it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from plw.config.study import SLURM
from plw.errors import StageError, UserError
from plw.files.reading import read_json
from plw.launch.job_folder import ENDED, RESULT, STOP
from plw.launch.process_end import signal_words
from plw.runtime.interrupt import deferred, raise_if_requested, requested
from plw.runtime.machine import process_space

OUTPUT = "output.txt"
TORCH_LOGS = "torchrun"
"""Folder in which torchrun gives each worker its error file."""
POLL_S = 0.1
FIRST_PORT, PORTS = 20_000, 20_000
"""Ports of such a rendezvous: by the job's number, so that jobs that share a node do not meet each other."""
ERRORS = {"UserError": UserError, "StageError": StageError}
ENDED_BY_SIGNAL = re.compile(r"rank\s*: (\d+) \(local_rank: \d+\)\s*exitcode\s*: -(\d+) \(pid: (\d+)\)")
"""What torchrun prints of a worker that a signal has ended."""
KILLED_BY_TORCHRUN = "Unable to shutdown process {pid} "
OF_TORCHRUN = (signal.SIGTERM, signal.SIGABRT)
"""Signals that end a worker because another has failed: torchrun's own, and that of a collective's watchdog."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The worker processes of one job on this machine, each ``python -m module folder``."""

    module: str
    """The workers' module, which calls :func:`plw.launch.worker_main.worker_main`."""
    folder: Path
    """Of the launch, in its stage's; what the workers print goes to a file there."""
    processes: int
    threads: int
    """CPU threads of a worker."""
    what: str
    """What the processes do, for messages."""
    nodes: int = 1
    rendezvous: str | None = None
    """``host:port`` where several machines meet, or ``slurm``."""

    def command(self) -> list[str]:
        """Torchrun's command for this machine; other machines join with the same one."""
        rendezvous = ["--standalone"]
        if self.nodes > 1:
            run_id = self.folder.absolute().parent.parent.name
            rendezvous = [
                "--rdzv-backend=c10d",
                f"--rdzv-endpoint={meeting_place(str(self.rendezvous))}",
                f"--rdzv-id={run_id}",
            ]
        return [
            *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={self.nodes}"),
            *(f"--nproc-per-node={self.processes}", "--max-restarts=0", f"--log-dir={self.folder / TORCH_LOGS}"),
            *(*rendezvous, "-m", self.module, str(self.folder.absolute())),
        ]

    def run(
        self, write_job: Callable[[Path], None], *, on_poll: Callable[[], None], makes_checkpoints: bool = False
    ) -> Any:
        """Start the workers and watch them to their end; none of them on this machine is left after this.

        Args:
            write_job: writes the job to the folder that it is given, with :func:`plw.launch.job_folder.put_job` last.
            on_poll: called several times a second and once at the end; what it raises ends the work.
            makes_checkpoints: whether the workers look for the file STOP; then SIGINT and SIGTERM ask them first.

        Returns:
            What rank 0 left as its result; the folder is removed then.

        Raises:
            UserError, StageError: what the first process to fail says, in its own words.
            Interrupted: by a signal, the workers gone.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_job(self.folder)
        with (self.folder / OUTPUT).open("wb") as output:
            torchrun = subprocess.Popen(
                self.command(),
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The terminal's Ctrl-C is for this process alone, which tells the others.
                start_new_session=True,
            )
            try:
                with deferred() if makes_checkpoints else nullcontext():
                    while torchrun.poll() is None:
                        on_poll()
                        if makes_checkpoints and requested() is not None:
                            (self.folder / STOP).touch()
                        time.sleep(POLL_S)
                    on_poll()
            finally:
                _end(torchrun, self.folder, self.module)
        if torchrun.returncode != 0:
            if requested() is not None:
                shutil.rmtree(self.folder)
                raise_if_requested()
            raise self._failure(torchrun.returncode)
        result = read_json(self.folder / RESULT)
        shutil.rmtree(self.folder)
        return result

    def _failure(self, code: int) -> Exception:
        """The first worker's own words, the signal that ended one, or the last line that anyone printed.

        Where a signal ended a worker, the others say that they no longer reach it, which helps nobody.
        """
        says_more = f"{self.folder / OUTPUT} says more"
        output = (self.folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
        killed = killed_rank(output)
        for path in sorted(self.folder.rglob("error.json"), key=lambda path: path.stat().st_mtime_ns):
            kind, _, message = read_json(path)["message"]["message"].partition(": ")
            if kind in ERRORS:
                return ERRORS[kind](message)
            if killed is not None:
                break
            said = " ".join(message.split())
            return StageError(f"a {self.what} process failed: {kind}: {said}; {says_more}")
        if killed is not None:
            rank, number = killed
            return StageError(
                f"the {self.what} process of rank {rank} was ended by {signal_words(number)}; {says_more}"
            )
        said = next((line.strip() for line in reversed(output.split("\n")) if line.strip(" =-")), "nothing")
        return StageError(f"torchrun ended with code {code} and said last: {said}; {says_more}")


def killed_rank(output: str) -> tuple[int, int] | None:
    """Rank and signal of a worker that neither torchrun nor another worker's failure has ended; None where none was."""
    for rank, number, pid in ENDED_BY_SIGNAL.findall(output):
        if int(number) not in OF_TORCHRUN and KILLED_BY_TORCHRUN.format(pid=pid) not in output:
            return int(rank), int(number)
    return None


def meeting_place(rendezvous: str) -> str:
    """``host:port`` of a rendezvous.

    Raises:
        UserError: ``slurm`` outside of a Slurm job.
    """
    if rendezvous != SLURM:
        return rendezvous
    host, job = (os.environ.get(name) for name in ("SLURM_LAUNCH_NODE_IPADDR", "SLURM_JOB_ID"))
    if host is None or job is None:
        raise UserError(f"execution.rendezvous={SLURM}: this is no Slurm job; give HOST:PORT")
    return f"{host}:{FIRST_PORT + int(job) % PORTS}"


def _end(torchrun: "subprocess.Popen[bytes]", folder: Path, module: str) -> None:
    """Kill what still runs on this machine, and wait until it is gone: nothing is written after this."""
    (folder / ENDED).touch()
    if torchrun.poll() is None:
        torchrun.kill()
        torchrun.wait()
    here, waiting = process_space(), []
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
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and module in process.cmdline()
    except psutil.NoSuchProcess:
        return False
