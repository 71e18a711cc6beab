"""A cell's recipe and the whole training log.

A registry of version 1 may have these columns already, since they were first added to it when it was opened; a cell
from before that has no recipe's name, and gets an empty one.
"""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"

_OF_CURVES = ("penalty", "held_out_prompt_loss", "held_out_completion_loss", "seconds", "tokens_per_second", "mfu")


def upgrade() -> None:
    """Add the columns that are missing; no recipe is unknown, and attempts are as wide as the other integers."""
    tables = sa.inspect(op.get_bind())
    there = {column["name"] for table in ("cells", "curves") for column in tables.get_columns(table)}
    if "recipe" not in there:
        op.add_column("cells", sa.Column("recipe", sa.Text))
    for name in _OF_CURVES:
        if name not in there:
            op.add_column("curves", sa.Column(name, sa.Double))
    op.execute("UPDATE cells SET recipe = '' WHERE recipe IS NULL")
    with op.batch_alter_table("cells") as cells:
        cells.alter_column("recipe", existing_type=sa.Text, nullable=False)
    states = sa.CheckConstraint("status IN ('running', 'done', 'failed')", name="stages_status")
    # SQLite makes the table anew, and alembic does not read such constraints of the old one.
    with op.batch_alter_table("stages", table_args=(states,)) as stages:
        stages.alter_column("attempts", existing_type=sa.Integer, type_=sa.BigInteger, existing_nullable=False)
