"""Rows of a SCaR file, and how they are written: the published columns, and what scenes know besides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from virtue.distribution import install_hint
from virtue.errors import InputError
from virtue.geometry import Box
from virtue.paths import printable

INSTRUCTION = (
    "<|image_1|>\nFind the caption that best describes the segmented object, considering both local details "
    "and global context in the given image."
)
"""What the published files ask."""
MAKER = b"virtue.maker"
"""Key of the metadata: what wrote the captions."""
BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class ScarRow:
    """A region and ten captions.

    Attributes:
        picture: path of the picture, relative to the file's folder or to where pictures are.
        box: of the region, in pixels of the picture.
        captions: ten; the first is true.
        swaps: for each caption which element it swaps ("object", "relation", "scene"); "" for the first.
        category: what the region shows.
        bound: place of the caption whose relation is true of another pair in the picture; None: none is.
        mask: (height, width) bool of the region; None: not known.
    """

    picture: str
    box: Box
    captions: tuple[str, ...]
    swaps: tuple[str, ...]
    category: str
    bound: int | None = None
    mask: np.ndarray | None = None


def write_scar(path: Path, rows: Iterable[ScarRow], maker: str) -> int:
    """Writes a SCaR file, complete or not at all; returns how many rows it has.

    Args:
        maker: what wrote the captions; kept in the file's metadata as `virtue.maker`.

    Raises:
        InputError: pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            f"Parquet files need pyarrow, which is not installed: {install_hint('parquet')}"
        ) from None
    run_lengths = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.list_(pa.int32()))])
    schema = pa.schema(
        [
            ("qry_text", pa.string()), ("qry_image_path", pa.string()), ("tgt_text", pa.list_(pa.string())),
            ("bbox", pa.list_(pa.float64())), ("segmentation", run_lengths), ("category", pa.string()),
            ("image_id", pa.string()), ("tgt_swap", pa.list_(pa.string())), ("bound", pa.int32()),
        ],
        metadata={MAKER: maker},
    )  # fmt: skip
    unborn = path.with_name(f"{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with open(unborn, "wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for some in _chunks(rows):
                writer.write_table(pa.Table.from_pylist([_values(row) for row in some], schema))
                count += len(some)
        os.replace(unborn, path)
    except OSError as error:
        raise InputError(
            f"{printable(os.fspath(path))} cannot be written ({error.strerror or error}): name another place"
        ) from error
    finally:
        unborn.unlink(missing_ok=True)
    return count


def _values(row: ScarRow) -> dict[str, Any]:
    return {
        "qry_text": INSTRUCTION,
        "qry_image_path": row.picture,
        "tgt_text": list(row.captions),
        "bbox": list(row.box.xywh),
        "segmentation": None if row.mask is None else encode_mask(row.mask),
        "category": row.category,
        "image_id": os.path.splitext(os.path.basename(row.picture))[0],
        "tgt_swap": list(row.swaps),
        "bound": row.bound,
    }


def encode_mask(mask: np.ndarray) -> dict[str, list[int]]:
    """Encodes a mask as COCO's uncompressed run lengths: column by column, what is not meant first."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:-1] != flat[:-2])
    counts = np.diff([0, *edges, mask.size])
    return {"size": [int(length) for length in mask.shape], "counts": [int(count) for count in counts]}


def _chunks(rows: Iterable[ScarRow]) -> Iterator[list[ScarRow]]:
    iterator = iter(rows)
    while some := list(islice(iterator, BATCH_ROWS)):
        yield some


def is_scar(path: bytes) -> bool:
    """Returns whether the file at this path was written by `write_scar`."""
    import pyarrow.parquet as pq

    with open(path, "rb") as file:
        try:
            return MAKER in (pq.read_schema(file).metadata or {})
        except (ValueError, OSError, NotImplementedError):  # pyarrow's errors, all of them
            return False
