"""Index segments, mapped and opened: what searches of a generation's indexes share."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virtue.paths import printable
from virtue.store import layout as names
from virtue.store.ann.index_files import is_sound, map_index
from virtue.store.ann.segments import IndexRecord, IndexSegment

if TYPE_CHECKING:
    from virtue.store.ann.ivf import Index, OpenSegment

SegmentFiles = Sequence[tuple[IndexSegment, np.ndarray | None]]
"""Segments with the bytes of their files, mapped; None: gone, or of another size."""


class SegmentCache:
    """Keeps the files of segments mapped, and segments opened, as long as an index uses them: opening takes
    longer than searching, and the memory of its codes. Threads may share it."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._folder = folder
        self._dim = dim
        self._turn = threading.Lock()
        self._files: dict[int, np.ndarray] = {}
        self._opened: dict[int, OpenSegment] = {}
        self._unsound: set[int] = set()

    def map(self, record: IndexRecord) -> SegmentFiles:
        """Opens the files of an index. A snapshot does so at once, since a writer may remove them."""
        return [(segment, self._map(segment)) for segment in record.segments]

    def _map(self, segment: IndexSegment) -> np.ndarray | None:
        content = self._files.get(segment.id)
        if content is None:
            content = map_index(self._folder, segment)
            if content is not None:
                self._files[segment.id] = content
        return content

    def open(self, files: SegmentFiles) -> Index | None:
        """Returns the index in these files. It warns once about those that are gone or damaged; None: all
        are."""
        from virtue.store.ann.ivf import Index

        with self._turn:
            sound = [(segment, part) for segment, content in files if (part := self._open(segment, content))]
        return Index([segment for segment, _ in sound], [part for _, part in sound]) if sound else None

    def _open(self, segment: IndexSegment, content: np.ndarray | None) -> OpenSegment | None:
        from virtue.store.ann.ivf import OpenSegment

        if segment.id in self._opened or segment.id in self._unsound:
            return self._opened.get(segment.id)
        opened = OpenSegment(content) if content is not None and is_sound(content, segment) else None
        if opened is None or opened.dim != self._dim:
            self._unsound.add(segment.id)
            warnings.warn(
                f"the index file {names.index_file(segment.id)} of the library "
                f"{printable(os.fspath(self._folder))} is "
                f"{'gone' if content is None else 'damaged'}: searches read the rows it covers one by one "
                "until `virtue verify --repair` rebuilds it",
                stacklevel=7,
            )
            return None
        self._opened[segment.id] = opened
        return opened

    def keep_only(self, ids: Collection[int]) -> None:
        """Drops what no index uses any more."""
        with self._turn:
            self._opened = {id: part for id, part in self._opened.items() if id in ids}
            self._files = {id: content for id, content in self._files.items() if id in ids}
