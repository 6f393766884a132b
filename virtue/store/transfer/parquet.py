"""A library as one Parquet file that anyone can read: a row for every region and every caption.

docs/keeping.md describes the columns. Rows of a photo stand together, so that it is read, as it was
written, a batch at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import numpy as np

from virtue.distribution import install_hint
from virtue.errors import InputError, VirtueError
from virtue.geometry import Box
from virtue.paths import printable
from virtue.store.catalogue import queries
from virtue.store.disk import sync_folder
from virtue.store.records import (
    EmbeddedPhoto,
    FileRecord,
    NewCaption,
    NewRegion,
    Origin,
    PhotoInfo,
    Root,
    Source,
    TextChecks,
)
from virtue.store.transfer import border
from virtue.store.transfer.manifest import ExportManifest, PhotoExport
from virtue.store.vectors import row_files

FORMAT = 2
"""Counted up when an older virtue could not read what is written."""
METADATA_KEY = b"virtue"
"""The key of the file's metadata: JSON with format, model, fingerprint, dim, roots."""
MAX_SMALL_GROUPS, MIN_GROUP_ROWS = 1_000, 100
"""Row groups that may hold fewer rows: each takes a millisecond to open, however little is in it."""
BATCH_ROWS = 4096
"""Rows that are read or written at once."""
MAX_LISTED = 5_000_000
"""Paths, their sizes and times, and tags of so many rows."""
MAX_VALUES_A_BYTE = 16
"""Numbers of vectors for each byte of a file, beyond which it cannot hold them: no vector is compressed to a
thirtieth."""
DICTIONARY_COLUMNS = [
    "kind", "photo", "taken", "camera", "settings", "origin", "category", "object", "source", "read_by",
]  # fmt: skip
"""Columns that are worth a dictionary."""

OWN_COLUMNS = [
    "kind", "region", "x0", "y0", "x1", "y1", "origin", "category", "mask", "objectness", "object", "caption",
    "source",
]  # fmt: skip
"""What a row says of its region or caption; the others are of its photo."""
PYTHON_ROWS = 256
"""Rows that are made into Python's objects at once."""
MAX_PHOTO_ROWS = 50_000
MAX_PHOTO_CHARACTERS = 100_000_000
"""Of the masks, captions, categories and objects of a photo."""
CORNERS = ("x0", "y0", "x1", "y1")
LISTS = ("tags", "paths", "sizes", "mtimes_ns", "sidecars", "missing")

NEW_COLUMNS = ("given", "objectness", "object", "read_by")
"""Columns that exports of older versions lack."""
REQUIRED_COLUMNS = ("photo", "width", "height", "settings")
"""What a photo cannot be without."""

ROW_KINDS, ORIGINS, SOURCES = ("region", "caption"), get_args(Origin), get_args(Source)

Row = dict[str, Any]


def write_parquet(path: Path, manifest: ExportManifest, photos: Iterable[PhotoExport]) -> int:
    """Writes photos to a file, complete or not at all; returns how many rows it has.

    Raises:
        InputError: pyarrow is not installed, or the file cannot be written.
    """
    pa, pq = _import_pyarrow()
    unborn = path.with_name(f"{path.name}.{os.getpid()}.part")
    schema = _schema(manifest.dim).with_metadata({METADATA_KEY: _manifest_to_json(manifest)})
    count, made = 0, False
    try:
        with open(unborn, "xb") as file:  # by us: pyarrow knows no names in no encoding
            made = True
            with pq.ParquetWriter(
                file, schema, compression="zstd", use_dictionary=DICTIONARY_COLUMNS
            ) as writer:
                pairs = (pair for photo in photos for pair in _to_rows(photo, schema.names))
                for some in queries.chunks(pairs, BATCH_ROWS):
                    columns = [[row[name] for row, _ in some] for name in schema.names[:-1]]
                    vectors = np.stack([vector for _, vector in some]).astype(row_files.DTYPE)
                    arrays = [
                        pa.array(values, field.type) for values, field in zip(columns, schema, strict=False)
                    ]
                    arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), manifest.dim))
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                    count += len(some)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unborn, path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"{printable(os.fspath(path))} cannot be written ({error.strerror or error}): name another place"
        ) from error
    finally:
        if made:
            unborn.unlink(missing_ok=True)
    return count


