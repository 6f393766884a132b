"""Finds the photos below a folder, and the files beside them that speak of them."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from virtue.errors import InputError, PictureError, UnreadableError
from virtue.formats import SUFFIXES, passed_by
from virtue.indexer.links import LinkRule
from virtue.indexer.sidecar_files import UNREAD, SidecarNames, Stamp, text_names
from virtue.paths import SEPARATOR, changed_at, is_below, is_below_any, printable, status_changed_at
from virtue.pictures import check_file

SKIPPED = (b".", b"@eaDir")
"""Beginnings of names that are never photos: hidden files, `._*` of macOS, thumbnails of Synology."""
BINS = (b"#recycle", b"$recycle.bin", b"recycler", b"system volume information")
"""Folders of what was thrown away, by their names in lower case."""
BUNDLES = (b".photoslibrary", b".aplibrary", b".photolibrary", b".lrdata")
"""Endings of folders that belong to a program, in lower case."""

SIDECARS = (b".txt", b".xmp", b".json")
"""Endings of files beside photos, in lower case."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
"""What systems answer where nothing is."""

_SUFFIXES = tuple(os.fsencode(suffix) for suffix in sorted(SUFFIXES))


class Found(NamedTuple):
    """A file that should be a photo. `stamp` tells whether the files beside it changed (`Stamp`); None: there
    are none. `ctime_ns`: see `FileRecord`. `pictures` lie beside a RAW, and `beside` is a stamp of them; see
    `pairs`."""

    path: bytes
    size: int
    mtime_ns: int
    stamp: str | None
    ctime_ns: int | None = None
    pictures: tuple[bytes, ...] = ()
    beside: str | None = None


@dataclass(slots=True)
class Walk:
    """The files found below the given roots, by path; `problems` are paths that should be photos and are not
    files, and folders that cannot be listed. Those that are `unreadable` cannot be looked at now, and may be
    photos all the same; nor can what lies below `unlisted`. Links `not_followed` may be photos or folders.
    `passed_by` are files that nothing here reads, with the endings of their names. `listings` are of the
    folders of single files."""

    files: dict[bytes, Found] = field(default_factory=dict)
    problems: dict[bytes, str] = field(default_factory=dict)
    unreadable: set[bytes] = field(default_factory=set)
    unlisted: set[bytes] = field(default_factory=set)
    not_followed: set[bytes] = field(default_factory=set)
    passed_by: dict[bytes, str] = field(default_factory=dict)
    listings: dict[bytes, SidecarNames] = field(default_factory=dict)

    def hides(self, path: bytes) -> bool:
        """Returns whether a path may be there, unseen by the walk."""
        return any(places and is_below_any(path, places) for places in (self.unlisted, self.not_followed))

    def cut(self) -> Walk:
        """Takes out the files found so far, and what was passed by, as a walk of its own."""
        part = Walk(self.files, passed_by=self.passed_by)
        self.files, self.passed_by = {}, {}
        return part

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
    status = look_at(root)
    if not stat.S_ISDIR(status.st_mode):
        _add_single(result, root, status, links or LinkRule([os.path.dirname(root)]))
        return result
    links = links or LinkRule([root])
    left_out, start = _matcher(exclude), len(os.path.join(root, b""))
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
        beside = SidecarNames(names)
        for entry in listing:
            if left_out(entry.name, entry.path[start:]) or entry.path in apart:
                continue
            if not entry.is_symlink():
                _visit(entry, names, beside, result, folders, links)
            elif links.admits(entry.path):
                _visit(entry, names, beside, result, linked, links)
            elif _is_pictured(entry.name) or not os.path.isfile(entry.path):
                result.not_followed.add(entry.path)
    return result


def look_at(root: bytes) -> os.stat_result:
    """Returns the status of what is to be walked; raises InputError if it does not exist."""
    try:
        return os.stat(root)
    except OSError as error:
        raise InputError(
            f"{printable(root)}: {(error.strerror or str(error)).lower()}; correct the path, or forget it "
            "if it was indexed and is gone for good"
        ) from None


def may_concern(path: bytes, root: bytes) -> bool:
    """Returns whether what changed at `path` may change what a walk of `root` finds: not what lies in folders
    that are skipped, nor a file that is no picture and stands beside none."""
    names = path[len(root) :].split(SEPARATOR) if is_below(path, root) else [os.path.basename(path)]
    if any(_is_skipped(name) for name in names if name):
        return False
    is_beside = names[-1].lower().endswith(SIDECARS)
    return is_beside or _is_pictured(names[-1]) or not os.path.isfile(path)


