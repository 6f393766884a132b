"""Whether a library was overwritten in place while it is written to, by a backup that was copied over it.

SQLite cannot notice that: it goes on with its log, and copies pages of the log into what was put back. But
between two transactions of the writer the catalogue's file changes only if another program has the log
copied into it; then it does not shrink, and row files keep their sizes. Only times and sizes are looked at:
who opens and closes the catalogue in a process that uses it ends SQLite's locks
(https://sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from virtue.errors import StoreError
from virtue.store import layout as names

LOG_HEADER_BYTES = 32
"""Two of them are random numbers (https://sqlite.org/fileformat2.html#walformat)."""


@dataclass(frozen=True, slots=True)
class LibraryStamp:
    """What a library's files looked like after the last transaction: the times and the size of the
    catalogue, the sizes of the row files, and the header of SQLite's log."""

    catalogue: tuple[int, int, int]
    rows: dict[Path, int]
    log_header: bytes

    @classmethod
    def take(cls, folder: Path) -> LibraryStamp:
        rows = {path: path.stat().st_size for path in names.row_files_in(folder)}
        return cls(_look_at_catalogue(folder), rows, _read_header(_log(folder)))

    def require_same(self, folder: Path) -> None:
        """Raises an error if the library was overwritten. What was put there is kept: the log of the one
        before is emptied, so that nothing of it gets in there any more.

        Raises:
            StoreError: it was.
        """
        catalogue = _look_at_catalogue(folder)
        if catalogue == self.catalogue or (catalogue[2] >= self.catalogue[2] and not self._has_other_rows()):
            return
        _part_with_log(_log(folder), is_ours=_read_header(_log(folder)) == self.log_header)
        (folder / f"{names.CATALOGUE}-shm").unlink(missing_ok=True)
        raise StoreError(
            f"the library {folder} was overwritten while it was written to, by a backup perhaps: nothing was "
            "written into that; run the command again"
        )

    def with_rows(self, path: Path) -> LibraryStamp:
        """Returns the stamp after the writer itself has appended to this row file."""
        return replace(self, rows=self.rows | {path: path.stat().st_size})

    def _has_other_rows(self) -> bool:
        for path, size in self.rows.items():
            with suppress(FileNotFoundError):
                if path.stat().st_size != size:
                    return True
        return False


def _look_at_catalogue(folder: Path) -> tuple[int, int, int]:
    status = (folder / names.CATALOGUE).stat()
    # The first is not set back by who copies a file with its times (`cp -a`).
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size


def _log(folder: Path) -> Path:
    return folder / f"{names.CATALOGUE}-wal"


def _read_header(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            return file.read(LOG_HEADER_BYTES)
    except FileNotFoundError:
        return b""


def _part_with_log(log: Path, is_ours: bool) -> None:
    """Leaves an empty log to the connections that are open, so that closing them copies nothing, and the
    log that was put back, if one was, to those to come."""
    if not log.exists():
        return
    put_back = log.with_name(f"{log.name}.new")
    if not is_ours:
        put_back.write_bytes(log.read_bytes())
    os.truncate(log, 0)
    if is_ours:
        log.unlink()
    else:
        os.replace(put_back, log)
