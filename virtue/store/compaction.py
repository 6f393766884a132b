"""Row files without the rows that nothing owns any more.

The live rows are copied, in order, under the id of a new generation; one transaction then gives that id
to all that the old generation had. So a reader keeps the files it opened, and a process that dies leaves
the old library or the new one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sqlalchemy.engine import Connection

from virtue.store import layout as names
from virtue.store.catalogue import queries, schema, writes
from virtue.store.catalogue.queries import fetch
from virtue.store.records import KINDS, Generation, Kind, Waste
from virtue.store.vectors import row_files

CHUNK_ROWS = 16 * row_files.BLOCK
"""Rows that are copied at once."""

LEFT_BEHIND = (schema.tombstones, schema.checksums, schema.indexes)
"""What speaks of row numbers and is not carried over; every other table with a generation is."""


def waste(connection: Connection, generations: Iterable[Generation]) -> Waste:
    found = Waste()
    for each in generations:
        sql = "SELECT count(*) FROM tombstones WHERE generation_id = ?"
        ((dead,),) = fetch(connection, sql, (each.id,), (int,))
        total = sum(queries.row_count(connection, each.id, kind) for kind in KINDS)
        size = dead * each.dim * row_files.DTYPE.itemsize
        found = Waste(found.dead + dead, found.total + total, found.bytes + size)
    return found


def compact(connection: Connection, folder: Path, generation: Generation) -> int:
    """Copies the live rows of a generation into new files; returns its new id.

    Raises:
        DamagedError: rows are not what was written, or not where the catalogue says: copied, they would
            pass for sound ones.
        OSError: the disk is full, or fails.
    """
    new = writes.next_id(connection, schema.generations)
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    connection.exec_driver_sql("UPDATE generations SET id = ? WHERE id = ?", (new, generation.id))
    connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = 'generations'", (new,))
    try:
        for kind in KINDS:
            _compact_rows(connection, folder, generation, kind, new)
    except BaseException:
        for kind in KINDS:
            (folder / names.row_file(kind, new)).unlink(missing_ok=True)
        raise
    for table in schema.metadata.sorted_tables:
        if table in LEFT_BEHIND:
            drop = f"DELETE FROM {table.name} WHERE generation_id = ?"
            connection.exec_driver_sql(drop, (generation.id,))
        elif "generation_id" in table.c:
            move = f"UPDATE {table.name} SET generation_id = ? WHERE generation_id = ?"
            connection.exec_driver_sql(move, (new, generation.id))
    return new


def _compact_rows(connection: Connection, folder: Path, generation: Generation, kind: Kind, new: int) -> None:
    live = _live_rows(connection, generation, kind)
    sums = _copy_rows(connection, folder, generation, kind, live, folder / names.row_file(kind, new))
    writes.put_checksums(connection, new, kind, sums)
    connection.exec_driver_sql(
        "UPDATE row_files SET count = ? WHERE generation_id = ? AND kind = ?",
        (len(live), generation.id, kind),
    )
    # A region's new row is its rank among the old ones.
    connection.exec_driver_sql("CREATE TEMP TABLE places (row INTEGER PRIMARY KEY, place INTEGER)")
    connection.exec_driver_sql(
        "INSERT INTO places SELECT row, row_number() OVER (ORDER BY row) - 1 "
        f"FROM {kind} WHERE generation_id = ? AND row IS NOT NULL",
        (generation.id,),
    )
    # With the generation, or rows would for a moment be taken twice.
    connection.exec_driver_sql(
        f"UPDATE {kind} SET generation_id = ?, "
        f"row = (SELECT place FROM places WHERE places.row = {kind}.row) WHERE generation_id = ?",
        (new, generation.id),
    )
    connection.exec_driver_sql("DROP TABLE places")


def _live_rows(connection: Connection, generation: Generation, kind: Kind) -> np.ndarray:
    """Returns the live rows, (n,) int64, ascending."""
    owned = queries.owned_rows(connection, generation.id, kind)
    tombstoned = queries.tombstoned_rows(connection, generation.id, kind)
    count = queries.row_count(connection, generation.id, kind)
    if not np.array_equal(np.sort(np.concatenate([owned, tombstoned])), np.arange(count)):
        raise row_files.damaged(f"the rows of {kind} are not what the catalogue says")
    return owned


def _copy_rows(
    connection: Connection, folder: Path, generation: Generation, kind: Kind, live: np.ndarray, target: Path
) -> dict[int, int]:
    """Writes the live rows to `target`; returns the checksum of each block there."""
    stored = row_files.map_generation(connection, folder, generation, kind)
    noted = queries.checksums(connection, generation.id, kind)
    sums: dict[int, int] = {}
    done = 0
    for first in range(0, len(stored), CHUNK_ROWS):
        part = np.array(stored[first : first + CHUNK_ROWS])
        _check(part, first, noted, folder / names.row_file(kind, generation.id))
        kept = part[live[slice(*np.searchsorted(live, (first, first + CHUNK_ROWS)))] - first]
        if len(kept):
            sums |= row_files.append(target, done, sums.get(done // row_files.BLOCK, 0), kept)
            done += len(kept)
    return sums


def _check(part: np.ndarray, first: int, noted: dict[int, int], path: Path) -> None:
    for start in range(0, len(part), row_files.BLOCK):
        block = part[start : start + row_files.BLOCK]
        if zlib.crc32(block.data.cast("B")) != noted.get((first + start) // row_files.BLOCK):
            raise row_files.damaged(f"{path} is not what was written, from row {first + start} on")