def is_left_out(path: bytes, root: bytes, exclude: Iterable[str]) -> bool:
    """Returns whether a walk of `root` passes by a path below it, or by a folder above that."""
    left_out = _matcher(exclude)
    names = path[len(os.path.join(root, b"")) :].split(SEPARATOR)
    return any(left_out(name, SEPARATOR.join(names[:count])) for count, name in enumerate(names, 1))


def find_text(path: bytes, links: LinkRule) -> bytes | None:
    """Finds the text file beside a photo, `photo.jpg.txt` or else `photo.txt`."""
    return next((name for name in text_names(path) if _state_of(name, links)), None)


def list_sidecars(folder: bytes) -> SidecarNames:
    """Lists what may speak of the photos in a folder: nothing, if it cannot be listed."""
    try:
        return SidecarNames(os.listdir(folder))
    except OSError:
        return SidecarNames(())


def _visit(
    entry: os.DirEntry[bytes],
    names: set[bytes],
    beside: SidecarNames,
    result: Walk,
    folders: list[bytes],
    links: LinkRule,
) -> None:
    pictured = _is_pictured(entry.name)
    try:
        is_folder = entry.is_dir()
        if not is_folder and _is_passed_by(entry.name) and entry.is_file():
            result.passed_by[entry.path] = os.path.splitext(os.fsdecode(entry.name))[1].lower()
            return
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
        stamp = _stamp(entry.path, [name for name in text_names(entry.name) if name in names], beside, links)
        result.files[entry.path] = _found(entry.path, status, stamp)
    else:
        result.problems[entry.path] = "not a regular file"


def _is_skipped(name: bytes) -> bool:
    return name.startswith(SKIPPED) or name.lower() in BINS or name.lower().endswith(BUNDLES)


def _is_pictured(name: bytes) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _is_passed_by(name: bytes) -> bool:
    return name.lower().endswith(_passed_by())


@lru_cache(maxsize=1)
def _passed_by() -> tuple[bytes, ...]:
    return tuple(map(os.fsencode, sorted(passed_by())))


def _is_real_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _add_single(result: Walk, path: bytes, status: os.stat_result, links: LinkRule) -> None:
    if stat.S_ISREG(status.st_mode):
        folder, name = os.path.split(path)
        if folder not in result.listings:
            result.listings[folder] = list_sidecars(folder)
        stamp = _stamp(path, text_names(name), result.listings[folder], links)
        result.files[path] = _found(path, status, stamp)
    else:
        result.problems[path] = "not a regular file"


def _found(path: bytes, status: os.stat_result, stamp: str | None) -> Found:
    return Found(path, status.st_size, changed_at(status), stamp, status_changed_at(status))


def _stamp(path: bytes, texts: Iterable[bytes], beside: SidecarNames, links: LinkRule) -> str | None:
    """Returns the stamp of what lies beside a photo: the first text that is there, and all metadata."""
    folder, name = os.path.split(path)
    states = (_state_of(os.path.join(folder, text), links) for text in texts)
    text = next(filter(None, states), "")
    metadata = (_state_of(os.path.join(folder, each.name), links) for each in beside.of(name))
    return str(Stamp(text, " ".join(filter(None, metadata)))) or None


def _state_of(path: bytes, links: LinkRule) -> str | None:
    """Returns the state of a file, as text without blanks; None: it is not there."""
    if os.path.islink(path) and not links.admits(path):
        return UNREAD
    try:
        status = os.stat(path)
    except OSError as error:
        return UNREAD if error.errno not in _ABSENT or os.path.islink(path) else None
    if not stat.S_ISREG(status.st_mode):
        return None
    if not os.access(path, os.R_OK):
        return UNREAD
    # Not the path itself: the photos may be moved, with the text beside them.
    return f"{len(os.path.basename(path))}:{status.st_size}:{changed_at(status)}"


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
    """Returns what tells of a name, and its path below the root, whether a walk passes by it."""
    parts = [fnmatch.translate(pattern.rstrip("/")) for pattern in patterns if pattern.rstrip("/")]
    if not parts:
        return lambda name, path: _is_skipped(name)
    pattern = re.compile(os.fsencode("|".join(parts)))
    return lambda name, path: bool(_is_skipped(name) or pattern.match(name) or pattern.match(path))
