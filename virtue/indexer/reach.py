"""Whether a photo that is missing may be on a disk that is not mounted."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from virtue.paths import is_below


@dataclass(frozen=True, slots=True)
class MissingSummary:
    """What became of missing files.

    Attributes:
        forgotten: how many were forgotten.
        kept: those that may be on a disk that is not mounted, each with the folder that says so.
        renamed: those that may have been renamed to a file that cannot be read now, each with that file.
        back: how many are there again, and were kept for the next `index`.
    """

    forgotten: int
    kept: dict[bytes, bytes]
    renamed: dict[bytes, bytes]
    back: int


def find_out_of_reach(paths: Iterable[bytes], roots: Collection[bytes]) -> dict[bytes, bytes]:
    """Returns those of these paths that may lie on a disk that is not mounted, each with the folder that
    says so: a root that is not there or cannot be listed, or the nearest folder above it that is there, if
    that is empty and no mount point."""
    gone = [root for root in roots if not os.path.isdir(root)]
    known: dict[bytes, bytes | None] = {}
    result: dict[bytes, bytes] = {}
    for path in paths:
        folder = next((root for root in gone if is_below(path, root)), None)
        if folder is None:
            folder = _unmounted(os.path.dirname(path), any(is_below(path, r) for r in roots), known)
        if folder is not None:
            result[path] = folder
    return result


def _unmounted(folder: bytes, has_root: bool, known: dict[bytes, bytes | None]) -> bytes | None:
    if folder not in known:
        known[folder] = folder
        try:
            with os.scandir(folder) as entries:
                if any(entries) or os.path.ismount(folder):
                    known[folder] = None
        except (FileNotFoundError, NotADirectoryError):
            # A folder that was deleted; but of a file that was named itself no folder is known to stay.
            above = os.path.dirname(folder)
            if has_root and above != folder:
                known[folder] = _unmounted(above, has_root, known)
        except OSError:
            pass
    return known[folder]
