"""Which paths are names of one file: a link and its target, hard links, a folder by two names."""

from __future__ import annotations

import os
from collections.abc import Iterable

from virtue.errors import PictureError
from virtue.pictures import check_file

CHUNK = 1 << 20
"""Bytes that are compared at once."""

Identity = tuple[int, int] | bytes


def identify(path: bytes) -> Identity:
    """Returns what is equal for all names of a file: its number on its disk; the path itself where nothing
    can be found out."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.normcase(os.path.realpath(path))


def files_of(paths: Iterable[bytes]) -> list[list[bytes]]:
    """Returns the names of each file among these paths, those that lead through no link first; files that
    have such a name come before others."""
    found: dict[Identity, list[bytes]] = {}
    for path in sorted(paths, key=lambda path: (os.path.realpath(path) != path, path)):
        found.setdefault(identify(path), []).append(path)
    return list(found.values())


def are_copies(one: bytes, other: bytes) -> bool:
    """Returns whether both are readable files with the same bytes, not two names of one file."""
    if identify(one) == identify(other):
        return False
    try:
        if _may_be_seen_twice(os.stat(one), os.stat(other)):
            return False
        check_file(one), check_file(other)
        with open(one, "rb") as stream, open(other, "rb") as other_stream:
            while content := stream.read(CHUNK):
                if other_stream.read(CHUNK) != content:
                    return False
            return not other_stream.read(1)
    except (OSError, ValueError, PictureError):
        return False


def _may_be_seen_twice(one: os.stat_result, other: os.stat_result) -> bool:
    """Returns whether these may be one file through two mounts (a share mounted twice, an overlay and its
    layer), which number their files by themselves: it changed at one time, which no program can set."""
    return not (one.st_ino and other.st_ino) or (
        one.st_dev != other.st_dev and one.st_ctime_ns == other.st_ctime_ns
    )
