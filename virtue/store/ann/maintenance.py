"""Keeping an index up to date with its rows: making one, adding what is new, training anew.

All of it happens beside the index in use. What comes out takes its place in one transaction of the
writer; until then it is files that nothing names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from virtue.store.ann import ivf, training
from virtue.store.ann.faiss_runtime import faiss_threads
from virtue.store.ann.index_files import map_sound, write_index
from virtue.store.ann.segments import IndexRecord, IndexSegment, Training, uncovered_spans
from virtue.store.records import Kind, ProgressCallback
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS

MIN_TAIL_DIVISOR = 100
"""A tail of less than MAX_SCANNED_FLOATS / MIN_TAIL_DIVISOR floats is not worth a file of its own."""
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
class _SegmentDraft:
    """A range that is on the disk (`file`), or newly made (`index`)."""

    first: int
    stop: int
    encoded: int
    residual: float
    file: IndexSegment | None = None
    index: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class IndexMaintenance:
    """Keeps the index of one kind up to date with its rows.

    Attributes:
        rows: (count, dim) fp16, all of them.
        buried: sorted numbers of those that no search will ever find again.
        record: the index as it is; None: there is none.
        following: an id that no index file had.
        max_scanned_floats: see `MAX_SCANNED_FLOATS`.
    """

    folder: Path
    kind: Kind
    rows: np.ndarray
    tombstoned: np.ndarray
    record: IndexRecord | None
    following: int
    max_scanned_floats: int = MAX_SCANNED_FLOATS
    progress: ProgressCallback | None = None

    def made(self) -> IndexUpdate | None:
        """Does what is due and returns the new version; None: nothing was due.

        Raises:
            OSError: the disk is full, or fails.
        """
        if self.record is None and self.rows.size <= self.max_scanned_floats:
            return None
        if len(self._numbers(0, len(self.rows))) < MIN_TRAINING_ROWS:
            return None
        with faiss_threads():
            return self._trained() if self.record is None else self._extended(self.record)

    def _numbers(self, first: int, stop: int) -> np.ndarray:
        inside = self.tombstoned[(self.tombstoned >= first) & (self.tombstoned < stop)]
        return np.setdiff1d(np.arange(first, stop), inside, assume_unique=True)

    # -- training -----------------------------------------------------------------------------------------

    def _trained(self) -> IndexUpdate:
        numbers = self._numbers(0, len(self.rows))
        if self.progress:
            self.progress(f"training the index of {self.kind}", 0, len(numbers))
        new = training.train(self.rows, numbers)
        whole = training.encode(new.index, new.scale, self.rows, numbers, self._step())
        settings = Training(
            lists=new.lists,
            scale=new.scale,
            trained=whole.count,
            residual=new.residual,
            imbalance=training.imbalance([whole.index]),
        )
        # Its rows count as far from their centroids as rows that it was not trained on, so that what is
        # added later compares.
        piece = _SegmentDraft(0, len(self.rows), whole.count, new.residual, index=whole.index)
        return IndexUpdate(settings, self._written([piece]))

    def _step(self) -> training.Step | None:
        if self.progress is None:
            return None
        progress = self.progress
        return lambda done, total: progress(f"indexing {self.kind}", done, total)

    # -- extending ----------------------------------------------------------------------------------------

    def _extended(self, record: IndexRecord) -> IndexUpdate | None:
        """The index with the rows that it lacks, or trained anew; None: it lacks none worth the while."""
        sound = map_sound(self.folder, record.segments)
        if not sound:
            return self._trained()
        lacking = uncovered_spans(sound, len(self.rows))
        if lacking and self._is_short_tail(lacking[-1]):
            lacking.pop()
        if not lacking:
            return None
        known = record.training
        total = sum(file.encoded for file in sound) + sum(stop - first for first, stop in lacking)
        if total > MAX_GROWTH * known.trained:
            return self._trained()
        new = [self._encoded(*span, known.scale, next(iter(sound.values()))) for span in lacking]
        old = [_SegmentDraft(file.first, file.stop, file.encoded, file.residual, file=file) for file in sound]
        if _has_drifted(known, [*old, *new]) or self._is_uneven(known, list(sound.values()), new):
            return self._trained()
        pieces = self._merged(sorted([*old, *new], key=lambda piece: piece.first), sound)
        return IndexUpdate(None, self._written(pieces))

    def _is_short_tail(self, span: tuple[int, int]) -> bool:
        first, stop = span
        return (
            stop == len(self.rows)
            and (stop - first) * self.rows.shape[1] * MIN_TAIL_DIVISOR < self.max_scanned_floats
        )

    def _encoded(self, first: int, stop: int, scale: float, like: np.ndarray) -> _SegmentDraft:
        numbers = self._numbers(first, stop)
        made = training.encode(ivf.empty_copy(like), scale, self.rows, numbers, self._step())
        return _SegmentDraft(first, stop, made.count, made.residual, index=made.index)

    def _is_uneven(
        self, known: Training, contents: Sequence[np.ndarray], new: Sequence[_SegmentDraft]
    ) -> bool:
        indexes = [ivf.read_index(content) for content in contents] + [piece.index for piece in new]
        return training.imbalance(indexes) > max(MAX_IMBALANCE, MAX_IMBALANCE_GROWTH * known.imbalance)

    def _merged(
        self, pieces: list[_SegmentDraft], contents: dict[IndexSegment, np.ndarray]
    ) -> list[_SegmentDraft]:
        """Neighbours made one, the smallest first, until there are few enough."""

        def opened(piece: _SegmentDraft) -> Any:
            return piece.index if piece.file is None else ivf.read_index(contents[piece.file])

        like = next(iter(contents.values()))
        while len(pieces) > ivf.MAX_SEGMENTS:
            sums = [a.encoded + b.encoded for a, b in pairwise(pieces)]
            at = int(np.argmin(sums))
            a, b = pieces[at : at + 2]
            joined = ivf.merge(like, [opened(a), opened(b)])
            encoded = a.encoded + b.encoded
            residual = (a.residual * a.encoded + b.residual * b.encoded) / max(1, encoded)
            pieces[at : at + 2] = [_SegmentDraft(a.first, b.stop, encoded, residual, index=joined)]
        return pieces

    def _written(self, pieces: Sequence[_SegmentDraft]) -> tuple[IndexSegment, ...]:
        files: list[IndexSegment] = []
        following = self.following
        for piece in pieces:
            if piece.file is not None:
                files.append(piece.file)
                continue
            size, crc = write_index(self.folder, following, piece.index)
            files.append(
                IndexSegment(following, piece.first, piece.stop, piece.encoded, piece.residual, size, crc)
            )
            following += 1
        return tuple(files)


def _has_drifted(known: Training, pieces: Sequence[_SegmentDraft]) -> bool:
    """Whether what came after training lies too far from the centroids."""
    total = sum(piece.encoded for piece in pieces)
    added = total - known.trained
    if added < MIN_ADDED_SHARE * total:
        return False
    whole = sum(piece.residual * piece.encoded for piece in pieces)
    return (whole - known.residual * known.trained) / added > MAX_RESIDUAL_GROWTH * known.residual
