"""lm-evaluation-harness in process, on a model that is already loaded; every metric that it reports becomes a score."""

import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.config.evaluation import SuiteConfig
from plw.errors import UserError
from plw.evaluate.lm_eval.answer_log import AnswerLog
from plw.evaluate.lm_eval.bootstrap import SegmentCounter
from plw.evaluate.lm_eval.items import task_items
from plw.evaluate.lm_eval.patches import logged_warnings, patched_lm_eval
from plw.evaluate.lm_eval.resumable import resumable
from plw.evaluate.lm_eval.samples import write_samples
from plw.evaluate.lm_eval.score_memory import bounded_scores
from plw.evaluate.lm_eval.scores import plain_result, task_scores
from plw.evaluate.lm_eval.tasks import LoadedTask, load_checked, suite_tasks
from plw.progress import Progress, no_progress
from plw.results.items import ItemRow
from plw.results.score import Score

if TYPE_CHECKING:
    from plw.evaluate.models.protocol import HarnessModel


@dataclass(frozen=True, kw_only=True)
class HarnessResult:
    """Scores, and the harness's own result as plain JSON types."""

    scores: list[Score] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    items: list[ItemRow] = field(default_factory=list)
    """Every document's outcome under every metric."""


def run_tasks(
    model: "HarnessModel",
    suite: SuiteConfig,
    files: Mapping[str, Mapping[str, Path]],
    task_folders: tuple[Path, ...],
    progress: Progress = no_progress,
    *,
    keep_items: bool = True,
    answers: AnswerLog | None = None,
    samples: Path | None = None,
) -> HarnessResult:
    """Evaluate every task of a suite.

    Metrics keep the harness's names; a filter other than ``none`` follows after a comma
    (``exact_match,flexible-extract``). A benchmark may be a group of the harness's tasks: its headline is the group's
    aggregate, and each of its tasks and inner groups has rows of its own, under ``<benchmark>/<name>``. Few-shot
    sampling and resampling are seeded by ``suite.bootstrap_seed``.

    Args:
        model: The model; its tokenizer's padding side is left as it was.
        suite: Benchmarks, their shots and headline metrics, documents a task, batch size.
        files: Benchmark -> split -> local file, for tasks that do not read the hub.
        task_folders: Task files of one's own; they come before lm-eval's of the same name, the last folder's first.
        progress: Called with the requests done of each kind of request.
        keep_items: Whether the result has the items; of several processes with the same answers one keeps them.
        answers: What a model of transformers has answered already, and where it notes its answers.
        samples: Folder for lm-eval's own files of samples; with items only.

    Raises:
        UserError: an unknown task, a headline metric that the task does not report, or data that it cannot read.
        StageError: a headline metric came out as NaN or infinite.
    """
    if not suite.tasks:
        return HarnessResult()
    loaded = _load_tasks(suite, files, task_folders)
    counter = SegmentCounter()
    with patched_lm_eval(progress if answers is None else answers.progress(progress), counter):
        _seed(suite.bootstrap_seed)
        lm = model.for_harness(suite.batch_size)
        with _remembering(lm, answers), bounded_scores(lm):
            results = {
                benchmarks: _evaluate(
                    model.context_length,
                    lm=lm,
                    task_dict=work,
                    limit=suite.document_limit(benchmarks[0]),
                    bootstrap_iters=suite.bootstrap_iterations,
                    log_samples=keep_items,
                )
                for benchmarks, work in _calls(loaded, suite)
            }
    of = {name: result for benchmarks, result in results.items() for name in benchmarks}
    scores = [
        score
        for name, config in suite.tasks.items()
        for score in (
            *task_scores(suite.name, name, config, loaded[name].name_in_result, of[name]),
            *_cut(suite.name, name, loaded[name], lm),
        )
    ]
    items = [
        item
        for name, config in suite.tasks.items()
        for item in task_items(name, config, loaded[name], of[name].get("samples") or {}, counter)
    ]
    if samples is not None:
        write_samples(samples, loaded, results.values())
    return HarnessResult(scores=scores, raw=plain_result(results.values()), items=items)


@contextmanager
def _remembering(lm: Any, answers: AnswerLog | None) -> Iterator[None]:
    """The model's answers go into the log, and come from it, while the block runs."""
    if answers is None:
        yield
        return
    lm.set_cache_hook(answers)
    with resumable(answers):
        yield


def _cut(suite: str, benchmark: str, loaded: LoadedTask, lm: Any) -> list[Score]:
    """How many of a benchmark's documents lost the beginning of a prompt; nothing of engines that do not say."""
    cut: set[int] | None = getattr(lm, "cut", None)
    if cut is None:
        return []
    requests = [(task, request) for task in loaded.tasks.values() for request in task.instances]
    documents = {(id(task), request.doc_id) for task, request in requests}
    shortened = {(id(task), request.doc_id) for task, request in requests if id(request) in cut}
    return [Score(suite=suite, benchmark=benchmark, metric="cut", value=float(len(shortened)), n=len(documents))]


def _calls(loaded: Mapping[str, LoadedTask], suite: SuiteConfig) -> Iterable[tuple[tuple[str, ...], dict[str, Any]]]:
    """(Benchmarks, what lm-eval evaluates in one call): single tasks of the same limit together, each group alone.

    A group's aggregate finds its tasks by their own names, which a benchmark beside it may bear too.
    """
    single: dict[int | None, dict[str, LoadedTask]] = defaultdict(dict)
    for name, task in loaded.items():
        if not task.groups:
            single[suite.document_limit(name)][name] = task
    for tasks in single.values():
        yield tuple(tasks), {"tasks": {name: task.tasks[name] for name, task in tasks.items()}, "groups": {}}
    for name, task in loaded.items():
        if task.groups:
            yield (name,), {"tasks": task.tasks, "groups": task.groups}


def _load_tasks(
    suite: SuiteConfig, files: Mapping[str, Mapping[str, Path]], task_folders: tuple[Path, ...]
) -> dict[str, LoadedTask]:
    with patched_lm_eval(no_progress):
        manager = suite_tasks(suite, task_folders)
        return {name: load_checked(manager, name, suite, files.get(name, {})) for name in suite.tasks}


def _evaluate(context_length: int, **arguments: Any) -> dict[str, Any]:
    """Call the harness; documents that do not fit the task or the model are the user's mistake, told in a line."""
    from jinja2 import TemplateError
    from lm_eval import evaluate

    try:
        with logged_warnings(logging.WARNING):
            result: dict[str, Any] = evaluate(**arguments)
    except (TemplateError, TypeError, KeyError, IndexError) as error:
        said = f"{type(error).__name__}: {error}"
        raise UserError(f"suite.tasks: a document does not fit the task that reads it ({said})") from error
    except AssertionError as error:
        # lm-eval asserts, mostly without a word, that an answer fits into the context.
        said = f" ({error})" if str(error) else ""
        raise UserError(
            f"suite.tasks: an answer is longer than the model's context of {context_length} tokens{said}"
        ) from error
    return result


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
