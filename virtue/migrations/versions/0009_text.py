"""The text in photos: who read it, and where each line stands. Photos from before were not read."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("photos", sa.Column("read_by", sa.Text()))
    for corner in ("x0", "y0", "x1", "y1"):
        op.add_column("captions", sa.Column(corner, sa.Float()))
