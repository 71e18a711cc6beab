"""A part of a stage in this process, or in the cell's processes, each with its own copy of the model on its own device.

This process keeps the stage's claim and does no work of its own then: it moves what the first process wrote into the
stage's folder once all are done.
"""

import os
import shutil
from dataclasses import asdict

from plw.launch.job_folder import LAUNCH, put_job
from plw.launch.progress_file import ProgressReader
from plw.launch.torchrun import Workers
from plw.pipeline.context import SHARES, CellContext, CheckLease
from plw.pipeline.model_parts import MODEL_PARTS
from plw.results.score import Score


def run_part(kind: str, context: CellContext, check_lease: CheckLease) -> list[Score]:
    """The scores of a stage's part; its files lie in the stage's folder then.

    Raises:
        UserError, StageError: what the part says, or the first process to fail.
    """
    config = context.config
    # vLLM splits one model over all of the cell's GPUs by itself.
    own_engine = kind == "generate" and config.suite.backend == "vllm"
    if config.execution.processes == 1 or own_engine:
        return MODEL_PARTS[kind](context, check_lease)
    return _run_in_processes(kind, context, check_lease)


def _run_in_processes(kind: str, context: CellContext, check_lease: CheckLease) -> list[Score]:
    execution, folder = context.config.execution, context.cell.stages[kind].folder
    shares = folder / SHARES
    shutil.rmtree(shares, ignore_errors=True)
    context.model_folder()
    context.release_model()
    workers = Workers(
        module="plw.pipeline.worker",
        folder=folder / LAUNCH,
        processes=execution.processes,
        threads=execution.thread_count,
        what=kind,
    )
    said = ProgressReader(workers.folder, context.progress_for(kind))

    def on_poll() -> None:
        check_lease()
        said.poll()

    job = {"kind": kind, "config": asdict(context.config)}
    result = workers.run(lambda launch: put_job(job, launch, owner=os.getpid()), on_poll=on_poll)
    check_lease()
    for path in sorted((shares / "0").glob("*")):
        path.replace(folder / path.name)
    shutil.rmtree(shares, ignore_errors=True)
    return [Score(**score) for score in result["scores"]]
