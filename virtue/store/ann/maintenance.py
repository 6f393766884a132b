"""Keeping an index up to date with its rows: making one, adding what is new, training anew.

All of it happens beside the index in use. What comes out takes its place in one transaction of the
writer; until then it is files that nothing names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from virtue.store.ann import ivf, training
from virtue.store.ann.backend import choose_backend
from virtue.store.ann.faiss_runtime import faiss_threads
from virtue.store.ann.index_files import map_sound, write_index
from virtue.store.ann.segments import IndexRecord, IndexSegment, Training, uncovered_spans
from virtue.store.records import Kind, ProgressCallback
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS

TAIL_SHARE = 0.01
"""Rows at the end that are less than this share of `MAX_SCANNED_FLOATS` are not worth a file of their own."""
MIN_TRAINING_ROWS = 256
"""Rows below which there is nothing to cluster."""
MAX_GROWTH = 4
"""An index is trained anew once it holds so many times the rows that it was trained on,"""
MAX_IMBALANCE, MAX_IMBALANCE_GROWTH = 2.0, 1.5
"""once its lists are so uneven, and so many times more than after training,"""
MAX_RESIDUAL_GROWTH, MIN_ADDED_SHARE = 1.15, 0.1
"""or once the rows added since, if they are this part of all, lie so many times as far from their
centroids: it was trained for other pictures."""


@dataclass(frozen=True, slots=True)
class IndexUpdate:
    """A new version of an index, to be stored. `training` is None if it did not change."""

    training: Training | None
    segments: tuple[IndexSegment, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _OldSegment:
    """A segment that is on the disk, sound, with its bytes."""

    segment: IndexSegment
    content: np.ndarray

    @property
    def index(self) -> Any:
        return ivf.read_index(self.content)


@dataclass(frozen=True, slots=True, eq=False)
class _NewSegment:
    """One that is to be written. `segment` has no size and checksum yet."""

    segment: IndexSegment
    index: Any


_Segment = _OldSegment | _NewSegment


@dataclass(frozen=True, slots=True, eq=False)
class IndexMaintenance:
    """Keeps the index of one kind up to date with its rows.

    Attributes:
        rows: (count, dim) fp16, all of them.
        tombstoned: sorted numbers of those that no search will ever find again.
        record: the index as it is; None: there is none.
        next_id: an id that no index file had.
        max_scanned_floats: see `MAX_SCANNED_FLOATS`.
    """

    folder: Path
    kind: Kind
    rows: np.ndarray
    tombstoned: np.ndarray
    record: IndexRecord | None
    next_id: int
    max_scanned_floats: int = MAX_SCANNED_FLOATS
    progress: ProgressCallback | None = None

    def update(self) -> IndexUpdate | None:
        """Does what is due and returns the new version; None: nothing was due.

        Raises:
            OSError: the disk is full, or fails.
        """
        if self.record is None and self.rows.size <= self.max_scanned_floats:
            return None
        if len(self._living(0, len(self.rows))) < MIN_TRAINING_ROWS:
            return None
        with faiss_threads():
            return self._train() if self.record is None else self._extend(self.record)

    def _living(self, first: int, stop: int) -> np.ndarray:
        """The numbers of the rows from `first` to `stop` that are not tombstoned."""
        inside = self.tombstoned[(self.tombstoned >= first) & (self.tombstoned < stop)]
        return np.setdiff1d(np.arange(first, stop), inside, assume_unique=True)

    # -- training -----------------------------------------------------------------------------------------

    def _train(self) -> IndexUpdate:
        numbers = self._living(0, len(self.rows))
        if self.progress:
            self.progress(f"training the index of {self.kind}", 0, len(numbers))
        new = training.train(choose_backend(len(numbers) * self.rows.shape[1]), self.rows, numbers)
        encoded = self._encode(new.index, new.scale, numbers)
        settings = Training(
            lists=new.lists,
            scale=new.scale,
            trained=encoded.count,
            residual=new.residual,
            imbalance=training.imbalance([encoded.index]),
        )
        # Its rows count as far from their centroids as rows that it was not trained on, so that what is
        # added later compares.
        segment = _new_segment(0, len(self.rows), encoded.count, new.residual, encoded.index)
        return IndexUpdate(settings, self._write([segment]))

    def _encode(self, index: Any, scale: float, numbers: np.ndarray) -> training.Encoded:
        def report(done: int, total: int) -> None:
            if self.progress:
                self.progress(f"indexing {self.kind}", done, total)

        backend = choose_backend(len(numbers) * self.rows.shape[1])
        return training.encode(backend, index, scale, self.rows, numbers, report)

    # -- extending ----------------------------------------------------------------------------------------

    def _extend(self, record: IndexRecord) -> IndexUpdate | None:
        """Adds the missing rows to the index, or trains it again; None: too few are missing."""
        old = [_OldSegment(*each) for each in map_sound(self.folder, record.segments).items()]
        if not old:
            return self._train()
        lacking = uncovered_spans((each.segment for each in old), len(self.rows))
        if lacking and self._is_short_tail(*lacking[-1]):
            lacking.pop()
        if not lacking:
            return None
        total = sum(each.segment.encoded for each in old) + sum(stop - first for first, stop in lacking)
        if total > MAX_GROWTH * record.training.trained:
            return self._train()
        new = [self._encode_span(*span, record.training.scale, old[0].content) for span in lacking]
        segments: list[_Segment] = [*old, *new]
        segments.sort(key=lambda each: each.segment.first)
        if _has_drifted(record.training, segments) or _is_uneven(record.training, segments):
            return self._train()
        return IndexUpdate(None, self._write(_merge(segments, old[0].content)))

    def _is_short_tail(self, first: int, stop: int) -> bool:
        floats = (stop - first) * self.rows.shape[1]
        return stop == len(self.rows) and floats < TAIL_SHARE * self.max_scanned_floats

    def _encode_span(self, first: int, stop: int, scale: float, like: np.ndarray) -> _NewSegment:
        encoded = self._encode(ivf.empty_copy(like), scale, self._living(first, stop))
        return _new_segment(first, stop, encoded.count, encoded.residual, encoded.index)

    def _write(self, segments: Iterable[_Segment]) -> tuple[IndexSegment, ...]:
        written: list[IndexSegment] = []
        id = self.next_id
        for each in segments:
            if isinstance(each, _NewSegment):
                size, crc = write_index(self.folder, id, each.index)
                written.append(replace(each.segment, id=id, size=size, crc=crc))
                id += 1
            else:
                written.append(each.segment)
        return tuple(written)


def _new_segment(first: int, stop: int, encoded: int, residual: float, index: Any) -> _NewSegment:
    return _NewSegment(IndexSegment(0, first, stop, encoded, residual, size=0, crc=0), index)


def _is_uneven(known: Training, segments: Sequence[_Segment]) -> bool:
    """Whether searches read much more than they would in lists of equal length."""
    limit = max(MAX_IMBALANCE, MAX_IMBALANCE_GROWTH * known.imbalance)
    return training.imbalance([each.index for each in segments]) > limit


def _has_drifted(known: Training, segments: Sequence[_Segment]) -> bool:
    """Returns whether rows added after the training lie too far from the centroids."""
    total = sum(each.segment.encoded for each in segments)
    added = total - known.trained
    if added < MIN_ADDED_SHARE * total:
        return False
    distances = sum(each.segment.residual * each.segment.encoded for each in segments)
    return (distances - known.residual * known.trained) / added > MAX_RESIDUAL_GROWTH * known.residual


def _merge(segments: list[_Segment], like: np.ndarray) -> list[_Segment]:
    """Merges neighbouring segments, the smallest first, until there are few enough."""
    while len(segments) > ivf.MAX_SEGMENTS:
        sums = [a.segment.encoded + b.segment.encoded for a, b in pairwise(segments)]
        at = int(np.argmin(sums))
        a, b = (each.segment for each in segments[at : at + 2])
        index = ivf.merge(like, [each.index for each in segments[at : at + 2]])
        encoded = a.encoded + b.encoded
        residual = (a.residual * a.encoded + b.residual * b.encoded) / max(1, encoded)
        segments[at : at + 2] = [_new_segment(a.first, b.stop, encoded, residual, index)]
    return segments
