"""One consistent version of a library, to read from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy.engine import Connection

from virtue.errors import DamagedError
from virtue.store import folder as names
from virtue.store import hits, queries, rows, scan
from virtue.store.records import (
    KINDS,
    CaptionRecord,
    Counts,
    Fault,
    FileState,
    Generation,
    Given,
    Kind,
    Ranked,
    RegionRecord,
    Root,
)


class Memory:
    """What a store keeps between snapshots, because it costs more to make than to search."""

    def __init__(self) -> None:
        self._decoded: dict[tuple[int, Kind], scan.Decoded] = {}
        self._dead: dict[tuple[int, int, Kind], np.ndarray] = {}

    def decoded(self, generation: int, kind: Kind) -> scan.Decoded:
        """Only of one generation at a time."""
        key = (generation, kind)
        if key not in self._decoded:
            self._decoded = {k: v for k, v in self._decoded.items() if k[0] == generation}
            self._decoded[key] = scan.Decoded()
        return self._decoded[key]

    def dead(self, connection: Connection, version: int, generation: int, kind: Kind) -> np.ndarray:
        key = (version, generation, kind)
        found = self._dead.get(key)
        if found is None:
            found = queries.dead_rows(connection, generation, kind)
            self._dead = {k: v for k, v in self._dead.items() if k[0] == version} | {key: found}
        return found


class Snapshot:
    """The library as it was when this snapshot was made, whatever is written meanwhile. Made by
    `Store.read`, good until that block ends; one thread at a time.

    Attributes:
        generation: the active one, which searches run on; None: nothing was ever indexed.
        version: how many commits there were.
    """

    generation: Generation | None
    version: int

    def __init__(self, connection: Connection, folder: Path, memory: Memory) -> None:
        self._connection = connection
        self._folder = folder
        self._memory = memory
        self.version = queries.version(connection)
        self.generation = queries.active(connection)
        self._rows: dict[Kind, np.ndarray] = {}
        self._broken: DamagedError | None = None
        self._map()

    def _map(self) -> None:
        """At once, since a writer may remove the files of an old generation at any time."""
        if self.generation is None:
            return
        for kind in KINDS:
            count = queries.row_count(self._connection, self.generation.id, kind)
            path = self._folder / names.row_file(kind, self.generation.id)
            try:
                self._rows[kind] = rows.mapped(path, count, self.generation.dim)
            except FileNotFoundError:
                self._broken = DamagedError(rows.gone(path))
            except DamagedError as error:
                self._broken = error

    @property
    def whole(self) -> bool:
        """Whether the row files are there, as long as they must be."""
        return self._broken is None

    def generations(self) -> list[Generation]:
        """All of them; more than one only while a library changes its model."""
        return queries.generations(self._connection)

    def roots(self) -> list[Root]:
        found = queries.fetched(self._connection, "SELECT path, options FROM roots ORDER BY path")
        return [Root(*values) for values in found]

    def counts(self) -> Counts:
        sql = (
            "SELECT (SELECT count(*) FROM photos WHERE live), "
            "count(*) FILTER (WHERE NOT missing AND photo_id IS NOT NULL), "
            "count(*) FILTER (WHERE missing), "
            "count(*) FILTER (WHERE NOT missing AND problem IS NOT NULL) FROM files"
        )
        ((photos, files, missing, problems),) = queries.fetched(self._connection, sql)
        found = {kind: self._searchable(kind) for kind in KINDS}
        return Counts(photos, files, missing, problems, **found, bytes=names.bytes_in(self._folder))

    def _searchable(self, kind: Kind) -> int:
        if self.generation is None:
            return 0
        return queries.row_count(self._connection, self.generation.id, kind) - len(self._dead(kind))

    def problems(self) -> list[tuple[bytes, str]]:
        """(path, reason) of the files that are there and cannot be read."""
        sql = "SELECT path, problem FROM files WHERE problem IS NOT NULL AND NOT missing ORDER BY path"
        return [(path, problem) for path, problem in queries.fetched(self._connection, sql)]

    def files(self, target: Generation | None = None) -> dict[bytes, FileState]:
        """Every path the catalogue knows.

        Args:
            target: the generation whose settings are told; None: the active one.
        """
        sql = (
            "SELECT path, size, mtime_ns, sidecar, hash, problem, missing, settings FROM files "
            "LEFT JOIN photos ON photos.id = files.photo_id "
            "LEFT JOIN embeddings e ON e.photo_id = files.photo_id AND e.generation_id = ?"
        )
        found = queries.fetched(self._connection, sql, (self._id(target),))
        return {
            path: FileState(size, time, sidecar, hash, problem, missing == 1, settings)
            for path, size, time, sidecar, hash, problem, missing, settings in found
        }

    def known(self, hashes: Iterable[bytes], target: Generation | None = None) -> dict[bytes, str]:
        """Which of these photos are embedded in the target generation (None: the active one), and
        with what settings. A photo may be known though no path of it is left."""
        sql = (
            "SELECT hash, settings FROM photos CROSS JOIN embeddings ON photo_id = photos.id "
            "WHERE generation_id = ? AND hash IN ({})"
        )
        found = queries.fetched_for(self._connection, sql, set(hashes), (self._id(target),))
        return {hash: settings for hash, settings in found}

    def given(self, hash: bytes) -> Given:
        """The regions and captions that a user handed over for this photo. They exist nowhere else:
        who embeds the photo again hands them on."""
        return hits.given(self._connection, hash)

    def search(self, kind: Kind, queries: np.ndarray, top: int, allowed: np.ndarray | None = None) -> Ranked:
        """The best rows of the active generation; the score of a row is the highest of its dot
        products with the queries. Exact. Rows of photos that are gone do not count.

        Args:
            queries: (k, dim) float32.
            allowed: (count of rows,) bool, True for rows that may appear; None: all.

        Raises:
            ValueError: the queries are of another dimension, or not finite; `allowed` is of another
                length than the rows.
            DamagedError: a row file is gone or too short.
        """
        if self.generation is None:
            return Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
        queries = np.atleast_2d(np.asarray(queries, np.float32))
        if queries.shape[1] != self.generation.dim or not np.isfinite(queries).all():
            raise ValueError(
                f"queries of shape {queries.shape} must be finite and of dimension {self.generation.dim}"
            )
        stored = self.vectors(kind)
        if allowed is not None and allowed.shape != (len(stored),):
            raise ValueError(f"allowed has shape {allowed.shape}, but there are {len(stored)} rows")
        kept = self._memory.decoded(self.generation.id, kind)
        return scan.best(stored, queries, top, self._dead(kind), allowed, kept)

    def vectors(self, kind: Kind) -> np.ndarray:
        """All rows of the active generation, dead ones too: (count, dim) fp16, read-only, mapped.

        Raises:
            DamagedError: a row file is gone or too short.
        """
        if self._broken is not None:
            raise self._broken
        return self._rows[kind] if self.generation else np.empty((0, 0), rows.DTYPE)

    def regions(self, rows: Sequence[int] | np.ndarray) -> list[RegionRecord]:
        """The regions of these rows, in their order; rows of photos that are gone are left out."""
        return hits.regions(self._connection, self._id(None), rows)

    def rows_of(self, photo_ids: Sequence[int]) -> np.ndarray:
        """(n,) int64 row numbers of all regions of these photos."""
        return hits.rows_of(self._connection, self._id(None), photo_ids)

    def captions(self, rows: Sequence[int] | np.ndarray) -> list[CaptionRecord]:
        """The captions of these rows, in their order; rows of photos that are gone are left out."""
        return hits.captions(self._connection, self._id(None), rows)

    def faults(self) -> list[Fault]:
        """All that is wrong with this version; reads every row of every generation."""
        from virtue.store.verify import faults

        return faults(self._connection, self._folder)

    def _dead(self, kind: Kind) -> np.ndarray:
        assert self.generation is not None
        return self._memory.dead(self._connection, self.version, self.generation.id, kind)

    def _id(self, target: Generation | None) -> int:
        chosen = target or self.generation
        return chosen.id if chosen else 0
