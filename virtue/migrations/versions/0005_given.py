"""Ratings and tags that code gave, beside those that photos have of themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("photos", sa.Column("given", sa.Text()))
