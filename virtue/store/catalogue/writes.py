"""The steps that commits are made of. Each works inside the writer's transaction."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table

from virtue.store.catalogue import schema, token_tables
from virtue.store.catalogue.database import WriteConnection, WrongValueError
from virtue.store.catalogue.queries import fetch, fetch_for
from virtue.store.records import (
    INDEXED_SOURCES,
    KEPT_SOURCES,
    KINDS,
    USER_ORIGINS,
    USER_SOURCES,
    EmbeddedPhoto,
    FileRecord,
    Kind,
    NewCaption,
    NewRegion,
    PhotoInfo,
    Source,
)

Ids = Collection[int]

MAX_ID = 1 << 62

_SEPARATOR = os.fsencode(os.sep)
_ORIGINS, _SOURCES = (", ".join(f"'{name}'" for name in names) for names in (USER_ORIGINS, KEPT_SOURCES))
_MOVED = "CAST(? || substr(path, ?) AS BLOB)"


def photo_ids(connection: WriteConnection, hashes: Iterable[bytes]) -> dict[bytes, int]:
    sql = "SELECT hash, id FROM photos WHERE hash IN ({})"
    return {hash: id for hash, id in fetch_for(connection, sql, set(hashes), types=(bytes, int))}


def put_photos(connection: WriteConnection, infos: Sequence[PhotoInfo]) -> dict[bytes, int]:
    """Adds photos, or what is new about them; returns ids by hash. A new photo is not live yet."""
    if not infos:
        return {}
    ids = photo_ids(connection, [info.hash for info in infos])
    following = next_id(connection, schema.photos)
    for info in infos:
        if info.hash not in ids:
            ids[info.hash] = following
            following += 1
    columns = ("width", "height", "taken", "camera", "latitude", "longitude", "rating", "read_by")
    put(
        connection,
        schema.photos,
        [
            {name: getattr(info, name) for name in columns}
            | {"id": ids[info.hash], "hash": info.hash, "phash": _signed(info.phash), "live": False}
            for info in infos
        ],
        key=["id"],
        renewed=(*columns, "phash"),
    )
    _each(connection, "DELETE FROM tags WHERE photo_id = ?", ids.values())
    insert(
        connection,
        schema.tags,
        [{"photo_id": ids[info.hash], "tag": tag} for info in infos for tag in dict.fromkeys(info.tags)],
    )
    _each(connection, "DELETE FROM given WHERE photo_id = ?", ids.values())
    given = [{"photo_id": ids[info.hash], "content": info.given} for info in infos if info.given]
    insert(connection, schema.given, given)
    return ids


def put_files(connection: WriteConnection, files: Sequence[FileRecord]) -> set[int]:
    """Adds paths, or what is new about them.

    Returns:
        The photos that gained or lost a path.

    Raises:
        ValueError: a file's photo was never stored.
    """
    touched = _photos_at(connection, (file.path for file in files))
    ids = photo_ids(connection, (file.hash for file in files if file.hash is not None))
    unknown = [file.path for file in files if file.hash is not None and file.hash not in ids]
    if unknown:
        raise ValueError(f"the photo of {unknown[0]!r} was never stored")
    columns = ("size", "mtime_ns", "ctime_ns", "sidecar", "problem", "judged_by", "beside")
    put(
        connection,
        schema.files,
        [
            {name: getattr(file, name) for name in ("path", *columns)}
            | {"photo_id": ids[file.hash] if file.hash is not None else None, "missing": False}
            for file in files
        ],
        key=["path"],
        renewed=(*columns, "photo_id", "missing"),
    )
    # What was indexed on purpose is no longer forgotten.
    _each(connection, "DELETE FROM forgotten WHERE hash = ?", ids)
    return touched | set(ids.values())


def mark_missing(connection: WriteConnection, paths: Collection[bytes]) -> set[int]:
    """Marks these paths as missing; returns the photos at them."""
    touched = _photos_at(connection, paths)
    _each(connection, "UPDATE files SET missing = 1 WHERE path = ?", paths)
    return touched


def drop_files(connection: WriteConnection, paths: Iterable[bytes]) -> None:
    _each(connection, "DELETE FROM files WHERE path = ?", paths)


def _photos_at(connection: WriteConnection, paths: Iterable[bytes]) -> set[int]:
    sql = "SELECT photo_id FROM files WHERE photo_id IS NOT NULL AND path IN ({})"
    return {photo for (photo,) in fetch_for(connection, sql, paths, types=(int,))}


def settle_live(connection: WriteConnection, photos: Ids | None = None) -> None:
    """Notes for these photos (None: all) whether a path of them is still there, and what they are called."""
    sql = "UPDATE photos SET live = EXISTS (SELECT 1 FROM files WHERE photo_id = photos.id AND NOT missing)"
    if photos is None:
        connection.exec_driver_sql(sql)
    else:
        _each(connection, f"{sql} WHERE id = ?", photos)
        token_tables.put_names(connection, photos)


def put_regions(
    connection: WriteConnection, generation: int, photos: Sequence[tuple[int, Sequence[NewRegion]]], row: int
) -> list[int]:
    """Adds the regions of photos, with rows counting up from `row`; returns their ids, in order."""
    first = next_id(connection, schema.regions)
    values = [
        {
            "photo_id": photo,
            "generation_id": generation,
            **dict(zip(("x0", "y0", "x1", "y1"), region.box.corners, strict=True)),
            "origin": region.origin,
            "category": region.category,
            "mask": region.mask,
            "objectness": region.objectness,
            "object": region.object,
        }
        for photo, regions in photos
        for region in regions
    ]
    insert(connection, schema.regions, _numbered(values, first, row))
    return list(range(first, first + len(values)))


def put_captions(
    connection: WriteConnection,
    generation: int,
    captions: Sequence[tuple[int, NewCaption, int | None]],
    row: int,
) -> None:
    """Adds (photo id, caption, region id) captions, their rows counting up from `row`."""
    values = [
        {
            "photo_id": photo,
            "generation_id": generation,
            "region_id": region,
            "text": caption.text,
            "source": caption.source,
            **dict(
                zip(
                    ("x0", "y0", "x1", "y1"), caption.box.corners if caption.box else (None,) * 4, strict=True
                )
            ),
        }
        for photo, caption, region in captions
    ]
    first = next_id(connection, schema.captions)
    insert(connection, schema.captions, _numbered(values, first, row))
    token_tables.put_captions(connection, first)


def check_captions(photo: EmbeddedPhoto) -> None:
    """Checks that captions belong to regions that will stay.

    Raises:
        ValueError: a caption belongs to a region that is not there, or that may be lost alone, or has a box
            beside its region.
    """
    for caption in photo.captions:
        if caption.region is None:
            continue
        if caption.box is not None:
            raise ValueError(f"the caption {caption.text!r} belongs to a region, and has a box of its own")
        if not 0 <= caption.region < len(photo.regions):
            raise ValueError(f"the caption {caption.text!r} belongs to a region that is not there")
        # Or repair, which drops what indexing finds again, would take the caption with the region.
        if caption.source in USER_SOURCES and photo.regions[caption.region].origin not in USER_ORIGINS:
            raise ValueError(f"the caption {caption.text!r} was given, and its region was not")


def put_checksums(connection: WriteConnection, generation: int, kind: Kind, sums: Mapping[int, int]) -> None:
    """Stores the checksums of blocks of rows."""
    values = [
        {"generation_id": generation, "kind": kind, "block": block, "crc": crc} for block, crc in sums.items()
    ]
    put(connection, schema.checksums, values, ["generation_id", "kind", "block"], ["crc"])


def drop_vectors(connection: WriteConnection, generation: int, photos: Ids) -> None:
    """Drops all that this generation has of these photos."""
    for kind in reversed(KINDS):
        remove(connection, kind, f"generation_id = {generation:d}", photos)
    sql = f"DELETE FROM embeddings WHERE generation_id = {generation:d} AND photo_id = ?"
    _each(connection, sql, photos)


def drop_captions(
    connection: WriteConnection, generation: int, photo: int, sources: Sequence[Source]
) -> None:
    """Drops captions of the photo itself; those of its regions stay with them."""
    listed = ", ".join(f"'{source}'" for source in sources)
    condition = f"generation_id = {generation:d} AND region_id IS NULL AND source IN ({listed})"
    remove(connection, "captions", condition, [photo])


def put_reader(connection: WriteConnection, photos: Ids, reader: str) -> None:
    """Notes who read these photos (`PhotoInfo.read_by`)."""
    values = [(reader, photo) for photo in photos]
    if values:
        connection.exec_driver_sql("UPDATE photos SET read_by = ? WHERE id = ?", values)


def drop_photos(connection: WriteConnection, photos: Ids) -> None:
    """Removes photos from the catalogue, with their tags."""
    for kind in reversed(KINDS):
        remove(connection, kind, "TRUE", photos)
    _each(connection, "DELETE FROM photos WHERE id = ?", photos)
    token_tables.put_names(connection, photos)


def drop_vectors_keep_annotations(connection: WriteConnection, photos: Ids) -> None:
    """Drops the vectors of photos, and all that indexing can find again. The user's annotations stay, and
    what was read in the photos, without a row."""
    listed = ", ".join(f"'{source}'" for source in INDEXED_SOURCES)
    remove(connection, "captions", f"source IN ({listed})", photos)
    remove(connection, "regions", f"origin NOT IN ({_ORIGINS})", photos)
    for kind in KINDS:
        _tombstone(connection, kind, "TRUE", photos)
        _each(connection, f"UPDATE {kind} SET row = NULL WHERE photo_id = ?", photos)
    _each(connection, "DELETE FROM embeddings WHERE photo_id = ?", photos)


def keep_user_annotations(connection: WriteConnection, generation: int) -> None:
    """Moves the user's annotations of photos that are not in this generation into it, and what was read in
    them, without rows: such as of photos that were missing when it was made."""
    absent = f"photo_id NOT IN (SELECT photo_id FROM embeddings WHERE generation_id = {generation:d})"
    move = f"SET generation_id = {generation:d}, row = NULL WHERE {absent}"
    connection.exec_driver_sql(f"UPDATE regions {move} AND origin IN ({_ORIGINS})")
    connection.exec_driver_sql(f"UPDATE captions {move} AND source IN ({_SOURCES})")


def in_the_way(connection: WriteConnection, old: bytes, new: bytes) -> bytes | None:
    """Returns a path that is already taken at the place that `move` moves to; None: there is none."""
    place, inside = below(old)
    for table in ("files", "roots"):
        sql = (
            f"SELECT path FROM {table} WHERE NOT {inside} AND path IN "
            f"(SELECT {_MOVED} FROM {table} WHERE {inside})"
        )
        found = fetch(connection, sql, (*place, _bare(new), len(_bare(old)) + 1, *place))
        if found:
            return bytes(found[0][0])
    return None


def move(connection: WriteConnection, old: bytes, new: bytes) -> int:
    """Moves all files and roots at or below `old` to `new`; returns how many files that were."""
    place, inside = below(old)
    count = 0
    for table in ("roots", "forgotten", "files"):
        # By way of names that no path has: `new` may lie below `old`, or the other way round.
        aside = f"UPDATE {table} SET path = {_MOVED} WHERE {inside}"
        count = connection.exec_driver_sql(aside, (b"\0", len(_bare(old)) + 1, *place)).rowcount
        back = f"UPDATE {table} SET path = {_MOVED} WHERE substr(path, 1, 1) = ?"
        connection.exec_driver_sql(back, (_bare(new), 2, b"\0"))
    top = (os.path.abspath(new), _bare(new), _bare(new) + _SEPARATOR)
    connection.exec_driver_sql("UPDATE roots SET path = ? WHERE path IN (?, ?)", top)
    place, inside = below(new)
    moved = fetch(
        connection, f"SELECT photo_id FROM files WHERE photo_id IS NOT NULL AND {inside}", place, (int,)
    )
    token_tables.put_names(connection, {photo for (photo,) in moved})
    return count


def longest_below(connection: WriteConnection, path: bytes) -> int:
    """Returns the bytes of the longest path at or below one; 0: there is none."""
    place, inside = below(path)
    ((longest,),) = connection.exec_driver_sql(f"SELECT max(length(path)) FROM files WHERE {inside}", place)
    return longest or 0


def below(path: bytes) -> tuple[tuple[bytes, bytes, bytes], str]:
    """Returns the SQL condition for a path and all below it, with its parameters."""
    bare = _bare(path)
    place = (bare, bare + _SEPARATOR, bare + bytes([_SEPARATOR[0] + 1]))
    return place, "(path = ? OR (path >= ? AND path < ?))"


def _bare(path: bytes) -> bytes:
    """Removes the separator at the end, which only the top of a disk has."""
    return path.rstrip(_SEPARATOR)


def pathless(connection: WriteConnection) -> list[int]:
    """Returns the photos without any path, not even a missing one."""
    sql = (
        "SELECT id FROM photos WHERE live = 0 AND NOT EXISTS (SELECT 1 FROM files WHERE photo_id = photos.id)"
    )
    return [photo for (photo,) in fetch(connection, sql, types=(int,))]


def count_commit(connection: WriteConnection) -> None:
    """Gives the library its next version, by which readers see that something was written."""
    connection.exec_driver_sql("UPDATE library SET version = version + 1")


def next_id(connection: WriteConnection, table: Table) -> int:
    """Returns an id that no row of this table ever had."""
    found = fetch(connection, "SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,), (int,))
    last = int(found[0][0]) if found else 0
    if not 0 <= last <= MAX_ID:
        raise WrongValueError(f"the last id of {table.name} is {last}")
    return last + 1


def remove(connection: WriteConnection, kind: Kind, condition: str, photos: Ids) -> None:
    """Removes regions or captions of these photos that fulfil a condition; their rows are dead."""
    _tombstone(connection, kind, condition, photos)
    if kind == "captions":
        token_tables.drop_captions(connection, condition, photos)
    _each(connection, f"DELETE FROM {kind} WHERE photo_id = ? AND {condition}", photos)


def _tombstone(connection: WriteConnection, kind: Kind, condition: str, photos: Ids) -> None:
    _each(
        connection,
        "INSERT INTO tombstones (generation_id, kind, row) "
        f"SELECT generation_id, '{kind}', row FROM {kind} "
        f"WHERE photo_id = ? AND row IS NOT NULL AND {condition} ON CONFLICT DO NOTHING",
        photos,
    )


def _each(connection: WriteConnection, sql: str, keys: Iterable[Any]) -> None:
    values = [(key,) for key in keys]
    if values:
        connection.exec_driver_sql(sql, values)


def _numbered(values: list[dict[str, Any]], id: int, row: int) -> list[dict[str, Any]]:
    return [{"id": id + n, "row": row + n, **value} for n, value in enumerate(values)]


def insert(connection: WriteConnection, table: Table, values: list[dict[str, Any]]) -> None:
    """Adds rows to a table; all have values of the same columns."""
    _runinsert(connection, table, values, "")


def put(
    connection: WriteConnection,
    table: Table,
    values: list[dict[str, Any]],
    key: Sequence[str],
    renewed: Sequence[str],
) -> None:
    """Adds rows to a table; where the key is taken, that row gets the new values of some columns."""
    renewal = ", ".join(f"{name} = excluded.{name}" for name in renewed)
    _runinsert(connection, table, values, f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {renewal}")


def _runinsert(connection: WriteConnection, table: Table, values: list[dict[str, Any]], end: str) -> None:
    if not values:
        return
    columns = [*values[0]]
    sql = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}){end}"
    connection.exec_driver_sql(sql, [tuple(each[name] for name in columns) for each in _storable(values)])


def _storable(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Writes out, as escapes, the lone surrogates that file names in no encoding bring into texts:
    UTF-8 has no place for them, and one would cost the whole commit."""
    return [
        {
            name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
            for name, value in each.items()
        }
        for each in values
    ]


def _signed(number: int) -> int:
    """SQLite's integers are signed 64 bits."""
    return number - (1 << 64) if number >> 63 else number
