"""A RAW photo beside a picture of the same stem: if both were taken at one moment, the RAW is one more path
of that photo, whose pixels and metadata are those of the picture.

Which pictures lie beside it is told from names; the moments are compared by the worker that opens the RAW. It
is opened again when one of those pictures comes, goes or changes: `beside` is a stamp of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from virtue.added_pictures import name_of
from virtue.formats import RAW
from virtue.indexer.walk import Walk
from virtue.paths import changed_at, status_changed_at
from virtue.store import FileState

_JPEG = (b".jpg", b".jpeg")
"""What cameras write beside a RAW: these come first where there are several pictures."""


def note_pictures_beside(walk: Walk, known: Mapping[bytes, FileState], gone: Collection[bytes]) -> None:
    """Tells each RAW of a walk which pictures lie beside it: those found, and those known from before.

    Args:
        gone: known paths where nothing is any more.
    """
    raws = [path for path in walk.files if _is_raw(path) and name_of(path) is None]
    if not raws:
        return
    beside: dict[bytes, dict[bytes, str]] = {_stem(path): {} for path in raws}
    for path, found in walk.files.items():
        if _stem(path) in beside and not _is_raw(path):
            beside[_stem(path)][path] = _stamp(path, found.size, found.mtime_ns, found.ctime_ns)
    for path, state in known.items():
        if _stem(path) not in beside or _is_raw(path) or path in walk.files or path in gone or state.missing:
            continue
        try:
            status = os.stat(path)
        except OSError:
            continue
        beside[_stem(path)][path] = _stamp(
            path, status.st_size, changed_at(status), status_changed_at(status)
        )
    for path in raws:
        if pictures := beside[_stem(path)]:
            in_order = sorted(pictures, key=lambda path: (not path.lower().endswith(_JPEG), path))
            stamp = " ".join(pictures[picture] for picture in in_order)
            walk.files[path] = walk.files[path]._replace(pictures=tuple(in_order), beside=stamp)


def raw_stems(walk: Walk) -> Iterator[bytes]:
    """Yields the paths, without their endings, of the RAWs of a walk."""
    return (_stem(path) for path in walk.files if _is_raw(path) and name_of(path) is None)


def _is_raw(path: bytes) -> bool:
    return os.path.splitext(os.fsdecode(path))[1].lower() in RAW


def _stem(path: bytes) -> bytes:
    return os.path.splitext(path)[0]


def _stamp(path: bytes, size: int, mtime_ns: int, ctime_ns: int | None) -> str:
    suffix = os.path.splitext(path)[1].decode("ascii", "replace")
    return f"{suffix}:{size}:{mtime_ns}:{ctime_ns}"
