"""Where a running stage stands, as its worker said with the last heartbeat."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Add the column; nothing is known of stages that ran before."""
    op.add_column("stages", sa.Column("progress", sa.Text))
