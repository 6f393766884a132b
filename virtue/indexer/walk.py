"""Finds the photos below a folder, and the text files that lie beside them."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from virtue.errors import InputError, PictureError, UnreadableError
from virtue.indexer.links import LinkRule
from virtue.paths import changed_at, is_below_any, printable, status_changed_at
from virtue.pictures import SUFFIXES, check_file

SKIPPED = (b".", b"@eaDir")
"""Beginnings of names that are never photos: hidden files, `._*` of macOS, thumbnails of Synology."""
BINS = (b"#recycle", b"$recycle.bin", b"recycler", b"system volume information")
"""Folders of what was thrown away, by their names in lower case."""
BUNDLES = (b".photoslibrary", b".aplibrary", b".photolibrary", b".lrdata")
"""Endings of folders that belong to a program, in lower case."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
"""What systems answer where nothing is."""

_SUFFIXES = tuple(os.fsencode(suffix) for suffix in sorted(SUFFIXES))


UNREAD = "unread"
"""The stamp of a sidecar that cannot be read now."""


class Found(NamedTuple):
    """A file that should be a photo. `sidecar` is the path of the text beside it, `stamp` tells whether
    that changed; both None without one. `ctime_ns`: see `FileRecord`."""

    path: bytes
    size: int
    mtime_ns: int
    sidecar: bytes | None
    stamp: str | None
    ctime_ns: int | None = None


@dataclass(slots=True)
class Walk:
    """The files found below the given roots, by path; `problems` are paths that should be photos and are not
    files, and folders that cannot be listed. Those that are `unreadable` cannot be looked at now, and may be
    photos all the same; nor can what lies below `unlisted`. Links `not_followed` may be photos or folders."""

    files: dict[bytes, Found] = field(default_factory=dict)
    problems: dict[bytes, str] = field(default_factory=dict)
    unreadable: set[bytes] = field(default_factory=set)
    unlisted: set[bytes] = field(default_factory=set)
    not_followed: set[bytes] = field(default_factory=set)

    def hides(self, path: bytes) -> bool:
        """Returns whether a path may be there, unseen by the walk."""
        return any(places and is_below_any(path, places) for places in (self.unlisted, self.not_followed))

    def add_unreadable(self, path: bytes, reason: str) -> None:
        self.problems[path] = reason
        self.unreadable.add(path)
        self.unlisted.add(path)  # it may be a folder, whatever its name


