"""Distributions are of best hits: those of all rows are dropped, and measured again by the next index."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("DELETE FROM distributions")
