"""Paths: absolute, one below another, shown to people. Bytes, since names in no encoding exist."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Collection

from virtue.errors import InputError
from virtue.escaping import escape

SEPARATOR = os.fsencode(os.sep)


def absolute(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> bytes:
    """Returns the path from the root on, without following links.

    Raises:
        InputError: it is relative, and the working directory was removed.
    """
    try:
        return os.path.abspath(os.fsencode(path))
    except FileNotFoundError:
        raise no_working_directory() from None


def no_working_directory() -> InputError:
    return InputError("the working directory was removed: go to one that is there, or name whole paths")


def is_below(path: bytes, folder: bytes) -> bool:
    """Returns whether a path is this folder or lies below it; both are absolute."""
    return path == folder or path.startswith(folder.rstrip(SEPARATOR) + SEPARATOR)


def paths_below(folder: bytes) -> tuple[bytes, bytes]:
    """Returns the first of the paths that may lie below a folder, in the order of their bytes, and what
    follows the last."""
    first = folder.rstrip(SEPARATOR) + SEPARATOR
    return first, first[:-1] + bytes([first[-1] + 1])


def is_below_any(path: bytes, folders: Collection[bytes]) -> bool:
    """Returns whether a path is one of these folders or lies below one. For a set of folders it takes no
    longer the more there are."""
    while path not in folders:
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above
    return True


def outermost(folders: Collection[bytes]) -> set[bytes]:
    """Returns these folders, but for those that lie below another of them."""
    above = {folder: os.path.dirname(folder) for folder in {*folders}}
    return {
        folder
        for folder, parent in above.items()
        if parent == folder or not is_below_any(parent, above.keys())
    }


def changed_at(status: os.stat_result) -> int:
    """Returns when a file was changed, in nanoseconds, within 64 bits. File systems have times before 1678
    and after 2262, which fit no column."""
    return _in_64_bits(status.st_mtime_ns)


def status_changed_at(status: os.stat_result) -> int:
    """Returns when anything about a file was changed, also by a program that put its time back; as
    `changed_at`."""
    return _in_64_bits(status.st_ctime_ns)


def _in_64_bits(nanoseconds: int) -> int:
    return max(-(1 << 63), min(nanoseconds, (1 << 63) - 1))


def printable(path: str | bytes) -> str:
    """Returns a path as text that can be shown anywhere, escaped."""
    try:
        return escape(os.fsencode(path).decode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # text that is no path here, as JSON may hold it
        return escape(os.fsdecode(path))


def quote(path: str | bytes) -> str:
    """Quotes a path for a shell (bash, zsh): as it is, in quotes, or, if it cannot be decoded or would break
    the line or mislead, as $'…' with escaped bytes."""
    raw = os.fsencode(path)
    shown = printable(raw)
    if not shown.isprintable() or shown.encode() != raw:
        plain = (chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in raw)
        return "$'" + "".join(plain) + "'"
    return shlex.quote(f"./{shown}" if shown.startswith("-") else shown)


def hash_file(path: bytes) -> bytes | None:
    """Returns the hash of a file's content, by which a photo is known; None: it is no file, or cannot be
    read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None
