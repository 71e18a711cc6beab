"""The paper's two aggregates: the mean of the scores themselves (simple) and of the min-max scaled ones (relative)."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from analysis.scores.frame import AXES, TidyFrame

AGGREGATE_COLUMNS = {"simple": "score01", "relative": "scaled"}
"""Aggregate -> the column it is the mean of."""

WEIGHT = ["dataset", "prompt_weight"]
_BASE = [name for name in AXES if name not in (*WEIGHT, "seed")]
"""What a cell is apart from its dataset, weight and seed: its base model, mostly."""
Shares = frozenset[tuple[Hashable, Fraction]]
"""Base models of a weight's cells, each with its share of them."""

GROUPINGS: dict[str, tuple[str, ...]] = {
    "multiple choice": ("multiple_choice",),
    "short generation and translation": ("short_generation", "translation"),
    "long generation": ("long_generation",),
    "generation without translation": ("short_generation", "long_generation"),
}
"""The paper's groupings of benchmarks: the three of its figures 4 to 6, and the generation of its section 6."""


def cell_aggregates(frame: TidyFrame) -> pd.DataFrame:
    """Both aggregates of every cell that has all of its dataset's benchmarks.

    A cell that lacks a benchmark is left out: a mean over fewer benchmarks is of another thing. A benchmark that no
    cell of the dataset has does not count, and one whose scores are all the same counts in the simple aggregate only.

    Returns:
        The axes, ``w_p``, ``simple``, ``relative`` and ``benchmarks`` (their number).
    """
    rows = frame.rows
    cells = rows.groupby([*AXES, "w_p"], as_index=False, dropna=False).agg(
        simple=("score01", "mean"), relative=("scaled", "mean"), benchmarks=("benchmark", "nunique")
    )
    wanted = rows.groupby("dataset")["benchmark"].nunique()
    return cells[cells["benchmarks"] == cells["dataset"].map(wanted)].reset_index(drop=True)


def complete_rows(frame: TidyFrame) -> pd.DataFrame:
    """The scores of the cells that ``cell_aggregates`` counts."""
    return frame.rows.merge(cell_aggregates(frame)[AXES], on=AXES)


def shares(bases: Iterable[Hashable]) -> Shares:
    """The base models of some cells, one entry a cell, each with its share of the cells."""
    cells = Counter(bases)
    return frozenset((base, Fraction(count, cells.total())) for base, count in cells.items())


def comparable(found: Mapping[float, Shares]) -> set[float]:
    """The weights that can be held against each other: those that have the base models of the fullest one.

    A mean over other base models, or over the same in other shares, is of another thing; further seeds of all of them
    only make it surer. Of several fullest sets the one that most weights have counts, of equals the one of the lowest
    weight.

    Args:
        found: weight -> the base models of its cells.
    """
    most = max(map(len, found.values()), default=0)
    sets = Counter(found[weight] for weight in sorted(found) if len(found[weight]) == most)
    return {weight for weight in found if found[weight] == max(sets, key=lambda one: sets[one])}


def compared(rows: pd.DataFrame, table: pd.DataFrame, within: list[str]) -> "pd.Series[bool]":
    """Whether each row of ``table`` is of a weight that is ``comparable`` among the ``rows`` of the same ``within``."""
    fair = {}
    for key, of_key in rows.groupby(within):
        fair[key] = comparable(
            {
                float(str(weight)): shares(of_weight[_BASE].itertuples(index=False, name=None))
                for weight, of_weight in of_key.groupby("prompt_weight")
            }
        )
    keys = table[within].itertuples(index=False, name=None)
    found = [weight in fair[key] for key, weight in zip(keys, table["prompt_weight"], strict=True)]
    return pd.Series(found, index=table.index, dtype=bool)


def best_of(values: "pd.Series[float]", fair: "pd.Series[bool]") -> float:
    """The highest value of the weights that are compared; NaN of fewer than two."""
    return float(values[fair].max()) if fair.sum() > 1 else float("nan")


def aggregates(frame: TidyFrame) -> pd.DataFrame:
    """Both aggregates by dataset and weight: means over the complete cells (models x seeds).

    The standard errors are over benchmarks x models (x seeds): the scores' sample standard deviation divided by the
    root of their number, as if they were independent.

    Returns:
        One row per dataset and weight: ``dataset``, ``prompt_weight``, ``w_p``, ``cells``, ``simple``, ``simple_se``,
        ``relative``, ``relative_se``, ``compared`` (whether its cells are those of the others, see ``comparable``),
        ``best_simple``, ``best_relative`` (whether it is the best of its dataset's compared weights).
    """
    complete = cell_aggregates(frame)
    rows = frame.rows.merge(complete[AXES], on=AXES)
    table = complete.groupby([*WEIGHT, "w_p"], as_index=False).agg(
        cells=("simple", "size"), simple=("simple", "mean"), relative=("relative", "mean")
    )
    table["compared"] = compared(complete, table, ["dataset"])
    for kind, column in AGGREGATE_COLUMNS.items():
        table[f"{kind}_se"] = table[WEIGHT].apply(tuple, axis=1).map(_standard_errors(rows, column))
        best = {name: best_of(part[kind], part["compared"]) for name, part in table.groupby("dataset")}
        table[f"best_{kind}"] = table["compared"] & table[kind].eq(table["dataset"].map(best))
    measured = ["cells", "simple", "simple_se", "relative", "relative_se"]
    order = [*WEIGHT, "w_p", *measured, "compared", "best_simple", "best_relative"]
    return table[order].sort_values(WEIGHT, ignore_index=True)


def grouped_aggregates(frame: TidyFrame) -> pd.DataFrame:
    """``aggregates`` over all benchmarks and over each of the paper's groupings that has scores.

    A cell is left out of a grouping only where it lacks a benchmark of that grouping.

    Returns:
        The columns of ``aggregates`` after ``grouping`` (``all benchmarks`` first) and ``benchmarks`` (their number).
    """
    parts = {"all benchmarks": frame} | {name: frame.of_groups(groups) for name, groups in GROUPINGS.items()}
    tables = [
        aggregates(part).assign(grouping=name, benchmarks=part.rows["benchmark"].nunique())
        for name, part in parts.items()
        if len(part.rows)
    ]
    table = pd.concat(tables, ignore_index=True)
    first = ["grouping", "benchmarks"]
    return table[[*first, *(name for name in table if name not in first)]]


def _standard_errors(rows: pd.DataFrame, column: str) -> dict[Any, float]:
    """(dataset, weight) -> standard error; NaN for a single score."""
    errors = {}
    for key, values in rows.groupby(WEIGHT)[column]:
        known = values.dropna().to_numpy(dtype=float)
        errors[key] = float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    return errors
