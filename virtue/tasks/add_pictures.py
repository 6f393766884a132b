"""Pictures that a program adds as bytes, kept in the library's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from virtue.added_pictures import file_of, folder_of, name_of
from virtue.errors import InputError, PictureError
from virtue.indexer import Progress, Report, index
from virtue.indexer.reading import read_texts
from virtue.paths import changed_at, hash_file, status_changed_at
from virtue.pictures import load
from virtue.store import Fault, FileRecord
from virtue.store.disk import sync_folder, translate_disk_errors
from virtue.store.transfer.manifest import PhotoExport
from virtue.tasks.take_in import remember_folder

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Store, Writer

PART = b".part-"
"""How files begin that are still being written; indexing passes by what begins with a dot."""


def add_pictures(
    store: Store,
    writer: Writer,
    embedder: Embedder,
    pictures: Mapping[str, bytes] | Iterable[tuple[str, bytes]],
    *,
    regions: str | int | None,
    ocr: bool | None,
    workers: int | None,
    progress: Callable[[Progress], None] | None,
) -> Report:
    """Keeps pictures in the library's folder and indexes them; see `Library.add`."""
    if store.folder is None:
        raise InputError(
            f"the library {store.name} has no folder for pictures: write them to one of yours, and index that"
        )
    folder = folder_of(store.folder)
    written: dict[bytes, bool] = {}
    refused: list[tuple[bytes, str]] = []
    with translate_disk_errors(store.folder):
        os.makedirs(folder, exist_ok=True)
        try:
            for name, content in pictures.items() if isinstance(pictures, Mapping) else pictures:
                path = os.path.join(folder, file_of(name, content))
                if path in written:
                    raise InputError(f"two pictures are called {name!r}: give each a name of its own")
                is_new = not os.path.lexists(path)
                if not is_new:
                    try:  # or what has the name now would be lost to what is no picture
                        load(content, side=embedder.model.side)
                    except PictureError as error:
                        refused.append((path, str(error)))
                        continue
                _write(path, content)
                written[path] = is_new
        except BaseException:
            for path in filter(written.get, written):
                os.unlink(path)
            raise
        sync_folder(store.folder)
        sync_folder(Path(os.fsdecode(folder)))
    remember_folder(store, writer)
    report = Report()
    if written:
        report = index(
            store,
            embedder,
            list(written),
            regions=regions,
            workers=workers,
            progress=progress,
            writer=writer,
        )
    lost = [path for path, _ in report.problems if written.get(path)]
    for path in lost:
        os.unlink(path)
    if lost:
        writer.drop_paths(lost)
    kept = sorted(written.keys() - set(lost))
    if kept:
        read_texts(store, writer, embedder, report, kept, ocr=ocr, workers=workers, progress=progress)
    report.problems += refused
    return report


def _find_folder(store: Store) -> bytes | None:
    """Returns the folder of added pictures; None: nothing was ever added."""
    folder = None if store.folder is None else folder_of(store.folder)
    return folder if folder is not None and os.path.isdir(folder) else None


def _write(path: bytes, content: bytes) -> None:
    """Writes a file, complete or not at all."""
    folder, name = os.path.split(path)
    unborn = os.path.join(folder, PART + name)
    with open(unborn, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unborn, path)


def find_lost_pictures(store: Store) -> list[Fault]:
    """Finds pictures that were added and are not what they were. Reads them all."""
    folder = _find_folder(store)
    if folder is None:
        return []
    with store.read() as snapshot:
        files = snapshot.files()
    return [
        Fault(
            "photo",
            f"the picture {name_of(path)!r} that was added is gone, or another one: add it again, or index "
            "to take it as it is",
            paths=(path,),
            repairable=False,
        )
        for path, state in sorted(files.items())
        if os.path.dirname(path) == folder
        and state.hash
        and not state.missing
        and hash_file(path) != state.hash
    ]


def remove_forgotten(store: Store) -> int:
    """Removes the files of added pictures that were forgotten, and of additions that were never finished;
    returns how many bytes that frees."""
    folder = _find_folder(store)
    if folder is None:
        return 0
    with store.read() as snapshot:
        known = snapshot.files()
        gone = {photo.path for photo in snapshot.forgotten()} - known.keys()
    freed = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.path in gone or entry.name.startswith(PART):
                freed += entry.stat(follow_symlinks=False).st_size
                os.unlink(entry.path)
    return freed


def take_pictures(photos: Iterable[PhotoExport], store: Store) -> Iterator[PhotoExport]:
    """Copies pictures that were added to another library into this one's folder; names that are taken here
    stay. A library on a server has no folder: they stay where they are."""
    if store.folder is None:
        yield from photos
        return
    folder = folder_of(store.folder)
    for each in photos:
        own = [file for file in each.files if name_of(file.path) is not None]
        if not own:
            yield each
            continue
        paths = {file.path: os.path.join(folder, os.path.basename(file.path)) for file in own}
        with store.read() as snapshot:
            taken = snapshot.known_paths(paths.values())
        copied = _copy(own, paths, taken)
        files = tuple(copied.get(file.path, file) for file in each.files)
        missing = frozenset(copied[path].path if path in copied else path for path in each.missing)
        yield replace(each, files=files, missing=missing)


def _copy(
    files: Iterable[FileRecord], paths: Mapping[bytes, bytes], taken: Collection[bytes]
) -> dict[bytes, FileRecord]:
    """Copies what can be read and has a free name; returns the records of these, and of those whose name is
    taken, by the paths that they had."""
    copied: dict[bytes, FileRecord] = {}
    for file in files:
        own = paths[file.path]
        if own in taken:
            copied[file.path] = replace(file, path=own)
        elif hash_file(file.path) == file.hash:
            os.makedirs(os.path.dirname(own), exist_ok=True)
            with open(file.path, "rb") as stream:
                _write(own, stream.read())
            status = os.stat(own)
            copied[file.path] = replace(
                file, path=own, mtime_ns=changed_at(status), ctime_ns=status_changed_at(status)
            )
    return copied
