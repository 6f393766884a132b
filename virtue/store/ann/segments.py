"""What the catalogue knows of indexes: their settings, their files, and which rows these cover.

An index belongs to a generation and kind. It was trained once, and has one file for every segment: a span
of rows that was encoded with that training. Segments do not overlap. Rows in none are scanned one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection, WrongValueError
from virtue.store.catalogue.queries import MAX_ROWS, fetch
from virtue.store.records import Kind, QueryKind, SearchParams

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Span = tuple[int, int]
"""First row, and the row after the last."""

MAX_PROBES = 1_000_000
"""Lists that a search may read."""
MAX_FACTOR = 10_000
"""Candidates that a search may score for each hit: tuning takes 256 at most."""

_TRAINING = (int, int, float, int, float, float)
_SEGMENT = (int, int, int, int, float, int, int)
_TUNED = (str, int, int, float | None, float | None)


@dataclass(frozen=True, slots=True)
class Training:
    """How an index was trained.

    Attributes:
        lists: clusters of rows, of which a search reads `nprobe`.
        scale: what rows are multiplied by before they are encoded, so that centroids are integers.
        trained: rows that were encoded first.
        residual: mean distance from their centroids of rows that it was not trained on.
        imbalance: of their lists: 1 if all are as long, n if a search reads n times as much.
    """

    lists: int
    scale: float
    trained: int
    residual: float
    imbalance: float


@dataclass(frozen=True, slots=True)
class IndexSegment:
    """One file of an index, which covers the rows from `first` to `stop`.

    Attributes:
        id: names the file, and never comes back.
        encoded: rows of the span that are in the file: tombstones need not be.
        residual: their mean distance from their centroids; of the first, that of their training.
        size, crc: of the file.
    """

    id: int
    first: int
    stop: int
    encoded: int
    residual: float
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """An index as stored in the catalogue: `segments` in order of rows, and in `tuned` what tuning found."""

    id: int
    training: Training
    segments: tuple[IndexSegment, ...]
    tuned: tuple[tuple[QueryKind, SearchParams], ...]

    def search_params(self, query_kind: QueryKind) -> SearchParams:
        """Returns the search parameters for queries of this kind.

        Unmeasured, it is what held on made-up data of a million rows and on texts off the
        distribution of the pictures: these need twice the lists and four times the candidates.
        """
        measured = dict(self.tuned).get(query_kind)
        if measured is not None:
            return measured
        nprobe = max(8, self.training.lists // 128)
        return SearchParams(2 * nprobe, 32) if query_kind == "text" else SearchParams(nprobe, 8)


def find_index(connection: AnyConnection, generation: int, kind: Kind) -> IndexRecord | None:
    found = fetch(connection, hot_sql.INDEX, {"generation": generation, "kind": kind}, _TRAINING)
    if not found:
        return None
    id, *training = found[0]
    segments = fetch(connection, hot_sql.SEGMENTS, {"index": id}, _SEGMENT)
    tuned = fetch(connection, hot_sql.SEARCH_PARAMS, {"index": id}, _TUNED)
    return IndexRecord(
        id,
        Training(*training),
        tuple(_segment(*values) for values in segments),
        tuple((query_kind, _search_params(*values)) for query_kind, *values in tuned),
    )


def _segment(id: int, first: int, stop: int, *values: Any) -> IndexSegment:
    if not 0 <= first < stop <= MAX_ROWS:
        raise WrongValueError(f"an index covers the rows from {first} to {stop}")
    return IndexSegment(id, first, stop, *values)


def _search_params(nprobe: int, refine_factor: int, *measured: float | None) -> SearchParams:
    if not (1 <= nprobe <= MAX_PROBES and 1 <= refine_factor <= MAX_FACTOR):
        raise WrongValueError(f"a search reads {nprobe} lists and {refine_factor} candidates for a hit")
    return SearchParams(nprobe, refine_factor, *measured)


def all_segments(connection: AnyConnection) -> list[tuple[int, Kind, IndexSegment]]:
    """Returns (generation id, kind, segment) of every index file."""
    sql = (
        "SELECT generation_id, kind, r.id, first, stop, encoded, r.residual, size, crc "
        "FROM index_ranges r JOIN indexes ON indexes.id = index_id ORDER BY r.id"
    )
    found = fetch(connection, sql, types=(int, str, *_SEGMENT))
    return [(generation, kind, _segment(*values)) for generation, kind, *values in found]


def uncovered_spans(segments: Iterable[IndexSegment], count: int) -> list[Span]:
    """Returns the rows below `count` that no segment covers, in order."""
    found: list[Span] = []
    at = 0
    for each in sorted(segments, key=lambda r: r.first):
        if each.first > at:
            found.append((at, each.first))
        at = max(at, each.stop)
    if at < count:
        found.append((at, count))
    return found


def put_index(connection: Connection, generation: int, kind: Kind, training: Training) -> int:
    """Stores a new training in place of the old index; returns its id."""
    from sqlalchemy import insert

    from virtue.store.catalogue import schema, writes

    drop_index(connection, generation, kind)
    id = writes.next_id(connection, schema.indexes)
    values = {name: getattr(training, name) for name in Training.__slots__}
    connection.execute(insert(schema.indexes).values(id=id, generation_id=generation, kind=kind, **values))
    return id


def drop_index(connection: Connection, generation: int, kind: Kind) -> None:
    sql = "DELETE FROM indexes WHERE generation_id = ? AND kind = ?"
    connection.exec_driver_sql(sql, (generation, kind))


def put_segments(connection: Connection, index: int, segments: Sequence[IndexSegment]) -> None:
    """Stores the segments of an index, in place of the old ones."""
    from sqlalchemy import insert

    from virtue.store.catalogue import schema

    connection.exec_driver_sql("DELETE FROM index_ranges WHERE index_id = ?", (index,))
    values = [
        {name: getattr(each, name) for name in IndexSegment.__slots__} | {"index_id": index}
        for each in segments
    ]
    if values:
        connection.execute(insert(schema.index_ranges), values)


def drop_segments(connection: Connection, ids: Iterable[int]) -> None:
    values = [(id,) for id in ids]
    if values:
        connection.exec_driver_sql("DELETE FROM index_ranges WHERE id = ?", values)


def put_search_params(
    connection: Connection, index: int, query_kind: QueryKind, params: SearchParams
) -> None:
    connection.exec_driver_sql(
        "INSERT OR REPLACE INTO efforts (index_id, asked, probes, factor, recall, microseconds) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (index, query_kind, params.nprobe, params.refine_factor, params.recall, params.microseconds),
    )