def walk(
    root: bytes,
    exclude: Iterable[str] = (),
    into: Walk | None = None,
    apart: Container[bytes] = (),
    links: LinkRule | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Walk:
    """Looks through a folder (absolute path), or at one file; either may be a link.

    Folders are entered once, also when links lead to them twice or in circles.

    Args:
        root: a folder, or a file, which is then taken whatever its name.
        exclude: shell patterns on a name or on a path relative to the root, of files and of folders.
        into: what was found before, to add to.
        apart: folders below the root that are left to walks of their own.
        links: which are followed. None: those that lead to something below the root.
        tick: called at each folder; what it raises ends the walk.

    Raises:
        InputError: the root does not exist or cannot be listed.
    """
    result = into if into is not None else Walk()
    try:
        status = os.stat(root)
    except OSError as error:
        raise InputError(
            f"{printable(root)}: {(error.strerror or str(error)).lower()}; correct the path, or forget it "
            "if it was indexed and is gone for good"
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        _add_single(result, root, status, links or LinkRule([os.path.dirname(root)]))
        return result
    links = links or LinkRule([root])
    excluded, start = _matcher(exclude), len(os.path.join(root, b""))
    seen: set[tuple[int, int]] = set()
    folders, linked = [root], list[bytes]()
    while folders or linked:  # links last: a photo is known by its own path where it has one
        folder = folders.pop() if folders else linked.pop(0)
        tick()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                listing = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise InputError(f"{printable(root)}: {error.strerror or error}") from None
            result.add_unreadable(folder, f"folder that cannot be listed: {error.strerror or error}")
            continue
        names = {entry.name for entry in listing}
        for entry in listing:
            is_left_out = _is_skipped(entry.name) or excluded(entry.name, entry.path[start:])
            if is_left_out or entry.path in apart:
                continue
            if not entry.is_symlink():
                _visit(entry, names, result, folders, links)
            elif links.admits(entry.path):
                _visit(entry, names, result, linked, links)
            elif _is_pictured(entry.name) or not os.path.isfile(entry.path):
                result.not_followed.add(entry.path)
    return result


def find_sidecar(path: bytes, links: LinkRule) -> tuple[bytes, str] | tuple[None, None]:
    """Finds the text file beside a photo, `photo.jpg.txt` or else `photo.txt`, and its stamp."""
    return next(_stamped(*_sidecar_names(path), links=links), (None, None))


def _visit(
    entry: os.DirEntry[bytes],
    names: set[bytes],
    result: Walk,
    folders: list[bytes],
    links: LinkRule,
) -> None:
    pictured = _is_pictured(entry.name)
    try:
        is_folder = entry.is_dir()
        if not (is_folder or pictured):
            if entry.is_symlink() and not os.path.exists(entry.path):
                result.unlisted.add(entry.path)  # a folder on a drive that is not mounted, perhaps
            return
        status = entry.stat()
    except OSError as error:
        if pictured:
            _add_unreadable(result, entry.path)
        elif _is_real_folder(entry):
            reason = f"folder that cannot be looked at: {error.strerror or error}"
            result.add_unreadable(entry.path, reason)
        else:
            result.unlisted.add(entry.path)
        return
    if is_folder:
        folders.append(entry.path)
        if pictured:
            result.problems[entry.path] = "a folder, not a picture"
    elif stat.S_ISREG(status.st_mode):
        beside = [name for name in _sidecar_names(entry.name) if name in names]
        paths = [entry.path[: len(entry.path) - len(entry.name)] + name for name in beside]
        sidecar, stamp = next(_stamped(*paths, links=links), (None, None))
        result.files[entry.path] = _found(entry.path, status, sidecar, stamp)
    else:
        result.problems[entry.path] = "not a regular file"


def _is_skipped(name: bytes) -> bool:
    return name.startswith(SKIPPED) or name.lower() in BINS or name.lower().endswith(BUNDLES)


def _is_pictured(name: bytes) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _is_real_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _add_single(result: Walk, path: bytes, status: os.stat_result, links: LinkRule) -> None:
    if stat.S_ISREG(status.st_mode):
        result.files[path] = _found(path, status, *find_sidecar(path, links))
    else:
        result.problems[path] = "not a regular file"


def _found(path: bytes, status: os.stat_result, sidecar: bytes | None, stamp: str | None) -> Found:
    return Found(path, status.st_size, changed_at(status), sidecar, stamp, status_changed_at(status))


def _sidecar_names(name: bytes) -> list[bytes]:
    """Returns the names that a text beside a photo may have."""
    return [stem + suffix for stem in (name, os.path.splitext(name)[0]) for suffix in (b".txt", b".TXT")]


def _stamped(*paths: bytes, links: LinkRule) -> Iterator[tuple[bytes, str]]:
    for path in paths:
        if os.path.islink(path) and not links.admits(path):
            yield path, UNREAD
            continue
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno not in _ABSENT or os.path.islink(path):
                yield path, UNREAD
            continue
        if stat.S_ISREG(status.st_mode):
            # Not the path itself: the photos may be moved, with the text beside them.
            yield path, f"{len(os.path.basename(path))}:{status.st_size}:{changed_at(status)}"


def _add_unreadable(result: Walk, path: bytes) -> None:
    """Notes a file that cannot be looked at, unless it vanished meanwhile."""
    try:
        check_file(os.fsdecode(path))
        reason = "it changed while it was looked at: index again"
    except UnreadableError as error:
        if not os.path.lexists(path) and "no such file" in str(error):
            return
        reason = str(error)
    except PictureError as error:
        result.problems[path] = str(error)
        return
    result.add_unreadable(path, reason)


def _matcher(patterns: Iterable[str]) -> Callable[[bytes, bytes], bool]:
    parts = [fnmatch.translate(pattern.rstrip("/")) for pattern in patterns if pattern.rstrip("/")]
    if not parts:
        return lambda name, path: False
    pattern = re.compile(os.fsencode("|".join(parts)))
    return lambda name, path: bool(pattern.match(name) or pattern.match(path))
