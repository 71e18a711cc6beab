"""lm-evaluation-harness in process, on a model that is already loaded; every metric that it reports becomes a score."""

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.errors import StageError, UserError
from plw.evaluate.model import LoadedModel
from plw.evaluate.quiet import bars, quiet
from plw.evaluate.resampling import bootstrap_stderr
from plw.evaluate.tasks import load_task, task_manager
from plw.progress import Progress, silent
from plw.score import Score

if TYPE_CHECKING:
    from lm_eval.api.task import Task

KEPT = ("results", "versions", "n-shot", "higher_is_better", "n-samples")
"""Parts of the harness's result that are kept: those that the same model and files give again."""


@dataclass(frozen=True, kw_only=True)
class HarnessResult:
    """Scores, and the harness's own result as plain JSON types."""

    scores: list[Score]
    raw: dict[str, Any]


def run_tasks(
    loaded: LoadedModel,
    suite: SuiteConfig,
    files: Mapping[str, Mapping[str, Path]],
    task_folder: Path,
    progress: Progress = silent,
) -> HarnessResult:
    """Evaluate every task of a suite.

    Metrics keep the harness's names; a filter other than ``none`` follows after a comma
    (``exact_match,flexible-extract``). Few-shot sampling and resampling are seeded by ``suite.bootstrap_seed``.

    Args:
        loaded: The model; its tokenizer's padding side is left as it was.
        suite: Benchmarks, their shots and headline metrics, documents a task, batch size.
        files: Benchmark -> split -> local file, for tasks that do not read the hub.
        task_folder: lm-eval task files of our own; they come before lm-eval's of the same name.
        progress: Hears the requests done of each kind of request.

    Raises:
        UserError: an unknown task, a headline metric that the task does not report, or data that it cannot read.
        StageError: a headline metric came out as NaN or infinite.
    """
    if not suite.tasks:
        return HarnessResult(scores=[], raw={})
    tasks = _load_tasks(suite, files, task_folder)
    with _held_still(progress):
        from lm_eval import evaluate
        from lm_eval.models.huggingface import HFLM

        _seed(suite.bootstrap_seed)
        model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=suite.batch_size)
        result = _evaluate(
            evaluate,
            loaded.context_length,
            lm=model,
            task_dict={"tasks": tasks, "groups": {}},
            limit=suite.limit,
            bootstrap_iters=suite.bootstrap_iterations,
            log_samples=False,
        )
    scores = [score for name, config in suite.tasks.items() for score in _scores(suite.name, name, config, result)]
    return HarnessResult(scores=scores, raw=_raw(result))


def _load_tasks(suite: SuiteConfig, files: Mapping[str, Mapping[str, Path]], task_folder: Path) -> dict[str, "Task"]:
    with _held_still(silent):
        manager = task_manager(task_folder, suite.builtin_tasks)
        tasks = {
            name: load_task(manager, name, config, files.get(name, {}), suite.bootstrap_seed)
            for name, config in suite.tasks.items()
        }
    for name, config in suite.tasks.items():
        _check_metric(name, config, tasks[name])
    return tasks


def _check_metric(benchmark: str, config: TaskConfig, task: "Task") -> None:
    reported = sorted(task.higher_is_better())
    if config.metric.split(",")[0] not in reported:
        raise UserError(
            f"suite.tasks.{benchmark}.metric={config.metric} is not reported by {config.task}; "
            f"allowed: {', '.join(reported)}"
        )


def _evaluate(function: Any, context_length: int, **arguments: Any) -> dict[str, Any]:
    """Call the harness; documents that do not fit the task or the model are the user's mistake, told in a line."""
    from jinja2 import TemplateError

    try:
        result: dict[str, Any] = function(**arguments)
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


def _scores(suite: str, benchmark: str, config: TaskConfig, result: dict[str, Any]) -> list[Score]:
    import lm_eval

    metrics = result["results"][benchmark]
    directions = result["higher_is_better"].get(benchmark, {})
    version = result["versions"].get(benchmark)
    scores = []
    for key, value in metrics.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        name = metric if filter_name == "none" else key
        headline = name == config.metric
        if not math.isfinite(value):
            if headline:
                raise StageError(f"{benchmark}: lm-eval's {name} of {config.task} is {value}")
            continue
        stderr = metrics.get(f"{metric}_stderr,{filter_name}")
        scores.append(
            Score(
                suite=suite,
                benchmark=benchmark,
                metric=name,
                value=float(value),
                stderr=float(stderr) if isinstance(stderr, int | float) and math.isfinite(stderr) else None,
                n=metrics["sample_len"],
                headline=headline,
                higher_is_better=directions.get(metric),
                task_version=None if version is None else str(version),
                library_version=f"lm-eval {lm_eval.__version__}",
            )
        )
    if not any(score.headline for score in scores):
        found = ", ".join(score.metric for score in scores)
        raise UserError(
            f"suite.tasks.{benchmark}.metric={config.metric} is not reported by {config.task}; allowed: {found}"
        )
    return scores


def _raw(result: dict[str, Any]) -> dict[str, Any]:
    import lm_eval

    return {"lm_eval_version": lm_eval.__version__} | {key: _plain(result[key]) for key in KEPT if key in result}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def _held_still(progress: Progress) -> Iterator[None]:
    """Silence, and three of lm-eval's parts replaced while it runs; none of them changes a number.

    The requests' progress bar tells ``progress``; a document template is compiled once, not for every document;
    resampling stays in this process.
    """
    from lm_eval import utils
    from lm_eval.api import metrics
    from lm_eval.models import huggingface

    with (
        quiet("lm_eval", "datasets", "transformers", "huggingface_hub"),
        mock.patch.object(huggingface, "tqdm", bars(progress)),
        mock.patch.object(utils.env, "from_string", lru_cache(maxsize=256)(utils.env.from_string)),
        mock.patch.object(metrics, "bootstrap_stderr", bootstrap_stderr),
    ):
        yield
