"""The harness in several processes, each with its own copy of the model on its own device, sharing out the batches.

This process keeps the stage's claim and does no work of its own; the job goes to the others as files, and how far they
are and what they found is read from there.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from plw.config.evaluation import SuiteConfig
from plw.config.plain import from_plain
from plw.evaluate.lm_eval.harness import HarnessResult
from plw.launch.job_folder import LAUNCH, job_fields, put_job
from plw.launch.progress_file import ProgressReader
from plw.launch.torchrun import Workers
from plw.progress import Progress
from plw.results.score import Score

NOT_HARNESS = ("prompts", "decoding", "diagnostics")
"""Parts of a suite that other stages read."""


@dataclass(frozen=True, kw_only=True)
class HarnessJob:
    """What each process of one harness stage is told."""

    model: Path
    """The trained model's folder."""
    device: str
    """``auto`` (CUDA where there is one), ``cpu`` or ``cuda``."""
    threads: int
    processes: int
    suite: SuiteConfig
    files: Mapping[str, Mapping[str, Path]]
    """Benchmark -> split -> local file."""
    task_folders: tuple[Path, ...]
    folder: Path
    """The stage's, where each process notes its answers."""
    items: Path
    """Where the first process writes the item table."""
    identity: Mapping[str, str]
    """What answers depend on beside their batch."""
    samples: Path
    """Where the first process writes lm-eval's own files of samples, if the suite asks for them."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""


def run_tasks_in_processes(job: HarnessJob, *, progress: Progress, check_lease: Callable[[], None]) -> HarnessResult:
    """:func:`plw.evaluate.lm_eval.harness.run_tasks` in ``job.processes`` processes on this machine, to equal results.

    Args:
        job: What to evaluate, and where; what the processes print stays in its folder's ``launch`` when one fails.
        progress: Gets the requests done, as the first process's share says.
        check_lease: Called several times a second; stops the work at once by raising.

    Raises:
        UserError, StageError: what the first process to fail says, in its own words.
    """
    launch = job.folder / LAUNCH
    said = ProgressReader(launch, progress)

    def on_poll() -> None:
        check_lease()
        said.poll()

    workers = Workers(
        module="plw.evaluate.lm_eval.worker",
        folder=launch,
        processes=job.processes,
        threads=job.threads,
        what="harness",
    )
    result = workers.run(lambda folder: write_harness_job(job, folder, owner=os.getpid()), on_poll=on_poll)
    return HarnessResult(scores=[Score(**score) for score in result["scores"]], raw=result["raw"])


def write_harness_job(job: HarnessJob, folder: Path, *, owner: int) -> None:
    """Write the job to ``folder``, which is made."""
    suite = {name: value for name, value in asdict(job.suite).items() if name not in NOT_HARNESS}
    files = {name: {split: str(path.absolute()) for split, path in of.items()} for name, of in job.files.items()}
    plain = {"device": job.device, "threads": job.threads, "processes": job.processes, "suite": suite, "files": files}
    plain |= {"model": str(job.model.absolute())}
    plain |= {"task_folders": [str(tasks.absolute()) for tasks in job.task_folders]}
    plain |= {name: str(getattr(job, name).absolute()) for name in ("folder", "items", "samples")}
    plain |= {"identity": dict(job.identity)}
    plain |= {"trust_remote_code": job.trust_remote_code}
    put_job(plain, folder, owner=owner)


def read_harness_job(folder: Path) -> HarnessJob:
    """The job as it was written; of the suite, what the harness reads."""
    plain = job_fields(folder)
    files = {name: {split: Path(path) for split, path in of.items()} for name, of in plain.pop("files").items()}
    return from_plain(HarnessJob, plain | {"files": files})
