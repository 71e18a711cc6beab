"""The rows that the analysis reads of a registry: few columns of many rows, so that a large study fits in memory."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Column, ColumnElement, Text, and_, cast, func, or_, select

from analysis.scores.mechanism import MECHANISMS, PREFERENCE_BENCHMARK, SENSITIVITY_BENCHMARK
from plw.registry.rows import CellRow
from plw.registry.schema import DONE, curves, scores, stages
from plw.registry.store import Registry

ABOUT_CELL = (
    "dataset",
    "model",
    "prompt_weight",
    "response_weight",
    "normalizer",
    "scope",
    "weighting",
    "recipe",
    "seed",
    "r_g",
)
SCORE_COLUMNS = (
    "cell",
    "suite",
    "benchmark",
    "metric",
    "judge",
    "value",
    "stderr",
    "n",
    "headline",
    "higher_is_better",
    "library_version",
)
KIND = ("suite", "benchmark", "metric", "judge", "stage", "headline", "higher_is_better", "library_version")
"""What a score says beside its cell and its numbers: the same for many."""
SCORE_NUMBERS = {"value": "float64", "stderr": "float64", "n": "Int64"}
SEPARATOR = "\x1f"
"""Between texts that the database joins (ASCII's unit separator, which no name has)."""
CURVE_COLUMNS = ("cell", "step", "loss", "prompt_loss", "completion_loss")


def score_rows(registry: Registry, study: str, scale: str, cells: Sequence[CellRow]) -> pd.DataFrame:
    """Headline scores and the measurements that the report shows, of finished stages, beside their cell.

    What a score says beside its numbers is one of few texts, so the rows are kept as places in the lists of cells and
    of texts until they are chosen and ordered, which takes six tenths of the time.

    Returns:
        ``ABOUT_CELL``, ``SCORE_COLUMNS`` and ``finished`` (when the stage ended), in the order of the cells.
    """
    # Stages first: of one that ends in between, the scores may still be of what was there before.
    t = stages.c
    of_done = select(t.cell, t.name, t.finished).where(t.study == study, t.scale == scale, t.status == DONE)
    done = pd.DataFrame(registry.plain_rows(of_done), columns=["cell", "name", "finished"])
    s = scores.c
    measured = sorted({SENSITIVITY_BENCHMARK, PREFERENCE_BENCHMARK, *(benchmark for benchmark, *_ in MECHANISMS)})
    of_study = and_(s.study == study, s.scale == scale)
    query = select(s.cell, _joined([s[name] for name in KIND]), *(s[name] for name in SCORE_NUMBERS))
    rows = registry.plain_rows(query.where(of_study, or_(s.headline, s.benchmark.in_(measured))))
    # A table of objects: a data frame would look at every value once more to tell its columns' types.
    object_NC = np.array(rows, dtype=object).reshape(-1, 2 + len(SCORE_NUMBERS))
    del rows
    names = [cell.cell for cell in cells]
    cell_N = pd.Index(names, dtype=object).get_indexer(pd.Index(object_NC[:, 0], dtype=object))
    kind_N, kinds = _kinds(object_NC[:, 1])
    stage_K, stage_names = pd.factorize(kinds["stage"])
    done_CS, finished_CS = _finished(done, names, list(stage_names))
    order_N = np.lexsort((kind_N, cell_N))
    order_N = order_N[(cell_N >= 0)[order_N] & done_CS[cell_N, stage_K[kind_N]][order_N]]
    cell_N, kind_N = cell_N[order_N], kind_N[order_N]
    columns = {name: _taken([getattr(cell, name) for cell in cells], cell_N) for name in ABOUT_CELL}
    columns["r_g"] = columns["r_g"].astype("float64")
    columns["cell"] = pd.array(names, dtype="str").take(cell_N)
    columns |= {name: kinds[name].array.take(kind_N) for name in KIND if name != "stage"}
    columns |= {
        name: pd.Series(object_NC[:, place], dtype=kind).array.take(order_N)
        for place, (name, kind) in enumerate(SCORE_NUMBERS.items(), start=2)
    }
    columns["finished"] = finished_CS[cell_N, stage_K[kind_N]]
    return pd.DataFrame(columns)[[*ABOUT_CELL, *SCORE_COLUMNS, "finished"]]


def _joined(columns: Sequence[Column[Any]]) -> ColumnElement[str]:
    """A row's texts and flags as one text; what is unknown is an empty one."""
    texts = [
        column if isinstance(column.type, Text) and not column.nullable else func.coalesce(cast(column, Text), "")
        for column in columns
    ]
    return reduce(lambda one, other: one.concat(SEPARATOR).concat(other), texts)


def _kinds(texts: NDArray[np.object_]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Place of each text among the different ones, and these as the columns ``KIND``, ordered by them."""
    code_N, different = pd.factorize(texts)
    kinds = pd.DataFrame([text.split(SEPARATOR) for text in different], columns=list(KIND), dtype="str")
    flags = kinds[["headline", "higher_is_better"]].replace({"true": "1", "false": "0", "": None})
    kinds["library_version"] = kinds["library_version"].where(kinds["library_version"] != "")
    kinds = kinds.assign(**flags.astype("Int64").astype("boolean")).sort_values(list(KIND))
    place_K = np.empty(len(kinds), dtype=np.int64)
    place_K[kinds.index] = np.arange(len(kinds))
    return place_K[code_N], kinds.reset_index(drop=True)


def _finished(
    done: pd.DataFrame, cells: Sequence[str], names: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether each cell's stages of these names are done, and when they ended [cells, stages]; NaN if not known."""
    cell_M = pd.Index(cells).get_indexer(pd.Index(done["cell"]))
    name_M = pd.Index(names).get_indexer(pd.Index(done["name"]))
    known_M = (cell_M >= 0) & (name_M >= 0)
    known = cell_M[known_M], name_M[known_M]
    done_CS = np.zeros((len(cells), len(names)), dtype=bool)
    finished_CS = np.full(done_CS.shape, np.nan)
    done_CS[known], finished_CS[known] = True, done["finished"][known_M].astype("float64")
    return done_CS, finished_CS


def _taken(values: Sequence[Any], place_N: NDArray[np.int64]) -> Any:
    """The values at some places, as a column's array."""
    return pd.Series(list(values)).array.take(place_N)


def curve_rows(registry: Registry, study: str, scale: str, cells: Sequence[CellRow]) -> pd.DataFrame:
    """Every training step of some cells: ``CURVE_COLUMNS``, ordered by cell and step."""
    c, names = curves.c, [cell.cell for cell in cells]
    query = select(*(c[name] for name in CURVE_COLUMNS)).where(c.study == study, c.scale == scale, c.cell.in_(names))
    return registry.frame(query).sort_values(["cell", "step"], ignore_index=True)
