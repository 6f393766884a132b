"""Forgetting photos, and letting forgotten ones be indexed again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from virtue.errors import InputError
from virtue.indexer.reach import MissingSummary, find_out_of_reach
from virtue.indexer.walk import walk
from virtue.paths import hash_file, is_below, printable
from virtue.store.catalogue.filters import parse
from virtue.whole_numbers import read_whole

if TYPE_CHECKING:
    from virtue.store import Store


def forget_matching(store: Store, where: str | Sequence[str] | None, photo_ids: Iterable[int] | None) -> int:
    """Forgets photos by a filter, or by their ids; see `Library.forget`."""
    filter = parse(where) if where is not None else None
    if photo_ids is not None and not isinstance(photo_ids, Iterable):
        raise InputError(f"photo_ids are a list, not {type(photo_ids).__name__}")
    with store.write("virtue forget") as writer:
        if photo_ids is None:
            with store.read() as snapshot:
                photo_ids = snapshot.photo_ids(filter)
        ids = {read_whole("photo_id", id) for id in photo_ids}
        return writer.forget_photos(ids) if ids else 0


def undo_forget(store: Store, paths: Sequence[bytes]) -> int:
    """Takes photos off the list, by the paths they were forgotten at or where they are now; see
    `Library.forget`."""
    with store.write("virtue forget --undo") as writer:
        with store.read() as snapshot:
            forgotten = snapshot.forgotten()
        sizes = {photo.size for photo in forgotten}
        listed = {photo.hash for photo in forgotten}
        again: set[bytes] = set()
        for path in paths:
            files = [path]
            if os.path.isdir(path):  # what has another size than all that was forgotten need not be read
                files = [file.path for file in walk(path).files.values() if file.size in sizes]
            here = listed.intersection(filter(None, map(hash_file, files)))
            if not here and not any(is_below(photo.path, path) for photo in forgotten):
                raise InputError(
                    f"nothing at {printable(path)} was forgotten: name a file, or the path that it had",
                    hint="virtue status --forgotten",
                )
            again |= here
        return writer.unforget(paths, again)


def forget_missing(store: Store) -> MissingSummary:
    """Forgets the files that are missing; see `Library.forget_missing`."""
    with store.write("virtue forget --missing") as writer:
        with store.read() as snapshot:
            known = snapshot.missing()
            roots = {root.path for root in snapshot.roots()}
            renamed = snapshot.perhaps_renamed()
        missing = [path for path in known if not os.path.lexists(path)]
        kept = find_out_of_reach(missing, roots)
        renamed = {path: renamed[path] for path in missing if path in renamed and path not in kept}
        gone = [path for path in missing if path not in kept and path not in renamed]
        if gone:
            writer.drop_paths(gone)
    return MissingSummary(len(gone), kept, renamed, len(known) - len(missing))
