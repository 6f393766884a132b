"""The folder that a library is: the names of its files, and what must be in it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from virtue.added_pictures import FOLDER
from virtue.errors import DamagedError, LibraryNotFoundError, StoreError
from virtue.store.records import Kind

CATALOGUE = "catalogue.db"
UNFINISHED = "catalogue.db.new"
BACKUP = "catalogue.db.backup"
LOCK = "writer.lock"
LOCK_NOTE = "writer.json"

_ROW_FILE = re.compile(r"(?:regions|captions)-\d+\.f16")
_INDEX_FILE = re.compile(r"index-\d+\.faiss(?:\.new)?")
_OURS = re.compile(
    rf"{re.escape(CATALOGUE)}.*|{re.escape(LOCK)}|{re.escape(LOCK_NOTE)}|{_ROW_FILE.pattern}|{_INDEX_FILE.pattern}"
)


def row_file(kind: Kind, generation: int) -> str:
    return f"{kind}-{generation}.f16"


def row_files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _ROW_FILE.fullmatch(path.name))


def index_file(id: int) -> str:
    return f"index-{id}.faiss"


def index_files_in(folder: Path) -> list[Path]:
    """Lists index files, with those that were not finished."""
    return sorted(path for path in folder.iterdir() if _INDEX_FILE.fullmatch(path.name))


def bytes_in(folder: Path) -> int:
    """Returns the size of the library's files on disk."""
    total = 0
    for place in (folder, folder / FOLDER):
        with suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # SQLite's own files come and go
                    total += entry.stat().st_size if entry.is_file() else 0
    return total


def require(folder: Path) -> None:
    """Raises an error unless there is a catalogue to open."""
    if folder.is_file():
        raise LibraryNotFoundError(f"{folder} is a file, and a library is a folder: name the folder")
    if (folder / CATALOGUE).is_file():
        return
    if folder.is_dir() and row_files_in(folder):
        raise DamagedError(
            f"the library {folder} has lost its {CATALOGUE}: put it back from a backup, or remove the "
            "folder and index again"
        )
    raise LibraryNotFoundError(
        f"there is no library in {folder}: make one by indexing photos", hint="virtue index PATH"
    )


def refuse_links(folder: Path) -> None:
    """Raises an error if a file of the library is a link, a pipe or the like.

    Writing would change, and cutting off what is too long would empty, whatever a stranger's link leads to;
    reading a pipe would wait for ever.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and not entry.is_file(follow_symlinks=False):
                raise StoreError(
                    f"the library {folder} cannot be used, since {entry.name} in it is a link or no regular "
                    "file: put the file itself there"
                )


def require_settled(folder: Path) -> None:
    """Raises an error if the catalogue has changes that only a process with write permission can read."""
    log = folder / f"{CATALOGUE}-wal"
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"the library {folder} has changes in {log.name} that cannot be read from here: close "
            "what writes to it, or open it once where it can be written to"
        )


def identify(folder: Path) -> tuple[int, int]:
    """Returns what tells a library's catalogue from another one that takes its place.

    Raises:
        StoreError: there is none any more.
    """
    try:
        status = os.stat(folder / CATALOGUE)
    except OSError as error:
        raise StoreError(
            f"the library {folder} is not there any more ({error.strerror}): mount its drive, if that is it"
        ) from None
    return status.st_dev, status.st_ino


def require_same(folder: Path, identity: tuple[int, int]) -> None:
    """Raises StoreError if another library has taken the place of the one that was opened."""
    if identify(folder) != identity:
        raise StoreError(
            f"the library {folder} was replaced by another one while it was open (a backup that was put "
            "back, a folder that was renamed): nothing was written into that; open it again"
        )


def prepare(folder: Path) -> None:
    """Makes the folder for a new library; refuses one with other files in it."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, and a library is a folder: name another")
    ours = (CATALOGUE, UNFINISHED, LOCK, LOCK_NOTE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = [n for n in os.listdir(folder) if not n.startswith((".", *ours))]
    except OSError as error:
        raise StoreError(f"no library can be made in {folder}: {error.strerror}") from error
    if strangers:
        raise StoreError(
            f"{folder} holds other files ({strangers[0]}) and no library: name a new or an empty folder"
        )
