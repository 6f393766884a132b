"""Row files: fp16 vectors, little endian, one after the other, nothing else. The row number is the
id of a vector. What lies past the count that the catalogue has is rubbish of an unfinished write."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from virtue.errors import DamagedError
from virtue.store import layout as names
from virtue.store.catalogue import queries
from virtue.store.catalogue.database import AnyConnection
from virtue.store.disk import sync_folder
from virtue.store.records import Generation, Kind

DTYPE = np.dtype("<f2")
BLOCK = 4096
"""Rows under one checksum."""
UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a vector may be."""


def encode(vectors: np.ndarray, count: int, dim: int, what: str) -> np.ndarray:
    """Encodes vectors (count, dim) as they are stored.

    Raises:
        ValueError: their shape is another, or a vector is not of unit length.
    """
    vectors = np.asarray(vectors)
    if vectors.shape != (count, dim) and not (count == 0 and vectors.size == 0):
        raise ValueError(f"the vectors of {what} have shape {vectors.shape}, not ({count}, {dim})")
    if vectors.dtype not in (np.float32, np.float64):
        raise ValueError(f"the vectors of {what} are {vectors.dtype}, not float32")
    vectors = vectors.reshape(count, dim)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not (np.abs(lengths - 1) <= UNIT_TOLERANCE).all():  # not: NaN must fail too
        raise ValueError(f"the vectors of {what} are not all of unit length: {lengths}")
    return vectors.astype(DTYPE)


def append(
    path: Path, count: int, crc: int, vectors: np.ndarray, check: Callable[[], None] = lambda: None
) -> dict[int, int]:
    """Writes vectors (n, dim) after the first `count` rows and waits until they are on the disk.

    Args:
        crc: the checksum of the last block so far, 0 if the count is a multiple of `BLOCK`.
        check: called before anything is written, with the file open: raises if it is not the right one.

    Returns:
        The checksum of every block that changed.

    Raises:
        DamagedError: the file is gone, or holds less than `count` rows.
        OSError: the disk is full, or fails.
    """
    start = count * vectors.shape[1] * DTYPE.itemsize
    if count and not path.exists():
        raise _gone(path)
    check()
    with open(path, "r+b" if count else "ab", buffering=0) as file:
        check()
        end = file.seek(0, os.SEEK_END)
        if end < start:
            raise _too_short(path)
        if end > start:
            file.truncate(start)
        file.seek(start)
        data = memoryview(vectors.tobytes())
        while data:
            data = data[file.write(data) :]
        os.fsync(file.fileno())
    if count == 0:
        sync_folder(path.parent)
    return _continue_checksums(count, crc, vectors)


def _continue_checksums(count: int, crc: int, vectors: np.ndarray) -> dict[int, int]:
    sums = {}
    done = 0
    while done < len(vectors):
        block, used = divmod(count + done, BLOCK)
        part = vectors[done : done + BLOCK - used]
        sums[block] = crc = zlib.crc32(part.tobytes(), crc if used else 0)
        done += len(part)
    return sums


def truncate(path: Path, count: int, dim: int) -> None:
    """Cuts off what lies past the count."""
    size = count * dim * DTYPE.itemsize
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)


def pad(path: Path, count: int, dim: int) -> None:
    """Fills a file that is too short, or gone, with zeros up to the count."""
    with open(path, "ab") as file:
        if file.tell() < count * dim * DTYPE.itemsize:
            file.truncate(count * dim * DTYPE.itemsize)
            os.fsync(file.fileno())


def map_generation(connection: AnyConnection, folder: Path, generation: Generation, kind: Kind) -> np.ndarray:
    """Returns all rows of a generation, (count, dim) fp16, read from the disk as they are touched.

    Raises:
        DamagedError: their file is gone or too short.
    """
    count = queries.row_count(connection, generation.id, kind)
    if count == 0:
        return np.empty((0, generation.dim), DTYPE)
    path = folder / names.row_file(kind, generation.id)
    try:
        if path.stat().st_size < count * generation.dim * DTYPE.itemsize:
            raise _too_short(path)
        # As a plain array: memory maps of NumPy's own kind are slow to take parts of.
        return np.asarray(np.memmap(path, DTYPE, mode="r", shape=(count, generation.dim)))
    except FileNotFoundError:
        raise _gone(path) from None


def read_checksums(path: Path, count: int, dim: int) -> Iterator[tuple[int, int]]:
    """Yields (rows, crc) of every block of the first `count` rows; fewer rows than expected where the file
    ends too early."""
    stride = dim * DTYPE.itemsize
    with open(path, "rb") as file:
        for first in range(0, count, BLOCK):
            data = file.read(min(BLOCK, count - first) * stride)
            yield len(data) // stride, zlib.crc32(data)


def damaged(what: str) -> DamagedError:
    """Returns an error that says what is damaged, and how to mend it."""
    return DamagedError(f"{what}: verify the library, with repair", hint="virtue verify --repair")


def _gone(path: Path) -> DamagedError:
    return damaged(f"{path} is gone")


def _too_short(path: Path) -> DamagedError:
    return damaged(f"{path} is shorter than the catalogue says")
