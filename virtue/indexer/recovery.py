"""Whether vectors could be made again from the files of their photos."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from virtue.errors import InputError
from virtue.indexer.walk import Found, Walk, walk
from virtue.indexer.workers import Pool, default_workers

if TYPE_CHECKING:
    from virtue.store import Store


def find_unrecoverable(store: Store, photos: Collection[bytes], side: int | None) -> list[tuple[bytes, str]]:
    """Returns the photos, of these hashes, that have no file that can be read now: a path of each, and the
    reason. A path with other content counts if that is a picture.

    Args:
        side: as the model decodes them.
    """
    with store.read() as snapshot:
        paths = {path: state.hash for path, state in snapshot.files().items() if state.hash in photos}
    problems: dict[bytes, tuple[bytes, str]] = {}
    files: list[Found] = []
    for path in sorted(paths):
        try:
            found = walk(path)
        except InputError:
            found = Walk(problems={path: "it cannot be looked at"})
        files += found.files.values()
        for reason in found.problems.values():
            problems.setdefault(paths[path] or b"", (path, reason))
    sound: set[bytes | None] = set()
    count = min(default_workers(), len(files)) or 1
    # The same bytes were decoded once, and will be again.
    with Pool(files, side, lambda found, hashed: hashed.hash not in photos, count) as outcomes:
        for outcome in filter(None, outcomes):
            photo = paths[outcome.found.path]
            if outcome.problem is None:
                sound.add(photo)
            else:
                problems.setdefault(photo or b"", (outcome.found.path, outcome.problem))
    return sorted(problem for photo, problem in problems.items() if photo not in sound)
