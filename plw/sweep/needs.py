"""Stages that a cell's rest on and that nobody is to do: told before the first cell, and not cell by cell."""

from collections.abc import Sequence

from rich.console import Console

from plw.errors import UserError
from plw.pipeline import Cell
from plw.pipeline.cell import NEEDS
from plw.progress import count


def check_needs(cells: Sequence[Cell], console: Console) -> None:
    """Refuse cells of which none can be worked on; where some can, say how many cannot: their stages will fail.

    Args:
        cells: with something left to do.
        console: where a person reads.

    Raises:
        UserError: each cell lacks the result of a stage that is neither finished nor asked for.
    """
    if all(map(_missing, cells)):
        raise UserError(str(_line(cells)))
    print_needs(cells, console)


def print_needs(cells: Sequence[Cell], console: Console) -> None:
    """Say how many cells cannot be worked on, where there are any."""
    line = _line(cells)
    if line is not None:
        console.print(line, markup=False, soft_wrap=True)


def _line(cells: Sequence[Cell]) -> str | None:
    """What to say of cells that lack what their stages rest on; None where there are none."""
    found = [(cell, missing) for cell in cells if (missing := _missing(cell)) is not None]
    if not found:
        return None
    cell, (kind, need) = found[0]
    lack = f"{'none' if len(found) == len(cells) else len(cells) - len(found)} of {count(len(cells), 'cell')} to run"
    return (
        f"stages={','.join(cell.config.stages)}: {lack} has finished the stage {need}, which {kind} rests on "
        f"(it is missing in {cell.label}); add {need} to stages"
    )


def _missing(cell: Cell) -> tuple[str, str] | None:
    """(Stage that is left, stage that it rests on) of the first need that nobody is to do."""
    for kind in filter(cell.is_left, cell.config.stages):
        for need in NEEDS[kind]:
            if need in cell.stages and need not in cell.config.stages and not cell.stages[need].has_record:
                return kind, need
    return None
