"""A file that cannot be read keeps its photo; what was forgotten stays forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # SQLite cannot change a constraint: the table is made anew, under its own name from the start.
    op.drop_index("ix_files_photo_id", "files")
    op.rename_table("files", "files_before")
    op.create_table(
        "files",
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("mtime_ns", sa.Integer(), nullable=False),
        sa.Column("sidecar", sa.Text()),
        sa.Column("photo_id", sa.Integer()),
        sa.Column("problem", sa.Text()),
        sa.Column("judged_by", sa.Text()),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "photo_id IS NOT NULL OR problem IS NOT NULL", name=op.f("ck_files_photo_or_problem")
        ),
        sa.ForeignKeyConstraint(["photo_id"], ["photos.id"], name=op.f("fk_files_photo_id")),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_files")),
    )
    op.execute(
        "INSERT INTO files (path, size, mtime_ns, sidecar, photo_id, problem, missing) "
        "SELECT path, size, mtime_ns, sidecar, photo_id, problem, missing FROM files_before"
    )
    op.drop_table("files_before")
    op.create_index(op.f("ix_files_photo_id"), "files", ["photo_id"])
    op.create_table(
        "forgotten",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("mtime_ns", sa.Integer(), nullable=False),
        sa.Column("forgotten_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_forgotten")),
    )