def is_export(path: bytes) -> bool:
    """Returns whether the file at this path was written by `write_parquet`."""
    _, pq = _import_pyarrow()
    with open(path, "rb") as file:
        try:
            return METADATA_KEY in (pq.read_schema(file).metadata or {})
        except (ValueError, OSError, NotImplementedError):  # pyarrow's errors, all of them
            return False


def read_parquet(path: Path, checks: TextChecks) -> tuple[ExportManifest, Iterator[PhotoExport]]:
    """Returns what a file holds, and its photos, one by one. Reads all of it before, so that nothing is begun
    with a file that ends in rubbish.

    Raises:
        InputError: pyarrow is not installed; the file is not there, was not written by `write_parquet`, is
            damaged, or holds what no library does.
    """
    _, pq = _import_pyarrow()
    if path.exists() and not path.is_file():
        raise InputError(
            f"{printable(os.fspath(path))}: not a regular file: name a file that was exported by virtue"
        )
    with _translate_errors(path):
        with open(path, "rb") as stream, pq.ParquetFile(stream) as file:
            metadata, names = file.schema_arrow.metadata or {}, set(file.schema_arrow.names)
            rows = file.metadata.num_rows
        if METADATA_KEY not in metadata:
            raise InputError(f"{path} was not exported by virtue", hint="virtue export FILE")
        manifest = _manifest_from_json(path, metadata[METADATA_KEY])
        border.check_manifest(manifest, checks)
        lacking = [name for name in _schema(manifest.dim).names if name not in (*names, *NEW_COLUMNS)]
        if lacking:
            raise InputError(f"{path} lacks the columns {', '.join(lacking)}: export it again")
        if rows * manifest.dim > MAX_VALUES_A_BYTE * path.stat().st_size:
            raise ValueError(f"it has no room for the vectors of {rows:,} rows")
        _try(path, manifest.dim)
        seen: set[bytes] = set()
        for each in _read_photos(path, manifest.dim):
            border.check_photo(each, manifest.dim, checks)
            if each.photo.info.hash in seen:
                raise InputError(f"{path}: the rows of a photo are not together: sort the file by photo")
            seen.add(each.photo.info.hash)
    return manifest, _read_photos(path, manifest.dim)


def _try(path: Path, dim: int) -> None:
    """Has another process read the file first, with little memory.

    Raises:
        ValueError: it ended in an error, or by a crash of pyarrow.
    """
    command = [sys.executable, "-P", "-m", "virtue.store.transfer.reading_trial", os.fspath(path), str(dim)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip()
        raise ValueError(said or "reading it ended the process that did")


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"Parquet files need pyarrow, which is not installed: {install_hint('parquet')}"
        ) from None
    return pyarrow, pyarrow.parquet


def _schema(dim: int) -> Any:
    pa, _ = _import_pyarrow()
    text, number, real = pa.string(), pa.int32(), pa.float64()
    return pa.schema(
        [
            ("kind", text), ("photo", pa.binary()), ("width", number), ("height", number),
            ("taken", text), ("camera", text), ("latitude", real), ("longitude", real),
            ("rating", number), ("tags", pa.list_(text)), ("phash", pa.uint64()), ("settings", text),
            ("paths", pa.list_(pa.binary())), ("sizes", pa.list_(pa.int64())),
            ("mtimes_ns", pa.list_(pa.int64())), ("sidecars", pa.list_(text)),
            ("missing", pa.list_(pa.bool_())),
            ("region", number), ("x0", real), ("y0", real), ("x1", real), ("y1", real),
            ("origin", text), ("category", text), ("mask", text),
            ("caption", text), ("source", text), ("given", text),
            ("objectness", real), ("object", text), ("read_by", text),
            ("vector", pa.list_(pa.float16(), dim)),
        ]
    )  # fmt: skip


def _manifest_to_json(manifest: ExportManifest) -> bytes:
    content = {
        "format": FORMAT,
        "model": manifest.model,
        "fingerprint": manifest.fingerprint,
        "dim": manifest.dim,
        "roots": [{"path": os.fsdecode(root.path), "options": root.options} for root in manifest.roots],
    }
    return json.dumps(content).encode()


