"""Photos to store, of few dimensions, with vectors that follow from a number."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from virtue.geometry import Box
from virtue.store import (
    CaptionRecord,
    EmbeddedPhoto,
    FileRecord,
    NewCaption,
    NewRegion,
    PhotoInfo,
    RegionRecord,
    Snapshot,
    Store,
    open_store,
)
from virtue.store import layout as names
from virtue.store.catalogue.filters import FullImages, RowFilter, parse
from virtue.store.records import Kind

DIM = 8

SETTINGS = "regions=1 annotations=- captions=-"
MASK = '{"size": [80, 100], "counts": [0, 8000]}'
"""Of all of a photo of 100 x 80 pixels."""


def vectors(count: int, seed: int, dim: int = DIM) -> np.ndarray:
    """(count, dim) float32, unit rows."""
    drawn = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def photo(
    number: int,
    seed: int | None = None,
    proposals: int = 1,
    given: int = 0,
    captions: Iterable[NewCaption] = (),
    settings: str = SETTINGS,
    dim: int = DIM,
    info: PhotoInfo | None = None,
) -> EmbeddedPhoto:
    """The photo of that number: the whole, `proposals`, and `given` annotated regions."""
    regions = (
        NewRegion(Box(0, 0, 100, 80), "whole"),
        *(
            NewRegion(Box(n, n, n + 10, n + 10), "proposal", objectness=0.5, object="dog")
            for n in range(proposals)
        ),
        *(NewRegion(Box(n, 0, n + 20, 20), "annotation", f"thing {n}", MASK) for n in range(given)),
    )
    told = tuple(captions)
    seed = number if seed is None else seed
    return EmbeddedPhoto(
        info or PhotoInfo(name(number), 100, 80),
        settings,
        regions,
        vectors(len(regions), seed, dim),
        told,
        vectors(len(told), seed + 1_000_000, dim),
    )


def file(path: bytes | str, number: int, size: int = 1000) -> FileRecord:
    return FileRecord(os.fsencode(path), size, 1_700_000_000_000_000_000, None, hash=name(number))


def broken(path: bytes | str, problem: str = "it ends too early") -> FileRecord:
    return FileRecord(os.fsencode(path), 3, 4, None, problem=problem)


def filled(folder: Path | str, count: int = 3, **options: Any) -> Store:
    """A new library with photos 0 to count - 1 at /photos/N.jpg."""
    store = open_store(folder, create=True)
    with store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        photos = [photo(n, **options) for n in range(count)]
        writer.commit(photos, [file(f"/photos/{n}.jpg", n) for n in range(count)])
    return store


def found(snapshot: Snapshot, kind: Kind = "regions") -> list[tuple[bytes, float]]:
    """(path, score) of all that a search finds, best first."""
    ranked = snapshot.search(kind, QUERY, 10_000)
    records: Sequence[RegionRecord | CaptionRecord]
    records = snapshot.regions(ranked.rows) if kind == "regions" else snapshot.captions(ranked.rows)
    assert [record.row for record in records] == ranked.rows.tolist()
    return [(r.path, round(float(s), 5)) for r, s in zip(records, ranked.scores, strict=True)]


def every_vector(snapshot: Snapshot, kind: Kind) -> np.ndarray:
    """(count of rows, dim) float32."""
    return snapshot.vectors_of(kind, range(snapshot.row_count(kind)))


def matching(
    snapshot: Snapshot, kind: Kind, where: str | Sequence[str], full_images: FullImages = "any"
) -> np.ndarray:
    """(count of rows,) bool: the rows that a search with this filter finds."""
    filter = RowFilter(parse(where), full_images)
    flags = np.zeros(snapshot.row_count(kind), bool)
    query = vectors(1, 1, dim=snapshot.generation.dim if snapshot.generation else DIM)
    flags[snapshot.exact(kind, query, len(flags), filter).rows] = True
    assert snapshot.count_matching(kind, filter) == flags.sum()
    return flags


def scored(path: bytes, rows: np.ndarray) -> list[tuple[bytes, float]]:
    """What `found` says of these vectors at that path."""
    halves = rows.astype(np.float16).astype(np.float32)
    return [(path, round(float(score), 5)) for score in np.vecdot(halves, QUERY)]


QUERY = vectors(1, 99)[0]


TOKENS = ("caption_tokens", "name_tokens")
LATER = {
    "0001": (*TOKENS, "efforts", "index_ranges", "indexes", "distributions", "forgotten", "given"),
    "0002": (*TOKENS, "distributions", "forgotten", "given"),
    "0003": (*TOKENS, "forgotten", "given"),
    "0004": (*TOKENS, "given"),
    "0005": TOKENS,
    "0006": (),
    "0007": (),
    "0008": (),
    "0009": (),
    "0010": (),
}
"""The tables that each released schema did not have yet."""

FILES_BEFORE = """CREATE TABLE files (
\tpath BLOB NOT NULL,
\tsize INTEGER NOT NULL,
\tmtime_ns INTEGER NOT NULL,
\tsidecar TEXT,
\tphoto_id INTEGER,
\tproblem TEXT,
\tmissing INTEGER NOT NULL,
\tCONSTRAINT pk_files PRIMARY KEY (path),
\tCONSTRAINT ck_files_photo_or_problem CHECK ((photo_id IS NULL) <> (problem IS NULL)),
\tCONSTRAINT fk_files_photo_id FOREIGN KEY(photo_id) REFERENCES photos (id)
)"""
"""The table of files up to schema 0003."""


def as_of(revision: str, folder: Path) -> None:
    """Turns a library without indexes into one that an older virtue would have written."""
    with closing(sqlite3.connect(folder / names.CATALOGUE)) as plain, plain:
        for table in LATER[revision]:
            plain.execute(f"DROP TABLE {table}")
        for column in ("beside", "ctime_ns") if revision < "0010" else ("beside",):
            plain.execute(f"ALTER TABLE files DROP COLUMN {column}")
        if revision < "0004":
            plain.execute("CREATE TABLE kept AS SELECT * FROM files")
            plain.execute("DROP TABLE files")
            plain.execute(FILES_BEFORE)
            columns = "path, size, mtime_ns, sidecar, photo_id, problem, missing"
            plain.execute(f"INSERT INTO files ({columns}) SELECT {columns} FROM kept")
            plain.execute("DROP TABLE kept")
            plain.execute("CREATE INDEX ix_files_photo_id ON files (photo_id)")
        for column in ("objectness", "object") if revision < "0008" else ():
            plain.execute(f"ALTER TABLE regions DROP COLUMN {column}")
        if revision < "0009":
            for corner in ("x0", "y0", "x1", "y1"):
                plain.execute(f"ALTER TABLE captions DROP COLUMN {corner}")
            plain.execute("ALTER TABLE photos DROP COLUMN read_by")
        plain.execute("UPDATE alembic_version SET version_num = ?", (revision,))
