"""Distributions of scores."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "distributions",
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("find", sa.String(length=8), nullable=False),
        sa.Column("asked", sa.String(length=8), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("quantiles", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["generations.id"],
            name=op.f("fk_distributions_generation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("generation_id", "find", "asked", name=op.f("pk_distributions")),
    )
