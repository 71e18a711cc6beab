"""What the harness reports of a benchmark, as scores; of a group, also what it reports of each of its members."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from plw.config.evaluation import TaskConfig
from plw.errors import StageError, UserError
from plw.results.score import Score

RESULT_KEYS = ("results", "versions", "n-shot", "higher_is_better", "n-samples")
"""Parts of the harness's result that are kept: those that the same model and files give again."""


def task_scores(
    suite: str, benchmark: str, config: TaskConfig, name_in_result: str, result: Mapping[str, Any]
) -> list[Score]:
    """Every metric of a benchmark, the headline marked; then, of a group, every metric of every member.

    Raises:
        UserError: the headline metric is not among those reported.
        StageError: the headline metric is NaN or infinite.
    """
    own = list(_scores(suite, benchmark, config.metric, name_in_result, result))
    if config.metric is not None and not any(score.headline for score in own):
        found = ", ".join(score.metric for score in own)
        raise UserError(
            f"suite.tasks.{benchmark}.metric={config.metric} is not reported by {config.task}; allowed: {found}"
        )
    members = _members(name_in_result, result)
    return own + [
        score for member in members for score in _scores(suite, f"{benchmark}/{member}", None, member, result)
    ]


def _members(group: str, result: Mapping[str, Any]) -> list[str]:
    """Names below a group, at any depth, each once."""
    children: Mapping[str, list[str]] = result.get("group_subtasks", {})
    found: dict[str, None] = {}
    waiting = list(children.get(group, ()))
    while waiting:
        name = waiting.pop(0)
        found[name] = None
        waiting += children.get(name, ())
    return list(found)


def _scores(
    suite: str, benchmark: str, headline_metric: str | None, name_in_result: str, result: Mapping[str, Any]
) -> Iterator[Score]:
    import lm_eval

    metrics = result["results"].get(name_in_result, {})
    directions = result["higher_is_better"].get(name_in_result, {})
    version = result["versions"].get(name_in_result)
    for key, value in metrics.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        name = metric if filter_name == "none" else key
        headline = name == headline_metric
        if not math.isfinite(value):
            if headline:
                raise StageError(f"{benchmark}: lm-eval's {name} of {name_in_result} is {value}")
            continue
        stderr = metrics.get(f"{metric}_stderr,{filter_name}")
        yield Score(
            suite=suite,
            benchmark=benchmark,
            metric=name,
            value=float(value),
            stderr=float(stderr) if isinstance(stderr, int | float) and math.isfinite(stderr) else None,
            n=metrics["sample_len"],
            headline=headline,
            higher_is_better=directions.get(metric),
            task_version=None if version in (None, "N/A") else str(version),
            library_version=f"lm-eval {lm_eval.__version__}",
        )


def plain_result(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts of the harness's results that are kept, all calls together, as plain JSON types."""
    import lm_eval

    kept: dict[str, Any] = {"lm_eval_version": lm_eval.__version__}
    for result in results:
        for key in RESULT_KEYS:
            if key in result:
                kept[key] = kept.get(key, {}) | _plain(result[key])
    return kept


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
