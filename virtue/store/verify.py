"""Whether a library is sound, and the way back to one that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from sqlalchemy.engine import Connection

from virtue.errors import DamagedError
from virtue.store import layout as names
from virtue.store.ann import segments
from virtue.store.ann.index_files import is_sound, map_index
from virtue.store.catalogue import queries, token_tables, unreadable, writes
from virtue.store.catalogue.database import AnyConnection
from virtue.store.catalogue.form import TOKEN_TABLES
from virtue.store.catalogue.queries import fetch
from virtue.store.records import KINDS, Fault, FaultKind, Generation, Kind, TextChecks
from virtue.store.vectors import row_files


def find_faults(connection: AnyConnection, folder: Path, checks: TextChecks | None) -> list[Fault]:
    """Finds all that is wrong. Reads every row."""
    found = list(_find_catalogue_faults(connection))
    found += unreadable.find_value_faults(connection, checks)
    if not all(fault.repairable for fault in found):
        return found  # what is not of its type says nothing about rows
    for generation in queries.generations(connection):
        found += find_row_faults(connection, folder, generation)
    found += [fault for _, fault in _find_index_faults(connection, folder)]
    if not any(fault.kind == "value" for fault in found):  # else there are no sound texts to compare with
        for field in token_tables.find_damage(connection):
            found.append(Fault("tokens", f"the tokens of {field}s are not those of the library"))
    return found


def find_row_faults(connection: AnyConnection, folder: Path, generation: Generation) -> list[Fault]:
    """Finds what is wrong with the rows of a generation. Reads them all."""
    found: list[Fault] = []
    for kind in KINDS:
        count = queries.row_count(connection, generation.id, kind)
        owned = queries.owned_rows(connection, generation.id, kind)
        known = np.union1d(owned, queries.tombstoned_rows(connection, generation.id, kind))
        # No further: a file of holes may be as long as a stranger likes.
        last = int(known[known < count].max(initial=-1)) // row_files.BLOCK
        read = min(count, (last + 1) * row_files.BLOCK)
        found += _find_file_faults(connection, folder, generation, kind, read)
        found += _find_count_faults(connection, generation, kind, count)
    return found


def _find_catalogue_faults(connection: AnyConnection) -> Iterator[Fault]:
    for (answer,) in fetch(connection, "PRAGMA integrity_check(10)"):
        if answer != "ok" and not any(table in answer for table in TOKEN_TABLES):
            yield Fault("catalogue", f"{names.CATALOGUE}: {answer}", repairable=False)
    for table, row, parent, _ in fetch(connection, "PRAGMA foreign_key_check"):
        yield Fault(
            "catalogue", f"{names.CATALOGUE}: row {row} of {table} lacks its {parent}", repairable=False
        )
    sql = (
        "SELECT hash FROM photos WHERE live <> "
        "EXISTS (SELECT 1 FROM files WHERE photo_id = photos.id AND NOT missing)"
    )
    wrong = len(fetch(connection, sql))
    if wrong:
        yield Fault("count", f"{wrong} photos are marked as present though they are gone, or the reverse")


def _find_file_faults(
    connection: AnyConnection, folder: Path, generation: Generation, kind: Kind, count: int
) -> Iterator[Fault]:
    """Finds blocks of rows that fail their checksum."""
    path = folder / names.row_file(kind, generation.id)
    if count == 0:
        return
    try:
        blocks = list(row_files.read_checksums(path, count, generation.dim))
    except FileNotFoundError:
        yield _lost_rows(connection, "rows", f"{path.name} is gone", generation, kind, range(count))
        return
    noted = queries.checksums(connection, generation.id, kind)
    for block, (held, crc) in enumerate(blocks):
        numbers = range(block * row_files.BLOCK, min((block + 1) * row_files.BLOCK, count))
        if held < len(numbers):
            what = f"{path.name} ends too early: rows {numbers.start + held} to {count - 1} are gone"
            yield _lost_rows(connection, "rows", what, generation, kind, range(numbers.start, count))
            return
        if crc != noted.get(block):
            what = f"{path.name}: rows {numbers.start} to {numbers.stop - 1} are not what was written"
            yield _lost_rows(connection, "checksum", what, generation, kind, numbers)


def _find_count_faults(
    connection: AnyConnection, generation: Generation, kind: Kind, count: int
) -> Iterator[Fault]:
    """Finds rows that do not belong to exactly one region, caption or tombstone."""
    owned = queries.owned_rows(connection, generation.id, kind)
    tombstoned = queries.tombstoned_rows(connection, generation.id, kind)
    outside = owned[(owned < 0) | (owned >= count)]
    if len(outside):
        what = f"{len(outside)} {kind} have rows that were never written"
        yield _lost_rows(connection, "count", what, generation, kind, outside.tolist())
    both = np.intersect1d(owned, tombstoned)
    if len(both):
        what = f"{len(both)} {kind} have rows that are dropped"
        yield _lost_rows(connection, "count", what, generation, kind, both.tolist())
    known = np.union1d(owned, tombstoned)
    unowned = count - np.count_nonzero((known >= 0) & (known < count))
    if unowned:
        yield Fault("orphan", f"{unowned} rows of {kind} belong to no photo")
    if ((tombstoned < 0) | (tombstoned >= count)).any():
        yield Fault("orphan", f"tombstones of {kind} are of rows that were never written")


def _find_index_faults(connection: AnyConnection, folder: Path) -> Iterator[tuple[int, Fault]]:
    """Finds index files that fail their checksum, by their ids. No photo is lost by them."""
    for _, kind, file in segments.all_segments(connection):
        content = map_index(folder, file)
        if content is None or not is_sound(content, file):
            what = "is gone, or of another length" if content is None else "is not what was written"
            yield file.id, Fault("index", f"{names.index_file(file.id)}, of the index of {kind}, {what}")


def _lost_rows(
    connection: AnyConnection,
    fault: FaultKind,
    what: str,
    generation: Generation,
    kind: Kind,
    lost: Iterable[int],
) -> Fault:
    """Makes the fault that these rows are lost, with the photos they belong to."""
    sql = (
        f"SELECT DISTINCT hash, CAST(path AS BLOB) FROM {kind} JOIN photos ON photos.id = {kind}.photo_id "
        "LEFT JOIN files ON files.photo_id = photos.id WHERE generation_id = ? AND row IN ({})"
    )
    found = list(queries.fetch_for(connection, sql, lost, (generation.id,)))
    hashes = tuple(sorted({hash for hash, _ in found}))
    paths = tuple(sorted({path for _, path in found if path is not None}))
    return Fault(fault, what, hashes, paths)


def repair(connection: Connection, folder: Path, checks: TextChecks | None) -> list[Fault]:
    """Repairs all faults except those of the catalogue itself; returns what they were.

    Raises:
        DamagedError: the catalogue itself is damaged.
    """
    found = find_faults(connection, folder, checks)
    hopeless = [fault for fault in found if not fault.repairable]
    if hopeless:
        raise DamagedError(
            f"the catalogue of the library {folder} is damaged ({hopeless[0].what}): put "
            f"{names.CATALOGUE} back from a backup, or remove the folder and index again"
        )
    if not found:
        return []
    if any(fault.kind == "tokens" for fault in found):
        token_tables.rebuild(connection)  # what follows writes to them
    segments.drop_segments(connection, [id for id, _ in _find_index_faults(connection, folder)])
    lost = {hash for fault in found for hash in fault.hashes}
    writes.drop_vectors_keep_annotations(connection, writes.photo_ids(connection, lost).values())
    unreadable.repair_values(connection, checks)
    for generation, kind, count in queries.row_counts(connection):
        _settle_tombstones(connection, generation, kind, count)
        _settle_file(connection, folder, generation, kind, count)
    writes.settle_live(connection)
    token_tables.rebuild(connection)
    return found


def _settle_tombstones(connection: Connection, generation: Generation, kind: Kind, count: int) -> None:
    """Sets a tombstone for every row below the count that has no owner, and for no other."""
    key = (generation.id, kind)
    connection.exec_driver_sql("DELETE FROM tombstones WHERE generation_id = ? AND kind = ?", key)
    owned = queries.owned_rows(connection, generation.id, kind)
    free = [(*key, row) for row in np.setdiff1d(np.arange(count), owned).tolist()]
    if free:
        connection.exec_driver_sql("INSERT INTO tombstones (generation_id, kind, row) VALUES (?, ?, ?)", free)


def _settle_file(
    connection: Connection, folder: Path, generation: Generation, kind: Kind, count: int
) -> None:
    """Gives a row file the length that the count requires, and new checksums. Rows that were lost have no
    owner any more."""
    if count == 0:
        return
    path = folder / names.row_file(kind, generation.id)
    row_files.pad(path, count, generation.dim)
    sums = enumerate(row_files.read_checksums(path, count, generation.dim))
    values = [(generation.id, kind, block, crc) for block, (_, crc) in sums]
    connection.exec_driver_sql(
        "INSERT OR REPLACE INTO checksums (generation_id, kind, block, crc) VALUES (?, ?, ?, ?)", values
    )
