"""Whether trainings can be compared by what is to be measured of them: asked before the first of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.config.evaluation import MT_BENCH, REFERENCE
from plw.data.inputs import in_world
from plw.data.prompts import load_prompts
from plw.data.rows import task_rows
from plw.errors import UserError
from plw.evaluate.lm_eval.definition import has_own_tasks_alone, task_folders

if TYPE_CHECKING:
    from plw.config import CellConfig, SuiteConfig
    from plw.config.evaluation import PromptSetConfig

AS_FIELD = "suite.tasks.{benchmark}.metric={metric}"
"""How another metric is asked for in a config."""
MIN_ITEMS = 2


def check_measurable(config: "CellConfig", other_metric: str = AS_FIELD) -> None:
    """Refuse a measure that no weight can be chosen by.

    Args:
        config: Of a trial.
        other_metric: How the user asks for a benchmark's other metric, with ``{benchmark}`` and ``{metric}`` in it.

    Raises:
        UserError: nothing that is scored, a single item, an empty reference answer, or a metric that is not made of its
            items.
    """
    suite, stages = config.suite, set(config.stages)
    written = {name: item for name, item in suite.prompts.items() if item.protocol == REFERENCE}
    scored = written if "generate" in stages else {}
    scored = scored | (config.judged if "judge" in stages else {})
    has_tasks = bool("harness" in stages and suite.tasks)
    if not scored and not has_tasks:
        raise UserError(
            f"suite {suite.name} has no headline score to choose a weight by in stages={','.join(config.stages)}; "
            "benchmarks are scored by harness, answers by generate (protocol reference) or judge"
        )
    for name, item in scored.items():
        if item.limit is not None and item.limit < MIN_ITEMS:
            raise UserError(f"suite.prompts.{name}.limit={item.limit}: {_needed(name)}")
        if item.protocol != MT_BENCH:
            _check_rows(name, [item.prompts], load_prompts)
        if item.protocol == REFERENCE:
            _check_answers(item)
    if has_tasks:
        _check_tasks(suite, other_metric)


def _check_tasks(suite: "SuiteConfig", other_metric: str) -> None:
    if has_own_tasks_alone(suite):
        # All metrics of our own tasks can be compared by; lm-eval takes seconds to load.
        manager = None
    else:
        from plw.evaluate.lm_eval.tasks import suite_tasks

        manager = suite_tasks(suite, task_folders(suite))
    for name, task in suite.tasks.items():
        limit = suite.document_limit(name)
        is_group = manager is not None and task.task in manager.all_groups
        if limit is not None and limit < MIN_ITEMS and not is_group:
            raise UserError(f"suite.limit, or suite.tasks.{name}.limit, is {limit}: {_needed(name)}")
        _check_rows(name, list(task.files.values()), task_rows)
        if task.metric is None:
            raise UserError(f"suite.tasks.{name}.metric=null: no weight can be chosen by a benchmark without headline")
        if manager is None:
            continue
        from plw.evaluate.lm_eval.aggregations import BY_ITEMS, listed_aggregations

        listed = listed_aggregations(manager, task.task)
        if listed.get(task.metric.split(",")[0], set()) <= set(BY_ITEMS):
            continue
        fit = [metric for metric, made_by in listed.items() if made_by <= set(BY_ITEMS)]
        then = (
            f"give {other_metric.format(benchmark=name, metric=fit[0])}; allowed: {', '.join(fit)}"
            if fit
            else "it has no other; choose another benchmark"
        )
        raise UserError(
            f"{name}: no weight can be chosen by {task.metric}, which is not made of single documents' outcomes; {then}"
        )


def _check_rows(benchmark: str, files: list[str], read: Callable[[Path], Sequence[Any]]) -> None:
    """One of the files that are there already has items enough."""
    own = [Path(file) for file in files if _is_there(file)]
    if own and all(len(read(path)) < MIN_ITEMS for path in own):
        raise UserError(f"{own[0]} has a single row: {_needed(benchmark)}")


def _check_answers(item: "PromptSetConfig") -> None:
    """The prompts of a file that is there already have answers to compare with: chrF with an empty one is always 0."""
    path = Path(item.prompts)
    if not _is_there(item.prompts):
        return
    for number, prompt in enumerate(load_prompts(path)[: item.limit], start=1):
        if prompt.reference is not None and not prompt.reference.strip():
            raise UserError(f"{path}: row {number} has an empty reference answer (output); take such rows out")


def _is_there(file: str) -> bool:
    """Whether it is a file of the user's that can be read already; the world's own are sound."""
    return bool(file) and not in_world(file) and Path(file).is_file()


def _needed(benchmark: str) -> str:
    return f"trainings are compared on {MIN_ITEMS} items of {benchmark} or more"
