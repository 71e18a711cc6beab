"""The scores as one CSV table for people and other tools: fixed columns, fixed order, numbers to the last digit."""

import csv
import io
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from plw.files import open_atomic
from plw.registry.store import Registry

OF_CELL = ("study", "scale", "dataset", "model", "prompt_weight", "response_weight", "seed", "recipe", "r_g")
OF_SCORE = ("suite", "benchmark", "metric", "judge", "value", "stderr", "n", "headline")
COLUMNS = (*OF_CELL, *OF_SCORE)
CELLS_AT_ONCE = 500
"""Cells whose scores are in memory at a time."""


def export_csv(
    registry: Registry, target: Path | TextIO | None = None, *, study: str | None = None, scale: str | None = None
) -> int:
    """Write every score of a finished stage to a file (whole or not at all), a text stream, or standard output.

    A missing value is an empty field. Floats are written in the shortest form that reads back to the same number,
    flags as ``true`` and ``false``. The order is that of the cells' columns up to the recipe, then of the scores' up to
    the judge; it does not depend on when a score was written. Cells go by in groups, so memory stays small.

    Returns:
        The number of scores.
    """
    rows = _rows(registry, study, scale)
    if not isinstance(target, Path):
        return _write(rows, target or sys.stdout)
    with open_atomic(target) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        count = _write(rows, text)
        text.detach()
    return count


def _write(rows: Iterator[list[tuple[Any, ...]]], out: TextIO) -> int:
    count = 0
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for some in rows:
        writer.writerows(some)
        count += len(some)
    return count


def _rows(registry: Registry, study: str | None, scale: str | None) -> Iterator[list[tuple[Any, ...]]]:
    """The table's rows in their order, some hundred cells at a time."""
    cells = registry.cell_columns((*OF_CELL, "cell"), study=study, scale=scale)
    cells.sort(key=_shown)
    batch: list[list[tuple[Any, ...]]] = []
    for _, of_study in groupby(cells, key=itemgetter(0, 1)):
        for _, alike in groupby(of_study, key=_shown):
            batch.append(list(alike))
            if sum(map(len, batch)) >= CELLS_AT_ONCE:
                yield _of_batch(registry, batch)
                batch = []
        if batch:
            yield _of_batch(registry, batch)
            batch = []


_shown = itemgetter(*range(len(OF_CELL) - 1))
"""What the order of cells goes by. Cells that agree in it are sorted together, score by score."""


def _of_batch(registry: Registry, batch: list[list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    """The rows of cells of one study and scale; cells that are alike stand together."""
    study, scale = batch[0][0][:2]
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in registry.score_columns(OF_SCORE, study, scale, [cell[-1] for alike in batch for cell in alike]):
        found[row[0]].append(row)
    rows: list[tuple[Any, ...]] = []
    for alike in batch:
        shown = {cell[-1]: cell[:-1] for cell in alike}
        scores = [row for name in shown for row in found[name]]
        scores.sort(key=itemgetter(1, 2, 3, 4, 0))
        rows += [(*shown[row[0]], *row[1:-1], "true" if row[-1] else "false") for row in scores]
    return rows
