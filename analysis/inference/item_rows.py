"""The rows of a mixed model of items: one value for each item and cell of one dataset, chosen and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.arrays import Array, Index
from analysis.scores.frame import weight_scale
from plw.errors import NAME_LENGTH, UserError, shortened
from plw.results.items import MEAN
from plw.results.score import is_percentage


@dataclass(frozen=True, kw_only=True)
class ItemRows:
    """N answers: items crossed with cells. Groups are numbered from 0."""

    value_N: Array
    """Scores of 0 to 100 are divided by 100."""
    w_N: Array
    """PLW ** 0.30103."""
    base_N: Index
    run_N: Index
    """Training run: base model and seed."""
    cell_N: Index
    item_N: Index
    cluster_N: Index
    """What items share; an item that shares nothing is a cluster of its own."""
    benchmark_N: Index
    dataset: str
    benchmarks: tuple[str, ...]
    base_models: tuple[str, ...]
    dropped: int = 0
    """Items without a value, which are left out."""

    def __len__(self) -> int:
        return len(self.value_N)

    @property
    def right_or_wrong(self) -> bool:
        """Whether every value is 0 or 1."""
        return bool(np.isin(self.value_N, (0.0, 1.0)).all())

    @property
    def weights(self) -> Array:
        """The different weights, on the scale of w_p."""
        return np.unique(self.w_N)


def codes(*columns: Any) -> Index:
    """Number of each row's combination of labels, from 0."""
    frame = pd.DataFrame({str(number): np.asarray(column) for number, column in enumerate(columns)})
    found: Index = frame.groupby(list(frame), sort=True).ngroup().to_numpy().astype(np.intp)
    return found


def choose_rows(
    table: pd.DataFrame,
    *,
    dataset: str | None = None,
    benchmarks: Sequence[str] = (),
    metric: str | None = None,
    stage: str | None = None,
    response_weight: float | None = None,
) -> ItemRows:
    """Choose one dataset's values from the table of a study's items.

    Args:
        table: As ``plw.results.items.read_item_export`` has it.
        dataset: May be left out where the table has one only.
        benchmarks: Likewise. Several make one model with a curve that varies over them.
        metric: In place of each benchmark's headline metric.
        stage: Of several that scored the same benchmark (two judges), the one that is taken.
        response_weight: Of a study that varies both weights, the cells that are taken: the model is of the prompt
            weight, all else equal.

    Raises:
        UserError: nothing is left, more than one thing may be meant, or the values cannot hold the model.
    """
    if table.empty:
        raise UserError("the table has no items")
    dataset = _one_of(table, "dataset", dataset)
    rows = table[table["dataset"] == dataset]
    if stage is not None:
        rows = rows[rows["stage"] == _one_of(rows, "stage", stage)]
    rows = rows[rows["headline"] if metric is None else rows["metric"] == _one_of(rows, "metric", metric)]
    if rows.empty:
        raise UserError(f"dataset {dataset} has no headline metric; name one with --metric")
    chosen = [_one_of(rows, "benchmark", name) for name in benchmarks] or [_one_of(rows, "benchmark", None)]
    rows = rows[rows["benchmark"].isin(chosen)]
    _refuse_corpus_metrics(rows)
    rows = rows[rows["response_weight"] == _one_of(rows, "response_weight", response_weight)]
    known = rows[rows["value"].notna()]
    _refuse_twice(known)
    _refuse_few(known, dataset)
    return _numbered(known, dataset, len(rows) - len(known))


def _one_of(rows: pd.DataFrame, column: str, wanted: Any) -> Any:
    """The wanted value of a column if it is there, or its only one."""
    found = sorted(rows[column].unique())
    shown = ", ".join(str(value) for value in found)
    if wanted is None and len(found) == 1:
        return found[0]
    option = f"--{column.replace('_', '-')}"
    if wanted is None:
        raise UserError(f"the items are of several {column.replace('_', ' ')}s ({shown}); choose with {option}")
    if wanted not in found:
        raise UserError(f"{option} is {wanted!r}; the items have {shown}")
    return wanted


