"""Items that lm-evaluation-harness wrote itself: ``samples_<task>_<time>.jsonl`` beside ``results_<time>.json``."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.items.benchmark import BenchmarkItems, ModelItems, choose_metric, item_keys
from plw.errors import UserError
from plw.files.reading import read_json
from plw.results.corpus_metrics import CORPUS_METRICS, SHARE, has_parts, is_segment, part_counts, segment_counts
from plw.results.items import MEAN, document_clusters, document_hash

SAMPLES = re.compile(r"samples_(?P<task>.+?)(?:_(?P<time>\d{4}-\d{2}-\d{2}T[\d.:-]+))?\.jsonl")
NOT_MEANS = frozenset({"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "mcc", "f1", "gmean"})
"""Metrics that lm-eval makes of all items together, though an item may have a number."""
INSTRUCTION_METRICS = frozenset({"inst_level_strict_acc", "inst_level_loose_acc"})
"""Metrics that are shares of the parts of all items: IFEval's instructions followed."""
OWN_FIELDS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
     "target_hash"}
)  # fmt: skip
"""Fields of a sample that are no metric."""


@dataclass(kw_only=True)
class _Rows:
    """The items of one task under one metric, as they are read."""

    task: str
    number: list[int] = field(default_factory=list)
    digest: list[str] = field(default_factory=list)
    document: list[Mapping[str, Any]] = field(default_factory=list)
    outcome: list[Any] = field(default_factory=list)


def sample_files(folder: Path) -> dict[str, Path]:
    """Task -> its newest file of samples, in the folder itself or in the one folder below it that has any.

    Raises:
        UserError: several folders below have samples.
    """
    folders = (
        [folder]
        if any(folder.glob("samples_*.jsonl"))
        else sorted({path.parent for path in folder.glob("*/samples_*.jsonl")})
    )
    if len(folders) > 1:
        raise UserError(f"{folder}: several models were evaluated below it; give one of {', '.join(map(str, folders))}")
    newest: dict[str, tuple[str, Path]] = {}
    for path in (path for parent in folders for path in sorted(parent.glob("samples_*.jsonl"))):
        match = SAMPLES.fullmatch(path.name)
        if match is not None:
            found = (match["time"] or "", path)
            newest[match["task"]] = max(found, newest.get(match["task"], found))
    return {task: path for task, (_, path) in sorted(newest.items())}


def read_samples(folder: Path, metrics: Sequence[str] = (), cluster_field: str | None = None) -> ModelItems:
    """The items of one model as lm-eval left them with ``--log_samples``.

    A group of tasks that has a score of its own (MMLU) is one benchmark; its items are clustered by task where they
    have no cluster of their own, and its metric is one that all of the tasks have: what a part of them says may be the
    opposite of what all say.

    Args:
        folder: What was given to lm-eval as ``--output_path``, or the model's folder in it.
        metrics: What to compare; without any, the first of ``PREFERRED`` that a benchmark has.
        cluster_field: Field of the documents that items may share; by default the first of
            ``plw.results.items.CLUSTER_FIELDS`` that some, but not all, of the documents share.

    Raises:
        UserError: a row that is no sample of lm-eval's; the line names file and row.
    """
    files = sample_files(folder)
    results = _results(next(iter(files.values())).parent) if files else {}
    benchmark_of = _groups(results)
    parts: dict[str, list[dict[str, _Rows]]] = {}
    for task, path in files.items():
        read = _read_file(path, task)
        if read:
            parts.setdefault(benchmark_of.get(task, task), []).append(read)
    directions = results.get("higher_is_better", {})
    found, left_out = {}, {}
    for benchmark, tasks in parts.items():
        common = [name for name in tasks[0] if all(name in task for task in tasks)]
        metric = choose_metric(common, metrics)
        if metric is None:
            wanted = f"metric {' or '.join(metrics)}" if metrics else "metric"
            left_out[benchmark] = f"no {wanted}{' that all of its tasks have' if len(tasks) > 1 else ''}"
            continue
        of_metric = [task[metric] for task in tasks]
        better = directions.get(of_metric[0].task, {}).get(metric.split(",")[0])
        found[benchmark] = _benchmark(benchmark, metric, of_metric, better, cluster_field)
    library = results.get("lm_eval_version")
    return ModelItems(label=str(folder), folder=folder, benchmarks=found, library=library, left_out=left_out)


