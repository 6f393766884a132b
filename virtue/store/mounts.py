"""Whether a folder lies on a network mount, where a library must not be written, and of whose changes other
machines do not tell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from virtue.errors import StoreError
from virtue.paths import is_below

MOUNTS = Path("/proc/self/mountinfo")

_SHARED = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|ceph|gpfs|lustre|beegfs|glusterfs|ocfs2|gfs2|9p|davfs"
    r"|virtiofs|vboxsf|vmhgfs|prl_fs|drvfs|fakeowner|osxfs"  # folders that a virtual machine shares
    r"|fuse(\.(?!(fuse-overlayfs|mergerfs|bindfs|encfs|cryfs|gocryptfs|ntfs-3g|exfat\S*)$).+)?"
)
"""Kinds of mounts that other machines may write to, or whose shared memory may not be that of one machine.
Of FUSE all but what is known to keep its files on a local disk."""


def refuse_network(folder: Path) -> None:
    """Raises an error if the folder lies on a network mount, where SQLite's write-ahead log is unsafe
    (sqlite.org/wal.html: all processes must be on one machine)."""
    kind = network_mount(folder)
    if kind:
        raise StoreError(
            f"the library {folder} lies on a network mount or shared folder ({kind}), where writing can "
            "destroy it: move it to a local disk, or open it read-only"
        )


def network_mount(folder: Path) -> str | None:
    """Returns the kind of network or shared filesystem that the folder lies on; None: it is local, or cannot
    be found out."""
    real = os.path.realpath(folder)
    if sys.platform == "win32":
        return "a network share" if real.startswith("\\\\") else None
    if not MOUNTS.exists():
        return None
    kind = filesystem_of(os.fsencode(real), MOUNTS.read_bytes())
    return kind if _SHARED.fullmatch(kind) else None


def mounts_below(folder: bytes) -> dict[bytes, str]:
    """Returns the kinds of the filesystems that are mounted at this folder or below it, by their places;
    nothing where that cannot be found out."""
    if not MOUNTS.exists():
        return {}
    real = os.path.realpath(folder)
    return {point: kind for point, kind in _table(MOUNTS.read_bytes()) if is_below(point, real)}


def tells_changes(folder: bytes) -> bool:
    """Returns whether the system knows of all changes below a folder: none is made by another machine."""
    shared = any(_SHARED.fullmatch(kind) for kind in mounts_below(folder).values())
    return not shared and network_mount(Path(os.fsdecode(folder))) is None


def filesystem_of(path: bytes, mountinfo: bytes) -> str:
    """Returns the filesystem type of the mount that holds `path`, from the text of Linux's mountinfo."""
    best, kind = b"", "unknown"
    for point, type_here in _table(mountinfo):
        # Of mounts on the same point, the later one hides the earlier.
        if is_below(path, point) and len(point) >= len(best):
            best, kind = point, type_here
    return kind


def _table(mountinfo: bytes) -> Iterator[tuple[bytes, str]]:
    """Yields the place and the type of each mount (proc(5): the mount point is field 5; the type follows a
    lone hyphen)."""
    for line in mountinfo.splitlines():
        fields = line.split(b" ")
        point = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), fields[4])
        yield point, os.fsdecode(fields[fields.index(b"-") + 1])
