"""The first form of the catalogue."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "generations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_generations_fingerprint")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "library",
        sa.Column("version", sa.Integer(), nullable=False, comment="counts commits: caches are keyed by it"),
    )
    op.create_table(
        "photos",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("taken", sa.Text()),
        sa.Column("camera", sa.Text()),
        sa.Column("latitude", sa.Float()),
        sa.Column("longitude", sa.Float()),
        sa.Column("rating", sa.Integer()),
        sa.Column("phash", sa.Integer(), nullable=False, comment="64 bits, stored as signed"),
        sa.Column("live", sa.Integer(), nullable=False, comment="1: a path of it is still there"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photos")),
        sa.UniqueConstraint("hash", name=op.f("uq_photos_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_photos_dead", "photos", ["id"], sqlite_where=sa.text("live = 0"))
    op.create_table(
        "roots",
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_roots")),
    )
    op.create_table(
        "checksums",
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("crc", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_checksums_generation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("generation_id", "kind", "block", name=op.f("pk_checksums")),
    )
    op.create_table(
        "embeddings",
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_embeddings_photo_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["generations.id"],
            name=op.f("fk_embeddings_generation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("photo_id", "generation_id", name=op.f("pk_embeddings")),
    )
    op.create_index(op.f("ix_embeddings_generation_id"), "embeddings", ["generation_id"])
    op.create_table(
        "files",
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("mtime_ns", sa.Integer(), nullable=False),
        sa.Column("sidecar", sa.Text()),
        sa.Column("photo_id", sa.Integer()),
        sa.Column("problem", sa.Text()),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.CheckConstraint("(photo_id IS NULL) <> (problem IS NULL)", name=op.f("ck_files_photo_or_problem")),
        sa.ForeignKeyConstraint(["photo_id"], ["photos.id"], name=op.f("fk_files_photo_id")),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_photo_id"), "files", ["photo_id"])
    op.create_table(
        "regions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("row", sa.Integer()),
        sa.Column("x0", sa.Float(), nullable=False),
        sa.Column("y0", sa.Float(), nullable=False),
        sa.Column("x1", sa.Float(), nullable=False),
        sa.Column("y1", sa.Float(), nullable=False),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("category", sa.Text()),
        sa.Column("mask", sa.Text()),
        sa.UniqueConstraint("row", "generation_id", name=op.f("uq_regions_row_generation_id")),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_regions_photo_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_regions_generation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_regions_photo_id"), "regions", ["photo_id"])
    op.create_table(
        "row_files",
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_row_files_generation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("generation_id", "kind", name=op.f("pk_row_files")),
    )
    op.create_table(
        "tags",
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_tags_photo_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("photo_id", "tag", name=op.f("pk_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_tags_tag"), "tags", ["tag"])
    op.create_table(
        "tombstones",
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["generations.id"],
            name=op.f("fk_tombstones_generation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("generation_id", "kind", "row", name=op.f("pk_tombstones")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "captions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.Column("region_id", sa.Integer()),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("row", sa.Integer()),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.UniqueConstraint("row", "generation_id", name=op.f("uq_captions_row_generation_id")),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_captions_photo_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["region_id"], ["regions.id"], name=op.f("fk_captions_region_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_captions_generation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_captions_photo_id"), "captions", ["photo_id"])
    op.create_index(op.f("ix_captions_region_id"), "captions", ["region_id"])
