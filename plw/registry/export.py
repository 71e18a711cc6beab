"""The scores as one CSV table for people and other tools: fixed columns, fixed order, numbers to the last digit."""

import csv
import io
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from plw.files.writing import open_atomic
from plw.registry.store import Registry

OF_CELL = (
    "study",
    "scale",
    "dataset",
    "model",
    "prompt_weight",
    "response_weight",
    "weighting",
    "seed",
    "recipe",
    "r_g",
)
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
    if target is None and isinstance(sys.stdout, io.TextIOWrapper):
        # As a file has it, whatever the terminal's encoding.
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    if not isinstance(target, Path):
        return _write(registry, target or sys.stdout, study, scale)
    with open_atomic(target) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        count = _write(registry, text, study, scale)
        text.flush()
        text.detach()
    return count


def _write(registry: Registry, out: TextIO, study: str | None, scale: str | None) -> int:
    out.write(_fields(COLUMNS) + "\n")
    count = 0
    for lines in _lines(registry, study, scale):
        out.writelines(lines)
        count += len(lines)
    return count


def _lines(registry: Registry, study: str | None, scale: str | None) -> Iterator[list[str]]:
    """The table's lines in their order, some hundred cells at a time."""
    cells = registry.cell_columns((*OF_CELL, "cell"), study=study, scale=scale)
    cells.sort(key=_shown)
    line_of = cache(_fields)
    batch: list[list[tuple[Any, ...]]] = []
    for _, of_study in groupby(cells, key=itemgetter(0, 1)):
        for _, alike in groupby(of_study, key=_shown):
            batch.append(list(alike))
            if sum(map(len, batch)) >= CELLS_AT_ONCE:
                yield _of_batch(registry, batch, line_of)
                batch = []
        if batch:
            yield _of_batch(registry, batch, line_of)
            batch = []


_shown = itemgetter(*range(len(OF_CELL) - 1))
"""What the order of cells goes by. Cells that agree in it are sorted together, score by score."""


def _of_batch(
    registry: Registry, batch: list[list[tuple[Any, ...]]], line_of: Callable[[tuple[str, ...]], str]
) -> list[str]:
    """The lines of cells of one study and scale; cells that are alike stand together."""
    study, scale = batch[0][0][:2]
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    names = [cell[-1] for alike in batch for cell in alike]
    for row in registry.done_scores(OF_SCORE, study, scale, names):
        found[row[-2]].append(row)
    lines: list[str] = []
    for alike in batch:
        shown = {cell[-1]: _fields(cell[:-1]) for cell in alike}
        rows = [row for name in shown for row in found[name]]
        rows.sort(key=_named)
        for suite, benchmark, metric, judge, value, stderr, n, headline, cell, _ in rows:
            # A csv.writer of 17 fields takes three times as long; only names can need its quotes.
            lines.append(
                f"{shown[cell]},{line_of((suite, benchmark, metric, judge))},{'' if value is None else repr(value)},"
                f"{'' if stderr is None else repr(stderr)},{'' if n is None else n},{'true' if headline else 'false'}\n"
            )
    return lines


_named = itemgetter(0, 1, 2, 3, 8)
"""Suite, benchmark, metric, judge and cell of a row: the order of scores."""


def _fields(values: Sequence[Any]) -> str:
    """Some fields as CSV, quoted where they have to be, without the line's end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
