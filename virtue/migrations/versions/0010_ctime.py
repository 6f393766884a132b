"""When anything about a file was changed, by which edits are seen that keep its size and time. Of files from
before it is not known."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("files", sa.Column("ctime_ns", sa.Integer()))
