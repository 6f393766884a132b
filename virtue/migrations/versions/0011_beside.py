"""Which pictures lie beside a RAW photo, by their sizes and times, so that it is looked at again when they
change. Of files from before it is not known."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("files", sa.Column("beside", sa.Text()))
