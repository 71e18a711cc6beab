"""What each document came to under each metric, as rows of the item table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plw.config.evaluation import TaskConfig
from plw.evaluate.lm_eval.aggregations import aggregation_name
from plw.evaluate.lm_eval.bootstrap import SegmentCounter
from plw.results.corpus_metrics import CORPUS_METRICS, SHARE, has_parts, is_segment, part_counts
from plw.results.items import ItemRow, document_clusters

if TYPE_CHECKING:
    from lm_eval.api.task import Task

    from plw.evaluate.lm_eval.tasks import LoadedTask


def task_items(
    benchmark: str,
    config: TaskConfig,
    loaded: "LoadedTask",
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    counter: SegmentCounter,
) -> Iterator[ItemRow]:
    """The items of one benchmark, task by task, metric by metric, in the order of the documents.

    Args:
        benchmark: The suite's name for it.
        config: Names the headline metric and the field that documents share.
        loaded: Its tasks.
        samples: Task -> what lm-eval logged of each document and filter.
        counter: Has the counts of segments that were resampled.
    """
    for name, task in loaded.tasks.items():
        for filter_name, of_filter in _by_filter(samples.get(name, ())).items():
            documents = [sample["doc"] for sample in of_filter]
            task_name = str(task.config.task) if task.config.task else name
            clusters = document_clusters(task_name, documents, config.cluster, whole_task=bool(loaded.groups))
            for metric in of_filter[0]["metrics"]:
                columns = _outcomes(task, metric, [sample[metric] for sample in of_filter], counter)
                aggregation, values, counts = columns
                full_name = metric if filter_name == "none" else f"{metric},{filter_name}"
                for place, sample in enumerate(of_filter):
                    yield ItemRow(
                        benchmark=benchmark,
                        task=task_name,
                        item=sample["doc_id"],
                        item_hash=sample["doc_hash"],
                        cluster=clusters[place],
                        metric=full_name,
                        headline=full_name == config.metric,
                        aggregation=aggregation,
                        value=values[place],
                        counts=None if counts is None else counts[place],
                        higher_is_better=task.higher_is_better().get(metric),
                    )


def _by_filter(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        found.setdefault(str(sample["filter"]), []).append(sample)
    return {name: sorted(of_filter, key=lambda sample: sample["doc_id"]) for name, of_filter in found.items()}


def _outcomes(
    task: "Task", metric: str, outcomes: Sequence[Any], counter: SegmentCounter
) -> tuple[str, list[float | None], list[list[float]] | None]:
    """(How items make the score, each item's value, each item's counts)."""
    aggregation = aggregation_name(task.aggregation().get(metric))
    if aggregation in CORPUS_METRICS and all(is_segment(outcome) for outcome in outcomes):
        return aggregation, [None] * len(outcomes), counter.counts(aggregation, outcomes)
    if aggregation == SHARE and all(has_parts(outcome) for outcome in outcomes):
        return aggregation, [None] * len(outcomes), part_counts(outcomes)
    return aggregation, [_number(outcome) for outcome in outcomes], None


def _number(outcome: Any) -> float | None:
    """An outcome that is a number; None for others, and for NaN, which lm-eval gives an answer of no length."""
    if hasattr(outcome, "item") and getattr(outcome, "ndim", 0) == 0:
        outcome = outcome.item()
    if not isinstance(outcome, bool | int | float) or outcome != outcome:
        return None
    return float(outcome)
