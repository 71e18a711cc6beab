"""What the harness stage does: lm-eval's benchmarks in this process or several, continued where it was killed."""

import logging
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING

from plw.evaluate.lm_eval.definition import task_folders
from plw.files.writing import write_json_atomic
from plw.pipeline.cell import Cell
from plw.pipeline.context import CellContext, CheckLease
from plw.pipeline.stage import StageResult
from plw.progress import Progress
from plw.results.items import ITEMS, write_items

if TYPE_CHECKING:
    from plw.evaluate.lm_eval.harness import HarnessResult

SAMPLES_FOLDER = "samples"
"""Folder of lm-eval's own files of samples, in the stage's."""
ANSWERING_LIBRARIES = ("torch", "transformers", "lm_eval")
"""Those that answer: the log of another version is not continued."""

logger = logging.getLogger(__name__)


def run_harness(context: CellContext, check_lease: CheckLease) -> StageResult:
    """The lm-eval benchmarks, over the cell's processes; leaves the harness's own ``results.json``.

    Killed, it goes on with the answers that it has, to equal scores and items.
    """
    from plw.evaluate.lm_eval.answer_log import answer_files, check_answer_files

    suite, stage = context.config.suite, context.cell.stages["harness"]
    folder, unchecked = stage.folder, stage.folder / f".{SAMPLES_FOLDER}"
    identity = {"stage": stage.fingerprint} | {library: version(library) for library in ANSWERING_LIBRARIES}
    check_answer_files(folder, identity)
    for left in (unchecked, folder / SAMPLES_FOLDER):
        shutil.rmtree(left, ignore_errors=True)
    together = context.config.execution.processes > 1 and suite.backend == "hf" and suite.tasks
    result = (_in_processes if together else _in_this_process)(context, identity, check_lease)
    check_lease()
    if together:
        (folder / f".{ITEMS}").replace(folder / ITEMS)
    else:
        write_items(folder / ITEMS, result.items)
    if unchecked.exists():
        unchecked.replace(folder / SAMPLES_FOLDER)
    write_json_atomic(folder / "results.json", result.raw)
    groups = {name: task.group for name, task in suite.tasks.items()}
    return StageResult(scores=result.scores, details={"groups": groups}, temp_files=answer_files(folder))


def tell_missing_samples(cell: Cell) -> None:
    """Say where a finished stage lacks the samples that the suite asks for now."""
    folder = cell.stages["harness"].folder
    if cell.config.suite.samples and not (folder / SAMPLES_FOLDER).exists():
        logger.warning(
            "suite.samples=true: %s was finished without samples; remove it to have the harness run again", folder
        )


def _in_this_process(context: CellContext, identity: dict[str, str], check_lease: CheckLease) -> "HarnessResult":
    from plw.evaluate.lm_eval.answer_log import AnswerLog
    from plw.evaluate.lm_eval.harness import run_tasks

    suite, folder = context.config.suite, context.cell.stages["harness"].folder
    with AnswerLog(folder, identity) as answers:
        return run_tasks(
            context.eval_model,
            suite,
            context.task_files,
            task_folders(suite),
            _told(context, context.progress_for("harness", check_lease)),
            # vLLM takes all requests at once, and makes its batches itself.
            answers=answers if suite.backend == "hf" else None,
            samples=folder / f".{SAMPLES_FOLDER}" if suite.samples else None,
        )


def _in_processes(context: CellContext, identity: dict[str, str], check_lease: CheckLease) -> "HarnessResult":
    from plw.evaluate.lm_eval.launch import HarnessJob, run_tasks_in_processes

    execution, folder = context.config.execution, context.cell.stages["harness"].folder
    job = HarnessJob(
        model=context.model_folder(),
        device=execution.device,
        threads=execution.thread_count,
        processes=execution.processes,
        suite=context.config.suite,
        files=context.task_files,
        task_folders=task_folders(context.config.suite),
        folder=folder,
        items=folder / f".{ITEMS}",
        samples=folder / f".{SAMPLES_FOLDER}",
        identity=identity,
        trust_remote_code=context.config.model.trust_remote_code,
    )
    context.release_model()
    return run_tasks_in_processes(
        job, progress=_told(context, context.progress_for("harness")), check_lease=check_lease
    )


def _told(context: CellContext, progress: Progress) -> Progress:
    """Passes progress on, and says where a killed stage continues, in the log too."""
    from plw.evaluate.lm_eval.answer_log import CONTINUES

    def told(done: int, total: int, note: str = "") -> None:
        if note == CONTINUES:
            note = f"continues at {done:,} of {total:,} requests"
            logger.info("%s: harness %s", context.cell.label, note)
        progress(done, total, note)

    return told
