"""The indexes of a generation, kept and tuned by the one writer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy.engine import Connection

from virtue.store.ann import sampling, segments, tuning
from virtue.store.ann.index_files import map_sound
from virtue.store.ann.ivf import Index, OpenSegment
from virtue.store.ann.maintenance import IndexMaintenance
from virtue.store.ann.sampling import Sample
from virtue.store.catalogue import queries, schema, writes
from virtue.store.disk import translate_disk_errors
from virtue.store.records import Generation, Kind, ProgressCallback, QueryKind, TuningResult
from virtue.store.vectors import row_files
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS

Transaction = Callable[[], AbstractContextManager[Connection]]

log = logging.getLogger("virtue")


@dataclass(frozen=True, slots=True, eq=False)
class IndexManager:
    """Keeps and tunes the indexes of one generation.

    Attributes:
        look: a transaction that changes nothing.
        change: one whose block is a commit.
    """

    folder: Path
    generation: Generation
    look: Transaction
    change: Transaction

    def refresh(
        self,
        kind: Kind,
        max_scanned_floats: int = MAX_SCANNED_FLOATS,
        progress: ProgressCallback | None = None,
    ) -> bool:
        """Brings the index of this kind up to date; returns whether it was trained.

        Raises:
            StoreError: the disk is full, or fails.
        """
        with self.look() as connection:
            record = segments.find_index(connection, self.generation.id, kind)
            stored = self._rows(connection, kind)
            tombstoned = queries.tombstoned_rows(connection, self.generation.id, kind)
            next_id = writes.next_id(connection, schema.index_ranges)
        began = time.perf_counter()
        with translate_disk_errors(self.folder):
            made = IndexMaintenance(
                self.folder, kind, stored, tombstoned, record, next_id, max_scanned_floats, progress
            ).update()
        if made is None:
            return False
        with self.change() as connection:
            if made.training is not None:
                index = segments.put_index(connection, self.generation.id, kind, made.training)
            else:
                assert record is not None
                index = record.id
            segments.put_segments(connection, index, made.segments)
        done = "trained" if made.training is not None else "extended"
        seconds = time.perf_counter() - began
        log.info("%s: index of %s %s, %d rows (%.2f s)", self.folder, kind, done, len(stored), seconds)
        return made.training is not None

    def tune(
        self,
        kind: Kind,
        texts: np.ndarray | None = None,
        images: np.ndarray | None = None,
        target: float = tuning.TARGET_RECALL,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        """Tunes the index of this kind; see `Writer.tune`."""
        with self.look() as connection:
            record = segments.find_index(connection, self.generation.id, kind)
            index = self._open(record)
            if record is None or index is None:
                return []
            stored = self._rows(connection, kind)
            dead = queries.dead_rows(connection, self.generation.id, kind)
            samples: dict[QueryKind, Sample] = {
                "image": self._sample(connection, "regions", kind, images),
                "text": self._sample(connection, "captions", kind, texts),
            }
        enough = {name: sample for name, sample in samples.items() if len(sample) >= tuning.MIN_QUERIES}
        found: list[TuningResult] = []
        for name, s in enough.items():
            what = f"tuning searches of {kind} by {name}s"
            tick = partial(progress, what, len(found), len(enough)) if progress else lambda: None
            tick()
            curve = tuning.measure(index, stored, dead, s.queries, s.own, target, tick)
            found.append(TuningResult(kind, name, len(s), *curve))
        if [each.query_kind for each in found] == ["image"]:
            found.append(tuning.guess_for_texts(kind, found[0].chosen, index.lists))
        with self.change() as connection:
            for each in found:
                segments.put_search_params(connection, record.id, each.query_kind, each.chosen)
        return found

    def _open(self, record: segments.IndexRecord | None) -> Index | None:
        """The index without the files that are gone or damaged; None: none is sound."""
        sound = map_sound(self.folder, record.segments) if record else {}
        return Index(tuple(sound), [OpenSegment(content) for content in sound.values()]) if sound else None

    def _rows(self, connection: Connection, kind: Kind) -> np.ndarray:
        return row_files.map_generation(connection, self.folder, self.generation, kind)

    def _sample(self, connection: Connection, source: Kind, target: Kind, given: np.ndarray | None) -> Sample:
        """Queries for the index of `target`: those that were given, or rows of `source`."""
        count = queries.row_count(connection, self.generation.id, target)
        size = tuning.sample_size(count, self.generation.dim)
        if given is not None:
            return Sample.of_queries(given[:size], self.generation.dim)
        dead = queries.dead_rows(connection, self.generation.id, source)
        stored = self._rows(connection, source)
        return sampling.sample_rows(connection, self.generation.id, source, target, stored, dead, size)
