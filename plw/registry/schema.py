"""The registry's tables, the same for SQLite and PostgreSQL: typed columns, NULL where a value is missing.

The columns are the fields of the row dataclasses. Times are seconds since 1970 (UTC). A score or a curve belongs to one
stage and is replaced with it.
"""

from dataclasses import fields
from typing import get_args, get_type_hints

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from plw.registry.rows import CellKey, CellRow, CurveRow, StageKey, StageRow
from plw.results.score import Score

SCHEMA_VERSION = 4

RUNNING, DONE, FAILED = "running", "done", "failed"

CELL_KEY = tuple(field.name for field in fields(CellKey))
STAGE_KEY = tuple(field.name for field in fields(StageKey))
TYPES: dict[type, type[TypeEngine[object]]] = {str: Text, float: Double, int: BigInteger, bool: Boolean}  # type: ignore[dict-item]

metadata = MetaData()

meta = Table("meta", metadata, Column("schema_version", Integer, primary_key=True, autoincrement=False))


def _columns(row: type, key: tuple[str, ...]) -> list[Column[object]]:
    """A column for each field of a dataclass; one of the key is never NULL, whatever the field allows."""
    found = []
    for name, hint in get_type_hints(row).items():
        options = get_args(hint) or (hint,)
        kind = next(option for option in options if option is not type(None))
        optional = type(None) in options and name not in key
        found.append(Column(name, TYPES[kind], primary_key=name in key, nullable=optional, autoincrement=False))
    return found


def _table(name: str, row: type, key: tuple[str, ...], *more: SchemaItem) -> Table:
    """A table of a row dataclass; rows that do not name their cell themselves get the columns that do."""
    columns = _columns(row, key)
    if not issubclass(row, CellKey):
        columns = _columns(CellKey, key) + columns
    if row is not CellRow:
        more = (*more, ForeignKeyConstraint(CELL_KEY, [f"cells.{column}" for column in CELL_KEY]))
    return Table(name, metadata, *columns, *more)


cells = _table("cells", CellRow, CELL_KEY)

stages = _table(
    "stages",
    StageRow,
    STAGE_KEY,
    CheckConstraint(f"status IN ('{RUNNING}', '{DONE}', '{FAILED}')", name="stages_status"),
)

scores = _table(
    "scores",
    Score,
    # Part of the key, so the judge of a score without one is an empty text.
    (*CELL_KEY, "suite", "benchmark", "metric", "judge"),
    Column("stage", Text, nullable=False),
    ForeignKeyConstraint([*CELL_KEY, "stage"], [f"stages.{column}" for column in STAGE_KEY]),
    Index("scores_by_stage", *CELL_KEY, "stage"),
)

curves = _table("curves", CurveRow, (*CELL_KEY, "step"))
