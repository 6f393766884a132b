"""Files that a user names to be written: one that holds something else is not overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable

from virtue.errors import InputError
from virtue.paths import printable


def refuse_to_overwrite(path: str | os.PathLike[str], kind: str, is_one: Callable[[bytes], bool]) -> None:
    """Checks that there is nothing at this path, or what was written by us before. So a photo is never
    overwritten, in the library or not.

    Args:
        kind: what would be written, as in "an export".
        is_one: whether the file at this path is such a one.

    Raises:
        InputError: there is something else.
    """
    place = os.fsencode(path)
    if not os.path.lexists(place):
        return
    try:
        ours = os.path.isfile(place) and is_one(place)
    except OSError:
        ours = False
    if not ours:
        raise InputError(
            f"{printable(place)} exists and is not {kind}: name another file, or force it to be overwritten",
            hint="--force",
        )
