"""Indexes over rows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "indexes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("lists", sa.Integer(), nullable=False),
        sa.Column("scale", sa.Float(), nullable=False),
        sa.Column("trained", sa.Integer(), nullable=False),
        sa.Column("residual", sa.Float(), nullable=False),
        sa.Column("imbalance", sa.Float(), nullable=False),
        sa.UniqueConstraint("generation_id", "kind", name=op.f("uq_indexes_generation_id_kind")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_indexes_generation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_indexes")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "efforts",
        sa.Column("index_id", sa.Integer(), nullable=False),
        sa.Column("asked", sa.String(length=8), nullable=False),
        sa.Column("probes", sa.Integer(), nullable=False),
        sa.Column("factor", sa.Integer(), nullable=False),
        sa.Column("recall", sa.Float()),
        sa.Column("microseconds", sa.Float()),
        sa.ForeignKeyConstraint(
            ["index_id"], ["indexes.id"], name=op.f("fk_efforts_index_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("index_id", "asked", name=op.f("pk_efforts")),
    )
    op.create_table(
        "index_ranges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("index_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("encoded", sa.Integer(), nullable=False),
        sa.Column("residual", sa.Float(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("crc", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["indexes.id"], name=op.f("fk_index_ranges_index_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_ranges")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_index_ranges_index_id"), "index_ranges", ["index_id"])
