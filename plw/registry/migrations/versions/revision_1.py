"""The first schema: cells, claims on their stages, scores and curves."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

_CELL = ("study", "scale", "cell")
_OF_CELL = [f"cells.{name}" for name in _CELL]


def upgrade() -> None:
    """Make the tables."""
    op.create_table("meta", sa.Column("schema_version", sa.Integer, primary_key=True, autoincrement=False))
    op.create_table(
        "cells",
        *(sa.Column(name, sa.Text, primary_key=True) for name in _CELL),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("dataset", "model")),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("prompt_weight", "response_weight")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("normalizer", "scope")),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("r_g", sa.Double),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("folder", "payload")),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_table(
        "stages",
        *(sa.Column(name, sa.Text, primary_key=True) for name in (*_CELL, "name")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "fingerprint", "status")),
        sa.Column("attempts", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("token", "host")),
        sa.Column("pid", sa.BigInteger),
        *(sa.Column(n, sa.Double) for n in ("process_started", "heartbeat", "started", "finished", "seconds")),
        *(sa.Column(name, sa.Text) for name in ("error", "traceback")),
        sa.ForeignKeyConstraint(_CELL, _OF_CELL),
        sa.CheckConstraint("status IN ('running', 'done', 'failed')", name="stages_status"),
    )
    op.create_table(
        "scores",
        *(sa.Column(name, sa.Text, primary_key=True) for name in (*_CELL, "suite", "benchmark", "metric", "judge")),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("stderr", sa.Double),
        sa.Column("n", sa.BigInteger),
        sa.Column("headline", sa.Boolean, nullable=False),
        sa.Column("higher_is_better", sa.Boolean),
        *(sa.Column(name, sa.Text) for name in ("task_version", "judge_version", "library_version")),
        sa.Column("stage", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(_CELL, _OF_CELL),
        sa.ForeignKeyConstraint([*_CELL, "stage"], [*(f"stages.{name}" for name in _CELL), "stages.name"]),
    )
    op.create_index("scores_by_stage", "scores", [*_CELL, "stage"])
    op.create_table(
        "curves",
        *(sa.Column(name, sa.Text, primary_key=True) for name in _CELL),
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Double) for name in ("epoch", "loss", "prompt_loss", "completion_loss")),
        *(sa.Column(name, sa.Double) for name in ("grad_norm", "learning_rate")),
        sa.Column("tokens", sa.BigInteger),
        sa.ForeignKeyConstraint(_CELL, _OF_CELL),
    )
