"""What a detector saw in a region; of regions stored before, nothing is known."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("regions", sa.Column("objectness", sa.Float()))
    op.add_column("regions", sa.Column("object", sa.Text()))
