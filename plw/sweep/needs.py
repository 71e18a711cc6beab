"""Stages that a cell's rest on and that nobody is to do: told before the first cell, and not cell by cell."""

from collections.abc import Sequence

from rich.console import Console

from plw.errors import UserError
from plw.pipeline import Cell
from plw.pipeline.cell import NEEDS
from plw.progress import count

Lack = tuple[Cell, str, str]
"""A cell, a stage of it that is left, and the stage that this rests on and nobody is to do."""


def check_needs(cells: Sequence[Cell], console: Console) -> None:
    """Refuse cells of which none can be worked on; where some can, say how many cannot: their stages will fail.

    Args:
        cells: with something left to do; at least one.
        console: where a person reads.

    Raises:
        UserError: each cell lacks the result of a stage that is neither finished nor asked for.
    """
    lacking = _lacking(cells)
    if len(lacking) == len(cells):
        raise UserError(_line(cells, lacking))
    _print(cells, lacking, console)


def print_needs(cells: Sequence[Cell], console: Console) -> None:
    """Say how many cells cannot be worked on, where there are any."""
    _print(cells, _lacking(cells), console)


def _print(cells: Sequence[Cell], lacking: Sequence[Lack], console: Console) -> None:
    if lacking:
        console.print(_line(cells, lacking), markup=False, soft_wrap=True)


def _lacking(cells: Sequence[Cell]) -> list[Lack]:
    """The cells that lack what a stage of theirs rests on."""
    return [(cell, *missing) for cell in cells if (missing := _missing(cell)) is not None]


def _line(cells: Sequence[Cell], lacking: Sequence[Lack]) -> str:
    cell, kind, need = lacking[0]
    able = "none" if len(lacking) == len(cells) else len(cells) - len(lacking)
    return (
        f"stages={','.join(cell.config.stages)}: {able} of {count(len(cells), 'cell')} to run has finished the stage "
        f"{need}, which {kind} rests on (it is missing in {cell.label}); add {need} to stages"
    )


def _missing(cell: Cell) -> tuple[str, str] | None:
    """(Stage that is left, stage that it rests on) of the first need that nobody is to do."""
    for kind in filter(cell.is_left, cell.config.stages):
        for need in NEEDS[kind]:
            if need in cell.stages and need not in cell.config.stages and not cell.stages[need].has_record:
                return kind, need
    return None
