"""The registry's tables, the same for SQLite and PostgreSQL: typed columns, NULL where a value is missing.

Times are seconds since 1970 (UTC). A score or a curve belongs to one stage and is replaced with it. A column that is
added later may be NULL and leaves the schema's version: an older database gets it when it is next opened, and an older
plw does not see it.
"""

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

SCHEMA_VERSION = 1

RUNNING, DONE, FAILED = "running", "done", "failed"

metadata = MetaData()

meta = Table("meta", metadata, Column("schema_version", Integer, primary_key=True, autoincrement=False))


def _cell_key(*, primary: bool = True) -> list[Column[str]]:
    return [Column(name, Text, primary_key=primary, nullable=False) for name in ("study", "scale", "cell")]


def _of_cell() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["study", "scale", "cell"], ["cells.study", "cells.scale", "cells.cell"])


cells = Table(
    "cells",
    metadata,
    *_cell_key(),
    Column("dataset", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_weight", Double, nullable=False),
    Column("response_weight", Double, nullable=False),
    Column("normalizer", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("r_g", Double),
    Column("folder", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("recipe", Text),
)

stages = Table(
    "stages",
    metadata,
    *_cell_key(),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("token", Text),
    Column("host", Text),
    Column("pid", BigInteger),
    Column("process_started", Double),
    Column("heartbeat", Double),
    Column("started", Double),
    Column("finished", Double),
    Column("seconds", Double),
    Column("error", Text),
    Column("traceback", Text),
    _of_cell(),
    CheckConstraint(f"status IN ('{RUNNING}', '{DONE}', '{FAILED}')", name="stages_status"),
)

scores = Table(
    "scores",
    metadata,
    *_cell_key(),
    Column("suite", Text, primary_key=True),
    Column("benchmark", Text, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("judge", Text, primary_key=True),
    Column("value", Double, nullable=False),
    Column("stderr", Double),
    Column("n", BigInteger),
    Column("headline", Boolean, nullable=False),
    Column("higher_is_better", Boolean),
    Column("task_version", Text),
    Column("judge_version", Text),
    Column("library_version", Text),
    Column("stage", Text, nullable=False),
    _of_cell(),
    ForeignKeyConstraint(
        ["study", "scale", "cell", "stage"], ["stages.study", "stages.scale", "stages.cell", "stages.name"]
    ),
    Index("scores_by_stage", "study", "scale", "cell", "stage"),
)

curves = Table(
    "curves",
    metadata,
    *_cell_key(),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Double),
    Column("loss", Double),
    Column("prompt_loss", Double),
    Column("completion_loss", Double),
    Column("grad_norm", Double),
    Column("learning_rate", Double),
    Column("tokens", BigInteger),
    Column("penalty", Double),
    Column("held_out_prompt_loss", Double),
    Column("held_out_completion_loss", Double),
    Column("seconds", Double),
    Column("tokens_per_second", Double),
    Column("mfu", Double),
    _of_cell(),
)