def _manifest_from_json(path: Path, text: bytes) -> ExportManifest:
    content = json.loads(text)
    if content["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer virtue: upgrade virtue")
    roots = tuple(Root(os.fsencode(root["path"]), root["options"]) for root in content["roots"])
    return ExportManifest(content["model"], content["fingerprint"], content["dim"], roots)


# -- photos to rows -----------------------------------------------------------------------------------------


def _to_rows(export: PhotoExport, names: list[str]) -> Iterator[tuple[Row, np.ndarray]]:
    photo, info, files = export.photo, export.photo.info, export.files
    row: Row = dict.fromkeys(names) | {
        name: getattr(info, name)
        for name in ("width", "height", "taken", "camera", "latitude", "longitude", "rating", "phash")
    }
    row |= {
        "photo": info.hash,
        "tags": list(info.tags),
        "settings": photo.settings,
        "given": info.given,
        "read_by": info.read_by,
        "paths": [file.path for file in files],
        "sizes": [file.size for file in files],
        "mtimes_ns": [file.mtime_ns for file in files],
        "sidecars": [file.sidecar for file in files],
        "missing": [file.path in export.missing for file in files],
    }
    for place, (region, vector) in enumerate(zip(photo.regions, photo.region_vectors, strict=True)):
        own: Row = {
            name: getattr(region, name) for name in ("origin", "category", "mask", "objectness", "object")
        }
        yield row | {"kind": "region", "region": place} | _corners(region.box) | own, vector
    for caption, vector in zip(photo.captions, photo.caption_vectors, strict=True):
        own = {"region": caption.region, "caption": caption.text, "source": caption.source}
        yield row | {"kind": "caption"} | _corners(caption.box) | own, vector


def _corners(box: Box | None) -> Row:
    return dict(zip(CORNERS, box.corners, strict=True)) if box else {}


# -- rows to photos -----------------------------------------------------------------------------------------


def _read_photos(path: Path, dim: int) -> Iterator[PhotoExport]:
    with _translate_errors(path):
        for _, group in groupby(_read_rows(path, dim), lambda pair: pair[0]["photo"]):
            yield _to_photo(_collect(group), dim)


def _collect(group: Iterable[tuple[Row, np.ndarray]]) -> list[tuple[Row, np.ndarray]]:
    """Returns the rows of a photo, or raises ValueError if they are more than there is room for."""
    pairs: list[tuple[Row, np.ndarray]] = []
    characters = 0
    for pair in group:
        pairs.append(pair)
        characters += sum(len(pair[0][name] or "") for name in ("mask", "caption", "category", "object"))
        if len(pairs) > MAX_PHOTO_ROWS or characters > MAX_PHOTO_CHARACTERS:
            raise ValueError("a photo has more regions and captions than any in a library")
    return pairs


def _read_rows(path: Path, dim: int) -> Iterator[tuple[Row, np.ndarray]]:
    """Yields rows with their vectors. What all rows of a photo say is read once, of its first."""
    pa, _ = _import_pyarrow()
    last: bytes | None = None
    shared: Row = {}
    for table in read_tables(path, dim):
        for first in range(0, len(table), PYTHON_ROWS):
            some = table.slice(first, PYTHON_ROWS)
            vectors = some.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
            rows = vectors.reshape(-1, dim).astype(np.float32)
            hashes = some.column("photo").to_pylist()
            begins = [n for n, hash in enumerate(hashes) if not n or hash != hashes[n - 1]]
            begins = begins[first > 0 and hashes[0] == last :]
            of_photos = some.drop_columns([*OWN_COLUMNS, "vector"]).take(pa.array(begins, pa.int64()))
            photos = dict(zip(begins, of_photos.to_pylist(), strict=True))
            for number, own in enumerate(some.select(OWN_COLUMNS).to_pylist()):
                shared = photos.get(number, shared)
                yield shared | own, rows[number]
            last = hashes[-1]


