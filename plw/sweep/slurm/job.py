"""What one job of the array does: its cell, by the same code as on a laptop, stopped and continued as Slurm wants it.

SIGTERM (preemption, scancel, a node that is drained) and SIGUSR2 (the time limit comes near) make a checkpoint at the
next step. After SIGUSR2 the job puts itself back into the queue and continues there.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from plw.config import CellConfig, ExecutionConfig
from plw.config.study import PREFERENCE
from plw.data.inputs import Input, check_unchanged
from plw.launch.job_folder import ENDED, JOB, LAUNCH
from plw.launch.torchrun import Workers
from plw.paths import RECORD
from plw.runtime.ending import told_in_a_line
from plw.runtime.interrupt import Interrupted, interruptible
from plw.runtime.logs import configure_logging
from plw.runtime.memory import collect_rarely

TIME_IS_UP = signal.SIGUSR2
LOOK_S = 1.0


@dataclass(frozen=True)
class CellJob:
    """The work of one array index, on each of its nodes.

    Args:
        config: the cell.
        requeues: times that a job may put itself back into the queue.
        inputs: what the cell reads, as it was when it was submitted.
    """

    config: CellConfig
    requeues: int
    inputs: tuple[Input, ...] = ()

    def __call__(self) -> None:
        """Run the cell, or help the node that does; leaves with the signal's code where one stopped it."""
        with told_in_a_line():
            configure_logging()
            collect_rarely()
            if int(os.environ.get("SLURM_PROCID", "0")) > 0:
                follow(self.config)
            else:
                self._run()

    def _run(self) -> None:
        from plw.sweep.summary import run_and_summarise

        try:
            with interruptible(also=(TIME_IS_UP,)):
                check_unchanged(self.inputs)
                # Nobody is there to give the command again, should the server be started anew just now.
                run_and_summarise([self.config], wait_s=self.config.registry.wait_s)
        except Interrupted as stop:
            if stop.number == TIME_IS_UP:
                self._requeue()
            raise

    def _requeue(self) -> None:
        job, before = os.environ["SLURM_JOB_ID"], int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if before >= self.requeues:
            words = f"plw: job {job} was requeued {before} times, which is all that hydra.launcher.requeues allows"
            print(f"{words}; the same command continues the cell", file=sys.stderr, flush=True)  # noqa: T201
            return
        subprocess.run(["scontrol", "requeue", job], check=True)


def follow(config: CellConfig) -> None:
    """Join the trainings of a cell whose first node is another, as often as each is started, until all are done."""
    from plw.pipeline import resolve_cell

    stages = resolve_cell(config).stages
    for kind in ("train", PREFERENCE):
        if kind == "train" or kind in config.stages:
            _follow_training(config.execution, stages[kind].folder)


def _follow_training(execution: ExecutionConfig, train: Path) -> None:
    workers = Workers(
        module="plw.train.worker",
        folder=train / LAUNCH,
        processes=execution.processes,
        threads=execution.thread_count,
        what="training",
        nodes=execution.nodes,
        rendezvous=execution.rendezvous,
    )
    joined: int | None = None
    while not (train / RECORD).exists():
        # One launch in the folder is told from the next by when its job was written.
        job = workers.folder / JOB
        written = job.stat().st_mtime_ns if job.exists() else None
        if written not in (None, joined) and not (workers.folder / ENDED).exists():
            joined = written
            environment = {**os.environ, "OMP_NUM_THREADS": str(workers.threads), "TOKENIZERS_PARALLELISM": "false"}
            subprocess.run(workers.command(), env=environment, check=False)
        time.sleep(LOOK_S)
