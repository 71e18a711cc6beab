"""Cells of one name and two contents, told before the first cell: a report would refuse to compare them."""

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from plw.errors import UserError, shortened
from plw.files.sealed import read_sealed_json
from plw.paths import PAYLOAD, RECORD
from plw.pipeline import Cell
from plw.pipeline.stage import installed_versions
from plw.registry import StageKey
from plw.registry.rows import STANDS_FOR, CellRow, name_contents
from plw.results.identity import canonical_json, field_diff

OF_THE_CELL = ("train", "preference", "generate", "template")
"""Fields of a later stage's payload that differ between cells."""
TRAININGS = ("train", "preference")
"""What they are made from is the cell's own."""
SCORED_BY = {"harness": "lm_eval", "judge": "alpaca_eval"}
"""Stage -> the library that scores there."""
MAX_LETTERS = 160


def print_mixtures(cells: Sequence[Cell], earlier: Sequence[CellRow], done: Collection[StageKey], out: Console) -> None:
    """One line for each name that stands for something else in the cells to run than in those done before.

    That may be on purpose (a suite's other half is run anew later), so nothing is refused.

    Args:
        cells: of one study, with something left to do.
        earlier: the study's cells in the registry.
        done: its finished stages.
        out: where a person reads.
    """
    finished = {key.cell for key in done}
    rows = [row for row in earlier if row.cell in finished]
    for line in (*_of_cells(cells, rows), *_of_stages(cells, rows, done)):
        out.print(line, markup=False, soft_wrap=True)


def _of_cells(cells: Sequence[Cell], rows: Sequence[CellRow]) -> Iterator[str]:
    first: dict[tuple[str, ...], CellRow] = {}
    for row in rows:
        for group in STANDS_FOR:
            first.setdefault((group, *row.place_of(group)), row)
    contents = cache(name_contents)
    told = set()
    for row in (cell.row() for cell in cells if cell.is_left("train")):
        for group, now in name_contents(row.payload).items():
            name = getattr(row, group)
            before = first.get((group, *row.place_of(group)))
            if before is None or (group, name) in told:
                continue
            was = contents(before.payload)[group]
            if canonical_json(was) != canonical_json(now):
                told.add((group, name))
                yield _line(f"{group}.name={name}", before.folder, was, now, f"{group}.name")


def _of_stages(cells: Sequence[Cell], rows: Sequence[CellRow], done: Collection[StageKey]) -> Iterator[str]:
    places = {row.cell: row.folder for row in rows}
    first = {key.name: key.cell for key in sorted(done, key=lambda key: (key.name, key.cell), reverse=True)}
    told = set()
    for cell in cells:
        for kind in cell.config.stages:
            stage = cell.stages[kind]
            if stage.name in told or stage.name not in first or not cell.is_left(kind) or kind in TRAININGS:
                continue
            told.add(stage.name)
            folder = Path(cell.config.execution.runs) / places.get(first[stage.name], "") / stage.name
            if line := _of_version(kind, stage.name, folder):
                yield line
            was = _comparable(_read(folder / PAYLOAD))
            now = _comparable(stage.payload)
            if was and canonical_json(was) != canonical_json(now):
                name = "judge.name" if kind == "judge" else "suite.name"
                yield _line(f"stage {stage.name}", str(folder), was, now, name)


def _comparable(payload: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in payload.items() if field not in OF_THE_CELL}


def _of_version(kind: str, stage: str, folder: Path) -> str:
    """That the library which scores has changed: what is finished stays, so two versions' scores stand side by side."""
    library = SCORED_BY.get(kind, "")
    was, now = (_read(folder / RECORD).get("versions") or {}).get(library), installed_versions().get(library)
    if was == now or was is None:
        return ""
    return (
        f"Warning: stage {stage} was scored by {library} {was} in cells done before, such as {folder}, and will be by "
        f"{now} in those to run; remove those folders to score all anew, or install {library}=={was}"
    )


def _read(path: Path) -> dict[str, Any]:
    """What a stage was made for, or its record; empty where that cannot be read, which others tell."""
    try:
        found = read_sealed_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _line(what: str, folder: str, was: dict[str, Any], now: dict[str, Any], field: str) -> str:
    differ = shortened("; ".join(field_diff(was, now)), MAX_LETTERS)
    return (
        f"Warning: {what} stands for something else in cells to run than in {folder} ({differ}), and a report compares "
        f"no cells of one name and two contents: give what changed a {field} of its own"
    )