def read_tables(path: Path, dim: int) -> Iterator[Any]:
    """Yields the rows as tables of pyarrow, of the types that `write_parquet` gives them.

    Raises:
        ValueError: they are of other types, or more than any library has.
        ArrowException: the file is damaged.
    """
    pa, pq = _import_pyarrow()
    schema = _schema(dim)
    with open(path, "rb") as stream, pq.ParquetFile(stream) as file:
        groups, rows = file.metadata.num_row_groups, file.metadata.num_rows
        if groups > MAX_SMALL_GROUPS and rows < groups * MIN_GROUP_ROWS:
            raise ValueError(
                f"its {rows:,} rows are in {groups:,} row groups: write it with groups of {BATCH_ROWS:,} rows"
            )
        there = [name for name in schema.names if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH_ROWS, columns=there):
            table = pa.Table.from_batches([batch])
            for name in set(schema.names).difference(there):
                table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
            table = table.select(schema.names).cast(schema).combine_chunks()
            column = table.column("vector").combine_chunks()
            if column.null_count or column.flatten().null_count:
                raise ValueError("a vector is missing")
            lists = [table.column(name).combine_chunks().flatten() for name in LISTS]
            if sum(map(len, lists)) > MAX_LISTED:
                raise ValueError(
                    f"its photos have more than {MAX_LISTED:,} paths and tags in {BATCH_ROWS:,} rows"
                )
            yield table


def _to_photo(pairs: list[tuple[Row, np.ndarray]], dim: int) -> PhotoExport:
    """Makes a photo of its rows.

    Raises:
        ValueError: the rows contradict each other, or hold what no library does.
    """
    row = pairs[0][0]
    lists = [row[name] for name in ("tags", "paths", "sizes", "mtimes_ns", "missing")]
    required = [row[name] for name in REQUIRED_COLUMNS]
    if None in required or any(some is None or None in some for some in lists):
        raise ValueError("a photo lacks a value that every photo has")
    of_kind: dict[str, list[tuple[Row, np.ndarray]]] = {"region": [], "caption": []}
    for pair in pairs:
        of_kind[_choose(ROW_KINDS, pair[0]["kind"])].append(pair)
    regions = sorted(of_kind["region"], key=lambda pair: pair[0]["region"])
    if [each["region"] for each, _ in regions] != list(range(len(regions))):
        raise ValueError("the regions of a photo are not numbered from 0 on")
    photo = EmbeddedPhoto(
        PhotoInfo(
            row["photo"], row["width"], row["height"], row["taken"], row["camera"], row["latitude"],
            row["longitude"], row["rating"], tuple(row["tags"]), row["phash"] or 0, row["given"],
            row["read_by"],
        ),
        row["settings"],
        tuple(_to_region(each) for each, _ in regions),
        _stack_vectors(regions, dim),
        tuple(_to_caption(each) for each, _ in of_kind["caption"]),
        _stack_vectors(of_kind["caption"], dim),
    )  # fmt: skip
    files = zip(row["paths"], row["sizes"], row["mtimes_ns"], row["sidecars"], strict=True)
    gone = zip(row["paths"], row["missing"], strict=True)
    return PhotoExport(
        photo,
        tuple(FileRecord(*file, hash=row["photo"]) for file in files),
        frozenset(path for path, missing in gone if missing),
    )


def _to_region(row: Row) -> NewRegion:
    box = Box(row["x0"], row["y0"], row["x1"], row["y1"])
    what = (row[name] for name in ("category", "mask", "objectness", "object"))
    return NewRegion(box, _choose(ORIGINS, row["origin"]), *what)


def _to_caption(row: Row) -> NewCaption:
    if row["caption"] is None:
        raise ValueError("a caption has no text")
    corners = [row[name] for name in CORNERS if row[name] is not None]
    box = Box(*corners) if corners else None
    return NewCaption(row["caption"], _choose(SOURCES, row["source"]), row["region"], box)


def _choose(known: Sequence[str], value: str) -> Any:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return value


def _stack_vectors(pairs: list[tuple[Row, np.ndarray]], dim: int) -> np.ndarray:
    return np.array([vector for _, vector in pairs], np.float32).reshape(len(pairs), dim)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turns whatever is wrong with a file into one sentence that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except (
        ValueError, TypeError, LookupError, ArithmeticError, OSError, NotImplementedError,
        RecursionError, MemoryError, _import_pyarrow()[0].ArrowException,
    ) as error:  # fmt: skip
        if isinstance(error, VirtueError) and str(path) in str(error):
            raise
        what = " ".join(str(error).split())
        raise InputError(f"{path} is damaged, or not a complete export: {what}") from error
