"""Items that a study's stages left: ``items.parquet`` in the folders of one cell."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.items.benchmark import BenchmarkItems, Floats, ModelItems, choose_metric, item_keys
from plw.errors import UserError
from plw.files.products import check_products
from plw.files.reading import read_json
from plw.paths import RECORD
from plw.results.items import ITEMS, read_items

if TYPE_CHECKING:
    import pyarrow as pa


def item_files(folder: Path) -> list[Path]:
    """The item tables of a cell's folder, or of one of its stages."""
    own = folder / ITEMS
    return [own] if own.is_file() else sorted(folder.glob(f"*/{ITEMS}"))


def read_cell(folder: Path, metrics: Sequence[str] = (), stages: Collection[str] | None = None) -> ModelItems:
    """Every stage's items of one cell.

    Args:
        folder: The cell's, or one of its stages'.
        metrics: What to compare; the headline metric of each benchmark where nothing is given.
        stages: Names of the stages that are read; None reads all.

    Raises:
        UserError: a file that cannot be read, or that its record does not know by that content.
    """
    read: list[tuple[str, BenchmarkItems]] = []
    suites: set[str] = set()
    without: dict[str, str] = {}
    cell: dict[str, Any] | None = None
    for path in item_files(folder):
        if stages is not None and path.parent.name not in stages:
            continue
        record = _record_of(path)
        suites |= {str(score["suite"]) for score in record.get("scores", ())}
        cell = record.get("cell", cell)
        table = read_items(path)
        of_stage = list(_benchmarks(table, metrics))
        read += [(path.parent.name, items) for items in of_stage]
        # What has a headline metric would be compared if none were asked for; lengths of answers have none.
        for name in dict.fromkeys(_texts(table, "benchmark")[table["headline"].to_numpy()]):
            if all(items.benchmark != name for items in of_stage):
                without[str(name)] = f"no metric {' or '.join(metrics)}"
    times = Counter(items.benchmark for _, items in read)
    found = {
        # Two judges of one set of answers, or two suites with one benchmark, are two benchmarks.
        items.benchmark if times[items.benchmark] == 1 else f"{items.benchmark} ({stage})": items
        for stage, items in read
    }
    left_out = {name: reason for name, reason in without.items() if not times[name]}
    return ModelItems(
        label=folder.name, folder=folder, benchmarks=found, suites=frozenset(suites), cell=cell, left_out=left_out
    )


def _record_of(path: Path) -> dict[str, Any]:
    """The record beside an item table; empty where the stage has not finished or the file was copied alone.

    Raises:
        UserError: the table is not the one that the record names.
    """
    beside = path.parent / RECORD
    if not beside.is_file():
        return {}
    record: dict[str, Any] = read_json(beside)
    if ITEMS in record.get("products", {}):
        check_products(path.parent, record["products"], made_by=path.parent.name, inside=ITEMS)
    return record


def _benchmarks(table: "pa.Table", metrics: Sequence[str]) -> Iterator[BenchmarkItems]:
    """One entry a benchmark: its headline metric, or the first of ``metrics`` that it has."""
    benchmark_N = _texts(table, "benchmark")
    metric_N = _texts(table, "metric")
    headline_N = table["headline"].to_numpy()
    for name in dict.fromkeys(benchmark_N):
        of_benchmark_N = benchmark_N == name
        known = list(dict.fromkeys(metric_N[of_benchmark_N]))
        headline = list(dict.fromkeys(metric_N[of_benchmark_N & headline_N]))
        chosen = choose_metric(known, metrics) if metrics else (headline or [None])[0]
        if chosen is not None:
            rows = table.take(np.flatnonzero(of_benchmark_N & (metric_N == chosen)))
            yield _one_benchmark(rows, str(name), chosen)


def _one_benchmark(rows: "pa.Table", benchmark: str, metric: str) -> BenchmarkItems:
    first = rows.slice(0, 1).to_pylist()[0]
    return BenchmarkItems(
        benchmark=benchmark,
        metric=metric,
        aggregation=first["aggregation"],
        higher_is_better=first["higher_is_better"],
        key_N=item_keys(rows["task"].to_pylist(), rows["item_hash"].to_pylist()),
        cluster_N=_texts(rows, "cluster"),
        value_N=rows["value"].to_numpy().astype(np.float64),
        counts_NC=_counts(rows, benchmark),
    )


def _counts(rows: "pa.Table", benchmark: str) -> Floats | None:
    column = rows["counts"].combine_chunks()
    if column.null_count:
        return None
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    if len(flat) % len(rows):
        raise UserError(f"{benchmark}: the counts of its items are not all of one length")
    counts_NC: Floats = flat.reshape(len(rows), -1)
    return counts_NC


def _texts(table: "pa.Table", column: str) -> Any:
    return np.array(table[column].to_pylist(), dtype=object)
