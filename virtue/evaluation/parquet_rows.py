"""Rows of Parquet files, column by name, with sentences for what is wrong with a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from virtue.distribution import install_hint
from virtue.errors import InputError

ROWS_AT_ONCE = 1024


def read_rows(file: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Reads a file row by row.

    Raises:
        InputError: pyarrow is not installed, or the file cannot be read, or lacks a required column.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            f"Parquet files need pyarrow, which is not installed: {install_hint('parquet')}"
        ) from None
    try:
        with pq.ParquetFile(file) as table:
            names = set(table.schema_arrow.names)
            if missing := [name for name in required if name not in names]:
                raise InputError(f"{file} lacks the column {missing[0]}")
            columns = [name for name in (*required, *optional) if name in names]
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=columns):
                yield from batch.to_pylist()
    except InputError:
        raise
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's errors, all of them
        raise InputError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())}") from None
