"""Two grids of cells side by side: those of two registries, or those of one that differ in a field (the weight).

The cells of both are matched by every field of theirs that the comparison is not about, and compared dataset by
dataset.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.items.benchmark import ModelItems
from analysis.items.parquet import item_files, read_cell
from analysis.scores.frame import AXES
from analysis.scores.mixtures import refuse_mixed_cells
from plw.errors import UserError
from plw.registry.rows import CellRow

SHORT = {"p": "prompt_weight", "r": "response_weight"}
"""As the folders of cells and the charts name the weights."""

Value = str | int | float


@dataclass(frozen=True, kw_only=True)
class GridSide:
    """Cells of one study that are compared with others."""

    label: str
    """As the person named it."""
    runs: Path
    """Folder of the results; a cell's own folder is below it."""
    cells: Sequence[CellRow]
    fields: Mapping[str, Value]
    """Fields that were named, with their values; all cells have them."""


@dataclass(frozen=True, kw_only=True)
class DatasetPair:
    """The cells of one dataset, run by run the same on both sides but for what is compared."""

    dataset: str | None
    """None where single models are compared."""
    a: Sequence[ModelItems]
    b: Sequence[ModelItems]
    unmatched: int
    """Cells that the other side has no counterpart of, or whose counterpart has no items."""


def read_fields(words: Sequence[str]) -> dict[str, Value]:
    """Field -> value of words such as ``p=0.1`` and ``model=llama``.

    Raises:
        UserError: no field of a cell, one that is named twice, or a number that is none.
    """
    found: dict[str, Value] = {}
    for word in words:
        name, _, value = (part.strip() for part in word.partition("="))
        field = SHORT.get(name, name)
        if field not in AXES or not value:
            allowed = ", ".join([*SHORT, *AXES])
            raise UserError(f"{word}: allowed is FIELD=VALUE with a field of a cell ({allowed})")
        if field in found:
            raise UserError(f"{word}: {name} is named twice")
        kind: Callable[[str], Value] = {"seed": int, **dict.fromkeys(SHORT.values(), float)}.get(field, str)
        try:
            found[field] = kind(value)
        except ValueError:
            raise UserError(f"{word}: {value} is no {'whole ' if kind is int else ''}number") from None
    return found


def restricted(side: GridSide, fields: Mapping[str, Value]) -> GridSide:
    """Those cells that have these values.

    Raises:
        UserError: none has; the line says which values there are.
    """
    cells = side.cells
    for field, value in fields.items():
        there = {getattr(cell, field) for cell in cells}
        cells = [cell for cell in cells if getattr(cell, field) == value]
        if not cells:
            raise UserError(f"{side.label}: no cell has {field}={_text(value)}; cells have {_listed(there)}")
    return GridSide(label=side.label, runs=side.runs, cells=cells, fields={**side.fields, **fields})


def pair_grids(a: GridSide, b: GridSide, metrics: Sequence[str] = ()) -> Iterator[DatasetPair]:
    """Match the cells of both sides and read their items, dataset by dataset.

    Args:
        a: The first side.
        b: What it is compared with.
        metrics: What to compare; by default the headline metrics.

    Raises:
        UserError: a side whose cells cannot be told apart, nothing that matches, or nothing that has items; or cells of
            one study that have one dataset's, model's or recipe's name and two contents.
    """
    named = [field for field in AXES if field in a.fields and field in b.fields]
    contrast = [field for field in named if a.fields[field] != b.fields[field]]
    if a.runs.resolve() == b.runs.resolve() and not contrast:
        raise UserError(f"{a.label} and {b.label} name the same cells; give one field in both, with two values")
    of_a, of_b = _by_match(a, contrast), _by_match(b, contrast)
    both = [key for key in of_a if key in of_b]
    if not both:
        raise UserError(f"{a.label} and {b.label}: no cell of the one matches one of the other in {_matched(contrast)}")
    if a.runs.resolve() == b.runs.resolve():
        refuse_mixed_cells(cell for key in both for cell in (of_a[key], of_b[key]))
    _refuse_without_items(a, [of_a[key] for key in both])
    _refuse_without_items(b, [of_b[key] for key in both])
    place = AXES.index("dataset")
    for dataset in dict.fromkeys(key[place] for key in both):
        keys = [key for key in both if key[place] == dataset]
        kept = [key for key in keys if _has_items(a, of_a[key]) and _has_items(b, of_b[key])]
        found = sum(key[place] == dataset for cells in (of_a, of_b) for key in cells)
        if not kept:
            continue
        yield DatasetPair(
            dataset=str(dataset) if dataset is not None else f"{a.fields['dataset']} and {b.fields['dataset']}",
            a=[_read(a, of_a[key], metrics) for key in kept],
            b=[_read(b, of_b[key], metrics) for key in kept],
            unmatched=found - 2 * len(kept),
        )


def _by_match(side: GridSide, contrast: Sequence[str]) -> dict[tuple[Any, ...], CellRow]:
    """What a cell is matched by -> the cell; in place of what is compared stands None."""
    found: dict[tuple[Any, ...], CellRow] = {}
    for cell in side.cells:
        key = tuple(None if field in contrast else getattr(cell, field) for field in AXES)
        if key in found:
            raise UserError(
                f"{side.label}: {found[key].folder} and {cell.folder} are alike in {_matched(contrast)}; "
                "compare the one or the other by its folder"
            )
        found[key] = cell
    return found


def _refuse_without_items(side: GridSide, cells: Sequence[CellRow]) -> None:
    if not any(_has_items(side, cell) for cell in cells):
        raise UserError(
            f"{side.label}: none of {len(cells)} cells has items.parquet below {side.runs}; "
            "its stages were run before items were kept, or their files lie elsewhere"
        )


def _has_items(side: GridSide, cell: CellRow) -> bool:
    return bool(item_files(side.runs / cell.folder))


def _read(side: GridSide, cell: CellRow, metrics: Sequence[str]) -> ModelItems:
    read = read_cell(side.runs / cell.folder, metrics)
    if not read.benchmarks:
        wanted = f"the metric {' or '.join(metrics)}" if metrics else "a headline metric"
        raise UserError(f"{side.runs / cell.folder}: no benchmark has items of {wanted}")
    return read


def _matched(contrast: Sequence[str]) -> str:
    return ", ".join(field for field in AXES if field not in contrast)


def _listed(values: set[Any]) -> str:
    return ", ".join(_text(value) for value in sorted(values))


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
