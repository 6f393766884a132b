"""The tables of the catalogue.

A photo is the content of a file; `files` says where it lies. Regions and captions belong to a photo
and to a generation, and `row` is where their vector lies in that generation's row file. `row` is
NULL for what a user handed over while its vector is gone (repair, a photo missing from the newest
generation). Every row below a row file's count belongs to one region or caption, or is in
`tombstones`. Indexes are made from rows and can be made again (virtue/store/ann/segments.py).
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _part_of(parent: str) -> ForeignKey:
    return ForeignKey(f"{parent}.id", ondelete="CASCADE")


library = Table(
    "library",
    metadata,
    Column("version", Integer, nullable=False, comment="counts commits: caches are keyed by it"),
)

generations = Table(
    "generations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("dim", Integer, nullable=False),
    Column("active", Integer, nullable=False),
    # An id names row files: it must never come back.
    sqlite_autoincrement=True,
)

row_files = Table(
    "row_files",
    metadata,
    Column("generation_id", Integer, _part_of("generations"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("count", Integer, nullable=False),
)

checksums = Table(
    "checksums",
    metadata,
    Column("generation_id", Integer, _part_of("generations"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("block", Integer, primary_key=True),
    Column("crc", Integer, nullable=False),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("generation_id", Integer, _part_of("generations"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("row", Integer, primary_key=True),
    sqlite_with_rowid=False,
)

roots = Table(
    "roots",
    metadata,
    Column("path", LargeBinary, primary_key=True),
    Column("options", Text, nullable=False),
)

photos = Table(
    "photos",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("taken", Text),
    Column("camera", Text),
    Column("latitude", Float),
    Column("longitude", Float),
    Column("rating", Integer),
    Column("phash", Integer, nullable=False, comment="64 bits, stored as signed"),
    Column("live", Integer, nullable=False, comment="1: a path of it is still there"),
    Column("read_by", Text, comment="the reader of the text in it; NULL: not read; -: not to be read"),
    sqlite_autoincrement=True,
)
Index("ix_photos_dead", photos.c.id, sqlite_where=text("live = 0"))

tags = Table(
    "tags",
    metadata,
    Column("photo_id", Integer, _part_of("photos"), primary_key=True),
    Column("tag", Text, primary_key=True),
    sqlite_with_rowid=False,
)
Index(None, tags.c.tag)

given = Table(
    "given",
    metadata,
    Column("photo_id", Integer, _part_of("photos"), primary_key=True),
    Column("content", Text, nullable=False, comment="JSON: rating and tags that code gave"),
)

files = Table(
    "files",
    metadata,
    Column("path", LargeBinary, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("mtime_ns", Integer, nullable=False),
    Column("sidecar", Text),
    Column("photo_id", Integer, ForeignKey("photos.id")),
    Column("problem", Text),
    Column("judged_by", Text),
    Column("missing", Integer, nullable=False),
    Column("ctime_ns", Integer),
    Column("beside", Text, comment="of a RAW: the pictures beside it, to one of which it may belong"),
    # Both: the photo's file cannot be read at the moment.
    CheckConstraint("photo_id IS NOT NULL OR problem IS NOT NULL", name="photo_or_problem"),
)
Index(None, files.c.photo_id)

forgotten = Table(
    "forgotten",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("path", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("mtime_ns", Integer, nullable=False),
    Column("forgotten_at", Text, nullable=False),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("photo_id", Integer, _part_of("photos"), primary_key=True),
    Column("generation_id", Integer, _part_of("generations"), primary_key=True),
    Column("settings", Text, nullable=False),
)
Index(None, embeddings.c.generation_id)

# The generation comes second in the unique key of regions and captions: were it first, SQLite would
# look a photo's regions up among all of the generation.
regions = Table(
    "regions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("photo_id", Integer, _part_of("photos"), nullable=False),
    Column("generation_id", Integer, _part_of("generations"), nullable=False),
    Column("row", Integer),
    Column("x0", Float, nullable=False),
    Column("y0", Float, nullable=False),
    Column("x1", Float, nullable=False),
    Column("y1", Float, nullable=False),
    Column("origin", String(10), nullable=False),
    Column("category", Text),
    Column("mask", Text),
    Column("objectness", Float, comment="0 to 1; NULL: no detector found it, or none looked"),
    Column("object", Text, comment="what the detector calls it"),
    UniqueConstraint("row", "generation_id"),
    sqlite_autoincrement=True,
)
Index(None, regions.c.photo_id)

captions = Table(
    "captions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("photo_id", Integer, _part_of("photos"), nullable=False),
    Column("region_id", Integer, _part_of("regions")),
    Column("generation_id", Integer, _part_of("generations"), nullable=False),
    Column("row", Integer),
    Column("text", Text, nullable=False),
    Column("source", String(10), nullable=False),
    # Of a line of text that was read, which belongs to no region.
    Column("x0", Float),
    Column("y0", Float),
    Column("x1", Float),
    Column("y1", Float),
    UniqueConstraint("row", "generation_id"),
    sqlite_autoincrement=True,
)
Index(None, captions.c.photo_id)
Index(None, captions.c.region_id)

indexes = Table(
    "indexes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("generation_id", Integer, _part_of("generations"), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("lists", Integer, nullable=False),
    Column("scale", Float, nullable=False),
    Column("trained", Integer, nullable=False),
    Column("residual", Float, nullable=False),
    Column("imbalance", Float, nullable=False),
    UniqueConstraint("generation_id", "kind"),
    sqlite_autoincrement=True,
)

index_ranges = Table(
    "index_ranges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("index_id", Integer, _part_of("indexes"), nullable=False),
    Column("first", Integer, nullable=False),
    Column("stop", Integer, nullable=False),
    Column("encoded", Integer, nullable=False),
    Column("residual", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("crc", Integer, nullable=False),
    # An id names a file, which readers of an older version may still have open.
    sqlite_autoincrement=True,
)
Index(None, index_ranges.c.index_id)

efforts = Table(
    "efforts",
    metadata,
    Column("index_id", Integer, _part_of("indexes"), primary_key=True),
    Column("asked", String(8), primary_key=True),
    Column("probes", Integer, nullable=False),
    Column("factor", Integer, nullable=False),
    Column("recall", Float),
    Column("microseconds", Float),
)

distributions = Table(
    "distributions",
    metadata,
    Column("generation_id", Integer, _part_of("generations"), primary_key=True),
    Column("find", String(8), primary_key=True),
    Column("asked", String(8), primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("quantiles", LargeBinary, nullable=False),
)

alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it, which is only loaded to migrate."""
