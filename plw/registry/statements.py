"""SQL that the store and the rebuild share: the writing of a cell and a record, and the conditions that find them."""

import json
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, true
from sqlalchemy.dialects import postgresql, sqlite

from plw.identity import canonical_json
from plw.registry.rows import CellRow, Record, StageKey, StageRow
from plw.registry.schema import DONE, cells, curves, scores, stages

UNCLAIMED: dict[str, None] = dict.fromkeys(("token", "host", "pid", "process_started", "heartbeat"))
"""A stage that nobody holds."""


def insert_or_ignore(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless its key is there; whether it was inserted."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).values(**values).on_conflict_do_nothing()
    return connection.execute(insert.returning(table.c[0])).first() is not None


def put_cell(connection: Connection, row: CellRow) -> None:
    """Insert a cell, or fill in what was not known of the one that is there: ``r_g`` and the recipe's name."""
    if insert_or_ignore(connection, cells, row.to_dict()):
        return
    for column, value in ((cells.c.r_g, row.r_g), (cells.c.recipe, row.recipe)):
        if value is not None:
            unknown = and_(same_cell(cells, row), column.is_(None))
            connection.execute(cells.update().where(unknown).values({column.name: value}))


def name_recipe(connection: Connection, row: CellRow) -> None:
    """Give the recipe's name to the study's cells that have the very same recipe and no name for it yet.

    Their rows are from before the name was kept; without it they would seem to be of another recipe.
    """
    recipe = json.loads(row.payload).get("recipe")
    if row.recipe is None or recipe is None:
        return
    same = cells.c.payload.contains(f'"recipe":{canonical_json(recipe)}', autoescape=True)
    unnamed = and_(chosen(cells, row.study, row.scale), cells.c.recipe.is_(None), same)
    connection.execute(cells.update().where(unnamed).values(recipe=row.recipe))


def put_record(connection: Connection, record: Record) -> None:
    """Write the row of a finished stage and put its scores and curves in place of the old ones."""
    put_cell(connection, record.cell)
    key = record.key
    names = {field.name for field in fields(StageRow)} & {field.name for field in fields(Record)} - {"cell"}
    row = {name: getattr(record, name) for name in names}
    row |= UNCLAIMED | {"status": DONE, "error": None, "traceback": None}
    if not insert_or_ignore(connection, stages, asdict(key) | row):
        connection.execute(stages.update().where(same_stage(key)).values(**row))
    connection.execute(scores.delete().where(same_cell(scores, record.cell), scores.c.stage == key.name))
    of_cell = {"study": key.study, "scale": key.scale, "cell": key.cell}
    if record.scores:
        rows = [of_cell | score.to_dict() | {"judge": score.judge or "", "stage": key.name} for score in record.scores]
        connection.execute(scores.insert(), rows)
    if record.kind == "train":
        connection.execute(curves.delete().where(same_cell(curves, record.cell)))
        if record.curves:
            connection.execute(curves.insert(), [of_cell | asdict(step) for step in record.curves])


def same_cell(table: Table, row: CellRow) -> ColumnElement[bool]:
    """Rows of one cell."""
    return and_(table.c.study == row.study, table.c.scale == row.scale, table.c.cell == row.cell)


def same_stage(key: StageKey) -> ColumnElement[bool]:
    """The row of one stage."""
    c = stages.c
    return and_(c.study == key.study, c.scale == key.scale, c.cell == key.cell, c.name == key.name)


def same_key(left: Table, right: Table) -> ColumnElement[bool]:
    """Rows of two tables that belong to one cell."""
    return and_(left.c.study == right.c.study, left.c.scale == right.c.scale, left.c.cell == right.c.cell)


def chosen(table: Table, study: str | None, scale: str | None) -> ColumnElement[bool]:
    """Rows of a study and a scale; None is any."""
    condition: ColumnElement[bool] = true()
    if study is not None:
        condition = and_(condition, table.c.study == study)
    if scale is not None:
        condition = and_(condition, table.c.scale == scale)
    return condition
