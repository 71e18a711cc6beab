"""SQL that the store and the rebuild share: the writing of a cell and a record, and the conditions that find them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    Double,
    Table,
    and_,
    bindparam,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite

from plw.errors import UserError
from plw.progress import count
from plw.registry.owner import abandoned
from plw.registry.rows import CellKey, CellRow, StageKey, StageRecord, StageRow
from plw.registry.schema import CELL_KEY, DONE, RUNNING, STAGE_KEY, cells, curves, scores, stages
from plw.runtime.machine import process_space

UNCLAIMED: dict[str, None] = dict.fromkeys(("token", "host", "pid", "process_started", "heartbeat", "progress"))
"""A stage that nobody holds."""
ADDED_LATER = ("progress",)
"""Columns of stages that an older registry lacks."""
_OF_RECORD = sorted(
    {field.name for field in fields(StageRow)} & {field.name for field in fields(StageRecord)} - {"cell"}
)
_ENDED = UNCLAIMED | {"status": DONE, "error": None, "traceback": None}
CLOCKS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
"""Database -> its clock of now in seconds since 1970 (UTC); SQLite's, the machine's own, to a millisecond."""


@cache
def _insert_or_ignore(dialect: str, table: Table) -> Any:
    maker: Any = postgresql if dialect == "postgresql" else sqlite
    return maker.insert(table).on_conflict_do_nothing()


def insert_or_ignore(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless its key is there; whether it was inserted."""
    insert = _insert_or_ignore(connection.dialect.name, table).returning(table.c[0])
    worked_out, plain = _split(values)
    return connection.execute(insert.values(**worked_out) if worked_out else insert, plain).first() is not None


def _split(values: dict[str, Any]) -> tuple[dict[str, ClauseElement], dict[str, Any]]:
    """What the database works out, and plain values: these go beside a statement that is built once."""
    worked_out = {name: value for name, value in values.items() if isinstance(value, ClauseElement)}
    return worked_out, {name: value for name, value in values.items() if name not in worked_out}


_HELD = stages.update().where(
    *(stages.c[name] == bindparam(f"of_{name}") for name in STAGE_KEY),
    stages.c.status == RUNNING,
    stages.c.token == bindparam("of_token"),
)


def update_held(connection: Connection, key: StageKey, token: str, values: dict[str, Any]) -> bool:
    """Change the row of a running stage whose claim is of this token; False, and nothing, where there is none."""
    worked_out, plain = _split(values)
    chosen_row = {f"of_{name}": getattr(key, name) for name in STAGE_KEY} | {"of_token": token}
    return connection.execute(_HELD.values(**worked_out) if worked_out else _HELD, chosen_row | plain).rowcount == 1


def put_cell(connection: Connection, row: CellRow) -> None:
    """Insert a cell, or fill in the ``r_g`` that was not known of the one that is there."""
    if not insert_or_ignore(connection, cells, row.to_dict()):
        learn_ratio(connection, row)


def put_cells(connection: Connection, rows: Sequence[CellRow]) -> None:
    """Insert the cells that are not there."""
    connection.execute(_insert_or_ignore(connection.dialect.name, cells), [row.to_dict() for row in rows])


def learn_ratio(connection: Connection, row: CellRow) -> None:
    """Fill in the ``r_g`` of a cell where it was not known."""
    if row.r_g is not None:
        unknown = and_(same_cell(cells, row), cells.c.r_g.is_(None))
        connection.execute(cells.update().where(unknown).values(r_g=row.r_g))


def put_record(connection: Connection, record: StageRecord) -> None:
    """Write the row of a finished stage and put its scores and curves in place of the old ones."""
    put_cell(connection, record.cell)
    row = done_values(record)
    if not insert_or_ignore(connection, stages, asdict(record.key) | row):
        connection.execute(stages.update().where(same_stage(record.key)).values(**row))
    put_results(connection, record)


def done_values(record: StageRecord) -> dict[str, Any]:
    """What the row of a finished stage says, but for its key."""
    return {name: getattr(record, name) for name in _OF_RECORD} | _ENDED


def put_results(connection: Connection, record: StageRecord, *, first: bool = False) -> None:
    """Put a finished stage's scores and curves in place of the old ones; there are none where it is the ``first``."""
    key = record.key
    if not first:
        delete_results(connection, key, record.kind)
    of_cell = {name: getattr(key, name) for name in CELL_KEY}
    if record.scores:
        rows = [of_cell | score.to_dict() | {"judge": score.judge or "", "stage": key.name} for score in record.scores]
        connection.execute(scores.insert(), rows)
    if record.kind == "train" and record.curves:
        connection.execute(curves.insert(), [of_cell | asdict(step) for step in record.curves])


def delete_results(connection: Connection, key: StageKey, kind: str) -> None:
    """Delete a stage's scores, and of a training its curves."""
    connection.execute(scores.delete().where(same_cell(scores, key), scores.c.stage == key.name))
    if kind == "train":
        connection.execute(curves.delete().where(same_cell(curves, key)))


def same_cell(table: Table, key: CellKey) -> ColumnElement[bool]:
    """Rows of one cell."""
    return and_(*(table.c[name] == getattr(key, name) for name in CELL_KEY))


def same_stage(key: StageKey) -> ColumnElement[bool]:
    """The row of one stage."""
    return and_(*(stages.c[name] == getattr(key, name) for name in STAGE_KEY))


def same_key(left: Table, right: Table) -> ColumnElement[bool]:
    """Rows of two tables that belong to one cell."""
    return and_(*(left.c[name] == right.c[name] for name in CELL_KEY))


def chosen(table: Table, study: str | None, scale: str | None) -> ColumnElement[bool]:
    """Rows of a study and a scale; None is any."""
    condition: ColumnElement[bool] = true()
    if study is not None:
        condition = and_(condition, table.c.study == study)
    if scale is not None:
        condition = and_(condition, table.c.scale == scale)
    return condition


def clock_of(connection: Connection, now: float | None = None) -> ColumnElement[float]:
    """The database's clock, in seconds since 1970 (UTC): the one that all workers share. ``now`` stands in for it."""
    return literal(now, Double) if now is not None else literal_column(CLOCKS[connection.dialect.name], Double)


def stages_now(
    connection: Connection,
    condition: ColumnElement[bool],
    now: float | None = None,
    *,
    leave_out: Collection[str] = (),
) -> list[tuple[StageRow, float]]:
    """Stages, each with the database's clock at their reading; columns may be left out."""
    columns = [column for column in stages.c if column.name not in leave_out]
    rows = connection.execute(select(*columns, clock_of(connection, now)).where(condition)).all()
    names = [column.name for column in columns]
    return [(StageRow(**dict(zip(names, row[:-1], strict=True))), row[-1]) for row in rows]


def living_stages(connection: Connection, lease_timeout_s: float) -> list[StageRow]:
    """Stages that a worker works on and has not been silent for too long, in a registry of any schema version."""
    host = process_space()
    running = stages_now(connection, stages.c.status == RUNNING, leave_out=ADDED_LATER)
    return [row for row, at in running if not abandoned(row, host, lease_timeout_s, at)]


def refuse_living(alive: list[StageRow]) -> None:
    """Refuse what no worker at work may meet.

    Raises:
        UserError: there is one.
    """
    if alive:
        raise UserError(
            f"{count(len(alive), 'stage')} being worked on, first {alive[0].key} by {alive[0].holder}; stop that first"
        )
