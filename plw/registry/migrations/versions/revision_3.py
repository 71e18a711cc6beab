"""What a cell's loss does beyond its weights; nothing in cells from before."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the column, empty where there were rows and without a default for later ones."""
    op.add_column("cells", sa.Column("weighting", sa.Text, nullable=False, server_default=""))
    with op.batch_alter_table("cells") as cells:
        cells.alter_column("weighting", existing_type=sa.Text, existing_nullable=False, server_default=None)
