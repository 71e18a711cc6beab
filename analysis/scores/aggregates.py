"""The paper's two aggregates: the mean of the scores themselves (simple) and of the min-max scaled ones (relative)."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.scores.frame import AXES, TidyFrame

AGGREGATE_COLUMNS = {"simple": "score01", "relative": "scaled"}
"""Aggregate -> the column it is the mean of."""

WEIGHT = ["dataset", "prompt_weight"]

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


def aggregates(frame: TidyFrame) -> pd.DataFrame:
    """Both aggregates by dataset and weight: means over the complete cells (models x seeds).

    The standard errors are over benchmarks x models (x seeds): the scores' sample standard deviation divided by the
    root of their number, as if they were independent.

    Returns:
        One row per dataset and weight: ``dataset``, ``prompt_weight``, ``w_p``, ``cells``, ``simple``, ``simple_se``,
        ``relative``, ``relative_se``, ``best_simple``, ``best_relative`` (whether it is its dataset's best weight).
    """
    complete = cell_aggregates(frame)
    rows = frame.rows.merge(complete[AXES], on=AXES)
    table = complete.groupby([*WEIGHT, "w_p"], as_index=False).agg(
        cells=("simple", "size"), simple=("simple", "mean"), relative=("relative", "mean")
    )
    for kind, column in AGGREGATE_COLUMNS.items():
        table[f"{kind}_se"] = table[WEIGHT].apply(tuple, axis=1).map(_standard_errors(rows, column))
        best = table.groupby("dataset")[kind].transform("max")
        table[f"best_{kind}"] = table[kind].eq(best)
    order = [*WEIGHT, "w_p", "cells", "simple", "simple_se", "relative", "relative_se", "best_simple", "best_relative"]
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