def _results(folder: Path) -> dict[str, Any]:
    """lm-eval's newest results in a folder; empty where there are none."""
    paths = sorted(folder.glob("results*.json"))
    found = read_json(paths[-1]) if paths else {}
    return found if isinstance(found, dict) else {}


def _groups(results: Mapping[str, Any]) -> dict[str, str]:
    """Task -> the outermost group with a score of its own that it is in."""
    children: Mapping[str, Sequence[str]] = results.get("group_subtasks") or {}
    scored = set(results.get("groups") or {})
    inner = {name for group in scored for name in children.get(group, ())}
    found = {}
    for group in sorted(scored - inner):
        waiting = list(children.get(group, ()))
        while waiting:
            name = waiting.pop()
            found[name] = group
            waiting += children.get(name, ())
    return found


def _read_file(path: Path, task: str) -> dict[str, _Rows]:
    """Metric (with its filter) -> rows, in the order of the documents."""
    found: dict[str, _Rows] = {}
    seen: set[tuple[int, str]] = set()
    for row, sample in sorted(_lines(path), key=lambda line: line[1]["doc_id"]):
        number, document = sample["doc_id"], sample["doc"]
        filter_name = str(sample.get("filter", "none"))
        if (number, filter_name) in seen:
            raise UserError(f"{path}: row {row}: document {number} stands there twice (filter {filter_name})")
        seen.add((number, filter_name))
        names = sample.get("metrics") or [name for name in sample if name not in OWN_FIELDS]
        digest = sample.get("doc_hash") or document_hash(document)
        for name in names:
            if name not in sample:
                raise UserError(f"{path}: row {row} has no {name}, which its metrics name")
            key = name if filter_name == "none" else f"{name},{filter_name}"
            rows = found.setdefault(key, _Rows(task=task))
            rows.number.append(number)
            rows.digest.append(digest)
            rows.document.append(document)
            rows.outcome.append(sample[name])
    return found


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for row, line in enumerate(file, start=1):
            try:
                sample = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}: row {row} is not valid JSON ({error})") from None
            if not isinstance(sample, dict):
                raise UserError(f"{path}: row {row} is a {type(sample).__name__}, not a JSON object")
            if not isinstance(sample.get("doc_id"), int) or not isinstance(sample.get("doc"), Mapping):
                raise UserError(f"{path}: row {row} is no sample of lm-eval's: doc_id or doc is missing")
            yield row, sample


def _benchmark(
    benchmark: str, metric: str, tasks: Sequence[_Rows], higher_is_better: bool | None, cluster_field: str | None
) -> BenchmarkItems:
    name = metric.split(",")[0]
    outcomes = [outcome for rows in tasks for outcome in rows.outcome]
    counts_NC, value_N, aggregation = None, np.full(len(outcomes), np.nan), MEAN
    if all(isinstance(outcome, bool | int | float) or outcome is None for outcome in outcomes):
        value_N = np.array([_number(outcome) for outcome in outcomes], dtype=np.float64)
        aggregation = name if name in NOT_MEANS else MEAN
    else:
        aggregation = name
        if name in CORPUS_METRICS and all(is_segment(outcome) for outcome in outcomes):
            references, answers = zip(*outcomes, strict=True)
            counts_NC = np.array(segment_counts(name, references, answers), dtype=np.float64)
        elif name in INSTRUCTION_METRICS and all(has_parts(outcome) for outcome in outcomes):
            aggregation, counts_NC = SHARE, np.array(part_counts(outcomes), dtype=np.float64)
    several = len(tasks) > 1
    clusters = [
        cluster
        for rows in tasks
        for cluster in document_clusters(rows.task, rows.document, cluster_field, whole_task=several)
    ]
    return BenchmarkItems(
        benchmark=benchmark,
        metric=metric,
        aggregation=aggregation,
        higher_is_better=higher_is_better,
        key_N=item_keys([rows.task for rows in tasks for _ in rows.digest], [d for rows in tasks for d in rows.digest]),
        cluster_N=np.array(clusters, dtype=object),
        value_N=value_N,
        counts_NC=counts_NC,
    )


def _number(outcome: float | None) -> float:
    """NaN where there is none; JSON has whole numbers that no float can hold."""
    try:
        return float("nan") if outcome is None else float(outcome)
    except OverflowError:
        return float("inf")
