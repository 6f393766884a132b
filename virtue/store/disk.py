"""The disk that a library lies on: new files that survive a power cut, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from virtue.errors import StoreError


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder survive a power cut, where the system lets folders be synced."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def translate_disk_errors(folder: Path) -> Iterator[None]:
    """Turns what the system says of writing files into one sentence about the library."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT, EFBIG):
            raise disk_full(folder) from error
        raise StoreError(f"the library {folder} cannot be written to: {error}") from error


def disk_full(folder: Path) -> StoreError:
    """Returns the error that says so."""
    return StoreError(
        f"the disk of the library {folder} is full: make room and run the command again; "
        "all that was committed is safe"
    )
