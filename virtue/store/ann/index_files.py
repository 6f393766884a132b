"""Index files: written completely under another name first, checked before FAISS sees them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from virtue.store import layout as names
from virtue.store.ann.segments import IndexSegment
from virtue.store.disk import sync_folder

CHUNK_BYTES = 1 << 20
"""Bytes written at once."""


def write_index(folder: Path, id: int, index: Any) -> tuple[int, int]:
    """Writes an index to the file of that id and waits until it is on the disk; returns its size and
    checksum.

    Raises:
        OSError: the disk is full, or fails.
    """
    from virtue.store.ann.faiss_runtime import faiss

    path = folder / names.index_file(id)
    unborn = path.with_name(path.name + ".new")
    size = crc = 0
    with open(unborn, "wb", buffering=CHUNK_BYTES) as file:

        def write(chunk: bytes) -> None:
            nonlocal size, crc
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            file.write(chunk)

        writer = faiss.PyCallbackIOWriter(write, CHUNK_BYTES)
        faiss.write_index(index, writer)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unborn, path)
    sync_folder(folder)
    return size, crc


def map_index(folder: Path, file: IndexSegment) -> np.ndarray | None:
    """Maps the bytes of an index file. They stay even if a writer removes the file; None: it is gone, or of
    another size."""
    path = folder / names.index_file(file.id)
    try:
        content = np.asarray(np.memmap(path, np.uint8, mode="r"))
    except (FileNotFoundError, ValueError):  # of an empty file
        return None
    return content if len(content) == file.size else None


def is_sound(content: np.ndarray, file: IndexSegment) -> bool:
    """Returns whether the checksum is right, and the index one that FAISS can search: a stranger's has a
    checksum that fits it, and damage could crash the process."""
    if len(content) != file.size or zlib.crc32(content.data) != file.crc:
        return False
    from virtue.store.ann.ivf import holds_together

    return holds_together(content, file)


def map_sound(folder: Path, segments: Iterable[IndexSegment]) -> dict[IndexSegment, np.ndarray]:
    """Returns the bytes of those files that are there and undamaged."""
    contents = {segment: map_index(folder, segment) for segment in segments}
    return {segment: c for segment, c in contents.items() if c is not None and is_sound(c, segment)}