def _refuse_corpus_metrics(rows: pd.DataFrame) -> None:
    other = rows[rows["aggregation"] != MEAN]
    if not other.empty:
        first = other.iloc[0]
        raise UserError(
            f"benchmark {first['benchmark']}: {first['metric']} is made of all items together "
            f"({first['aggregation']}); a model of items needs a metric that is their mean"
        )


def _refuse_twice(rows: pd.DataFrame) -> None:
    """Two values of one item in one cell, or two cells that nothing in the table tells apart."""
    twice = rows[rows.duplicated(["cell", "benchmark", "task", "item_hash"], keep=False)]
    if not twice.empty:
        first = twice.iloc[0]
        same = twice[(twice["cell"] == first["cell"]) & (twice["item_hash"] == first["item_hash"])]
        stages = sorted(same["stage"].unique())
        rest = f"; choose with --stage: {', '.join(stages)}" if len(stages) > 1 else ""
        raise UserError(
            f"cell {first['cell'][:8]}, benchmark {first['benchmark']}: item {first['item']} has {len(same)} values"
            f"{rest}"
        )
    cells = rows[["cell", "model", "prompt_weight", "seed"]].drop_duplicates()
    alike = cells[cells.duplicated(["model", "prompt_weight", "seed"], keep=False)]
    if not alike.empty:
        first = alike.iloc[0]
        raise UserError(
            f"{len(alike)} cells have the same base model, prompt weight and seed as others (the first: "
            f"{first['model']}, {first['prompt_weight']:g}, {first['seed']}); export one recipe, loss and scope alone"
        )


def _refuse_few(rows: pd.DataFrame, dataset: str) -> None:
    if rows.empty:
        raise UserError(f"dataset {dataset}: no item has a value")
    for benchmark, own in rows.groupby("benchmark"):
        items = own[["task", "item_hash"]].drop_duplicates()
        if len(items) < 2:
            raise UserError(f"dataset {dataset}, benchmark {benchmark}: one item only; a model of items needs several")
    shared = rows[["benchmark", "cluster"]].drop_duplicates()
    if len(shared) == 1 and shared["cluster"].notna().all():
        name = shortened(str(shared["cluster"].iloc[0]), NAME_LENGTH)
        raise UserError(
            f"dataset {dataset}, benchmark {benchmark}: all items share the cluster {name!r}; a model of items "
            "needs two"
        )
    weights = sorted(rows["prompt_weight"].unique())
    if len(weights) < 2:
        raise UserError(f"dataset {dataset}: one prompt weight only ({weights[0]:g}); a curve needs two or more")
    outside = [weight for weight in weights if not 0 <= weight <= 1]
    if outside:
        raise UserError(f"dataset {dataset}: prompt_weight is {outside[0]:g}; allowed is a number from 0 to 1")
    if not np.isfinite(rows["value"]).all():
        raise UserError(f"dataset {dataset}: an item's value is not finite")
    if rows["value"].nunique() == 1:
        raise UserError(
            f"dataset {dataset}: every item's value is {rows['value'].iloc[0]:g}; there is nothing to explain"
        )


def _numbered(rows: pd.DataFrame, dataset: str, dropped: int) -> ItemRows:
    percent = rows["metric"].map(is_percentage)
    value_N = rows["value"].to_numpy(np.float64) / np.where(percent, 100.0, 1.0)
    if rows["benchmark"].nunique() > 1 and not ((value_N >= 0) & (value_N <= 1)).all():
        raise UserError(
            "benchmarks on different scales; several in one model must all lie within 0 and 1, or 0 and 100"
        )
    item = rows["benchmark"] + "\0" + rows["task"] + "\0" + rows["item_hash"]
    return ItemRows(
        value_N=value_N,
        w_N=weight_scale(rows["prompt_weight"].to_numpy(np.float64)),
        base_N=codes(rows["model"]),
        run_N=codes(rows["model"], rows["seed"]),
        cell_N=codes(rows["cell"]),
        item_N=codes(item),
        cluster_N=codes((rows["benchmark"] + "\0" + rows["cluster"].astype(item.dtype)).fillna(item)),
        benchmark_N=codes(rows["benchmark"]),
        dataset=dataset,
        benchmarks=tuple(sorted(rows["benchmark"].unique())),
        base_models=tuple(sorted(rows["model"].unique())),
        dropped=dropped,
    )
