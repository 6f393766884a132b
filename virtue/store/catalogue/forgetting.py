"""What forgetting takes out of the catalogue, and the list of photos that stay forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from virtue.added_pictures import is_folder
from virtue.errors import InputError
from virtue.paths import SEPARATOR, is_below, is_below_any, printable
from virtue.store.catalogue import token_tables, writes
from virtue.store.catalogue.database import WriteConnection
from virtue.store.catalogue.queries import fetch, fetch_for

Files = dict[bytes, tuple[int | None, bool]]
"""The photo at each path, and whether the path is missing."""

_FILE = (bytes, int | None, int)


def forget(connection: WriteConnection, paths: Collection[bytes]) -> int:
    """Drops these paths and all below them, the roots among them, and photos that are left without a path
    that is still there; returns how many paths of these there were.

    A photo that is forgotten by its name, or by a folder that was not indexed by name itself, goes on the
    list, so that indexing the folders above does not bring it back.

    Raises:
        InputError: the library knows nothing at one of the paths; then nothing is forgotten.
    """
    paths = [path.rstrip(SEPARATOR) for path in paths]
    roots = {root for (root,) in fetch(connection, "SELECT path FROM roots", types=(bytes,))}
    going: Files = {}
    named: Files = {}
    for path in paths:
        files = _files_below(connection, path)
        if not files and not any(is_below(root, path) for root in roots):
            raise InputError(
                f"the library knows nothing at {printable(path or SEPARATOR)}, and nothing was forgotten: "
                "name photos or folders that were indexed",
                hint="virtue status",
            )
        going |= files
    # What code added is no folder of the user's that ends to be indexed.
    own = {root for root in roots if is_folder(root)}
    left = own | {root for root in roots if not any(is_below(root, path) for path in paths)}
    for path in paths:
        # What lies below no root any more comes back only if it is named again.
        if not any(is_below(root, path) for root in roots) or is_below_any(path, left):
            named |= _files_below(connection, path)
    for root in own:
        if any(is_below(root, path) for path in paths):
            named |= _files_below(connection, root)
    _list(connection, named, going)
    _drop(connection, going)
    for root in roots - left:
        connection.exec_driver_sql("DELETE FROM roots WHERE path = ?", (root,))
    return len(going)


def forget_photos(connection: WriteConnection, photos: Collection[int]) -> int:
    """Drops photos with all their paths, and puts them on the list; returns how many paths there were.

    Raises:
        InputError: the library has not one of these photos; then nothing is forgotten.
    """
    sql = "SELECT path, photo_id, missing FROM files WHERE photo_id IN ({})"
    found = fetch_for(connection, sql, photos, types=_FILE)
    going: Files = {path: (photo, missing == 1) for path, photo, missing in found}
    unknown = set(photos).difference(photo for photo, _ in going.values() if photo is not None)
    if unknown:
        raise InputError(f"this library has no photo {min(unknown)}, and nothing was forgotten")
    _list(connection, going, going)
    _drop(connection, going)
    return len(going)


def drop_paths(connection: WriteConnection, paths: Iterable[bytes]) -> None:
    """Drops paths, and the photos left without any. They do not go on the list."""
    sql = "SELECT path, photo_id, missing FROM files WHERE path IN ({})"
    found = fetch_for(connection, sql, paths, types=_FILE)
    _drop(connection, {path: (photo, missing == 1) for path, photo, missing in found})


def _files_below(connection: WriteConnection, path: bytes) -> Files:
    place, inside = writes.below(path)
    sql = f"SELECT path, photo_id, missing FROM files WHERE {inside}"
    return {path: (photo, missing == 1) for path, photo, missing in fetch(connection, sql, place, _FILE)}


def _list(connection: WriteConnection, named: Files, going: Files) -> None:
    """Lists the photos whose last path is named, with the other names that they had once."""
    photos = {photo for photo, _ in named.values() if photo is not None}
    present = {photo for photo, missing in named.values() if not missing}
    # A RAW goes with the picture beside it.
    sql = "SELECT path, photo_id, missing OR beside IS NOT NULL FROM files WHERE photo_id IN ({})"
    others = [found for found in fetch_for(connection, sql, photos, types=_FILE) if found[0] not in going]
    kept = {photo for _, photo, missing in others if not missing or photo not in present}
    for path, photo, missing in others:
        if photo not in kept:
            going[path] = (photo, missing)
    lost = photos - kept
    now = datetime.now(UTC).isoformat(timespec="seconds")
    add = (
        "INSERT INTO forgotten (hash, path, size, mtime_ns, forgotten_at) "
        "SELECT hash, path, size, mtime_ns, ? FROM files JOIN photos ON photos.id = photo_id WHERE path = ? "
        "ON CONFLICT (hash) DO UPDATE SET path = excluded.path, size = excluded.size, "
        "mtime_ns = excluded.mtime_ns, forgotten_at = excluded.forgotten_at"
    )
    # Missing paths first: the one that is still there is remembered.
    for path in sorted(named, key=lambda path: not named[path][1]):
        if named[path][0] in lost:
            connection.exec_driver_sql(add, (now, path))


def _drop(connection: WriteConnection, files: Files) -> None:
    writes.drop_files(connection, files)
    writes.settle_live(connection, {photo for photo, _ in files.values() if photo is not None})
    writes.drop_photos(connection, writes.pathless(connection))
    token_tables.purge(connection)


def remember(connection: WriteConnection, paths: Iterable[bytes], hashes: Iterable[bytes]) -> int:
    """Takes photos off the list: those that were forgotten at or below a path, and those of a hash; returns
    how many."""
    count = 0
    for path in paths:
        place, inside = writes.below(path)
        count += connection.exec_driver_sql(f"DELETE FROM forgotten WHERE {inside}", place).rowcount
    for hash in hashes:
        count += connection.exec_driver_sql("DELETE FROM forgotten WHERE hash = ?", (hash,)).rowcount
    return count
