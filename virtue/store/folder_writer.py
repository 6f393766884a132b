"""The one writer of a library in a folder."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.engine import Connection

from virtue.store import layout as names
from virtue.store.ann import segments
from virtue.store.catalogue import database, queries, schema, writes
from virtue.store.catalogue.database import translate_errors
from virtue.store.disk import translate_disk_errors
from virtue.store.overwritten import LibraryStamp
from virtue.store.records import (
    KINDS,
    Fault,
    Kind,
    TextChecks,
    TuningResult,
    Waste,
)
from virtue.store.vectors import row_files
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS
from virtue.store.writer import Writer

if TYPE_CHECKING:
    from virtue.store.calibration import MakeQueries
    from virtue.store.records import ProgressCallback

log = logging.getLogger("virtue")


class FolderWriter(Writer):
    """Appends rows to files, and commits them by a transaction of the catalogue."""

    def __init__(self, folder: Path, engine: Engine, identity: tuple[int, int]) -> None:
        self._folder, self._name = folder, str(folder)
        self._identity = identity
        self._engine = engine
        self._turn = threading.Lock()
        self._stamp: LibraryStamp | None = None
        with self._transaction() as connection:
            self.target = queries.active(connection)
        self._remove_leftovers()

    def _append(self, connection: Connection, kind: Kind, vectors: np.ndarray) -> int:
        target = self._target().id
        count = queries.row_count(connection, target, kind)
        if not len(vectors):
            return count
        key = {"generation_id": target, "kind": kind}
        last = "SELECT crc FROM checksums WHERE generation_id = ? AND kind = ? AND block = ?"
        crc = connection.exec_driver_sql(last, (target, kind, count // row_files.BLOCK)).scalar() or 0
        path = self._folder / names.row_file(kind, target)
        sums = row_files.append(path, count, crc, vectors, self._require_same)
        if self._stamp:
            self._stamp = self._stamp.with_rows(path)
        writes.put_checksums(connection, target, kind, sums)
        connection.execute(schema.row_files.update().filter_by(**key).values(count=count + len(vectors)))
        return count

    def repair(self, checks: TextChecks | None = None) -> list[Fault]:
        from virtue.store.verify import repair

        with self._commit() as connection:
            found = repair(connection, self._folder, checks)
        self._remove_leftovers()
        if any(fault.kind == "index" for fault in found):
            self.refresh_indexes()
        return found

    def refresh_indexes(
        self,
        *,
        max_scanned_floats: int = MAX_SCANNED_FLOATS,
        texts: Callable[[], np.ndarray] | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        kinds = self._indexed_kinds(max_scanned_floats)
        if not kinds:
            return []
        from virtue.store.ann.manager import IndexManager

        indexes = IndexManager(self._folder, self._target(), self._transaction, self._commit)
        trained = [kind for kind in kinds if indexes.refresh(kind, max_scanned_floats, progress)]
        self._remove_leftovers()
        vectors = texts() if trained and texts is not None else None
        return [tuning for kind in trained for tuning in indexes.tune(kind, vectors, progress=progress)]

    def tune(
        self,
        kind: Kind = "regions",
        *,
        texts: np.ndarray | None = None,
        images: np.ndarray | None = None,
        target: float = 0.95,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        if kind not in self._indexed_kinds():
            return []
        from virtue.store.ann.manager import IndexManager

        indexes = IndexManager(self._folder, self._target(), self._transaction, self._commit)
        return indexes.tune(kind, texts, images, target, progress)

    def refresh_calibration(self, make_queries: MakeQueries) -> bool:
        from virtue.store import calibration

        if self.target is None:
            return False
        target = self.target
        with self._transaction() as connection:
            finds = calibration.finds_due(connection, target.id)
            if not finds:
                return False
            stored = {
                kind: row_files.map_generation(connection, self._folder, target, kind) for kind in KINDS
            }
            found = calibration.measure(connection, target.id, finds, stored, make_queries)
        with self._commit() as connection:
            calibration.save(connection, target.id, found)
        return True

    def _indexed_kinds(self, max_scanned_floats: int = MAX_SCANNED_FLOATS) -> list[Kind]:
        """Returns the kinds that have an index, or should have one."""
        if self.target is None:
            return []
        target = self.target
        with self._transaction() as connection:
            return [
                kind
                for kind in KINDS
                if queries.row_count(connection, target.id, kind) * target.dim > max_scanned_floats
                or segments.find_index(connection, target.id, kind) is not None
            ]

    def waste(self) -> Waste:
        from virtue.store.compaction import waste

        with self._transaction() as connection:
            return waste(connection, queries.generations(connection))

    def compact(self) -> Waste:
        from virtue.store.compaction import compact, waste

        with self._transaction() as connection:
            generations = queries.generations(connection)
            found = waste(connection, generations)
            wasteful = [each for each in generations if waste(connection, [each]).dead]
        for generation in wasteful:
            with self._commit() as connection:
                id = compact(connection, self._folder, generation)
            if self.target is not None and self.target.id == generation.id:
                self.target = replace(generation, id=id)
            self._remove_leftovers()
        if wasteful:
            self._require_same()
            # The copy that a migration made names rows that are gone now, and what was forgotten since.
            (self._folder / names.BACKUP).unlink(missing_ok=True)
        self._require_same()
        freed = database.vacuum(self._folder)
        self._stamp = LibraryStamp.take(self._folder)
        return replace(found, bytes=found.bytes + freed)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translate_disk_errors(self._folder), self._turn, translate_errors(self._folder):
            self._require_same()
            try:
                with self._engine.begin() as connection:
                    yield connection
            finally:
                # Also after an error: SQLite may have copied pages of its log.
                self._stamp = LibraryStamp.take(self._folder)

    def _require_same(self) -> None:
        """Raises StoreError if another library lies in the folder now: files there are not ours."""
        names.require_same(self._folder, self._identity)
        if self._stamp:
            self._stamp.require_same(self._folder)

    def _remove_leftovers(self) -> None:
        """Cuts off what unfinished writes left behind the rows, and removes row files that belong
        to no generation and index files that belong to no index."""
        with self._transaction() as connection:
            counted = queries.row_counts(connection)
            indexed = [file.id for _, _, file in segments.all_segments(connection)]
        kept = {self._folder / names.index_file(id) for id in indexed}
        self._require_same()
        for generation, kind, count in counted:
            path = self._folder / names.row_file(kind, generation.id)
            kept.add(path)
            # Windows neither cuts nor removes a file that a reader has mapped; then another writer
            # will, and appending does not depend on it.
            with suppress(PermissionError):
                row_files.truncate(path, count, generation.dim)
        for path in [*names.row_files_in(self._folder), *names.index_files_in(self._folder)]:
            if path not in kept:
                with suppress(PermissionError):
                    path.unlink(missing_ok=True)
        self._stamp = LibraryStamp.take(self._folder)
