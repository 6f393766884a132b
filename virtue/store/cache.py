"""What a store keeps between snapshots, because it costs more to make than to search."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from sqlalchemy.engine import Connection

from virtue.errors import DamagedError
from virtue.store import layout as names
from virtue.store.ann import segments
from virtue.store.ann.index_files import is_sound, map_index
from virtue.store.catalogue import queries
from virtue.store.records import Generation, Kind
from virtue.store.vectors import exact

if TYPE_CHECKING:
    import torch

    from virtue.store.ann.index_search import RowSelector
    from virtue.store.ann.ivf import Index, OpenSegment
    from virtue.store.vectors.gpu_rows import DeviceRows

IndexFiles = Sequence[tuple[segments.IndexSegment, np.ndarray | None]]
"""Files with their bytes, mapped; None: gone, or of another size."""

ALLOWED = 8
"""Filters whose rows are kept, one byte a row."""
Filtered = tuple[int, int, Kind, bool, tuple[str, ...]]
"""Version, generation, kind, whether whole photos count, filters."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class GenerationView:
    """What every snapshot of a version sees of the active generation.

    Attributes:
        rows: (count, dim) fp16 of each kind, mapped.
        indexes: with their files, of the kinds that have one.
        broken: why the rows cannot be read.
    """

    version: int
    generation: Generation | None
    rows: Mapping[Kind, np.ndarray]
    indexes: Mapping[Kind, tuple[segments.IndexRecord, IndexFiles]]
    broken: DamagedError | None

    @property
    def is_complete(self) -> bool:
        """Whether all files are there, as long as they must be."""
        contents = [content for _, files in self.indexes.values() for _, content in files]
        return self.broken is None and not any(content is None for content in contents)


class StoreCache:
    """Of one store. Threads may share it.

    Args:
        device: where rows are held for exact searches; None: nowhere.

    Attributes:
        view: the one that was made last, if it was whole.
        device: as given.
    """

    def __init__(self, folder: Path, device: torch.device | None = None) -> None:
        self.view: GenerationView | None = None
        self.device = device
        self._folder = folder
        self._held: dict[tuple[int, Kind], DeviceRows] = {}
        self._loading = threading.Lock()
        self._decoded: dict[tuple[int, Kind, int], exact.DecodedRows] = {}
        self._dead: dict[tuple[int, int, Kind], np.ndarray] = {}
        self._usable: dict[tuple[int, int, Kind], RowSelector] = {}
        self._allowed: dict[Filtered, np.ndarray] = {}
        self._files: dict[int, np.ndarray] = {}
        self._parts: dict[int, OpenSegment] = {}
        self._indexes: dict[tuple[int, Kind], Index] = {}
        self._opened: dict[Kind, tuple[IndexFiles, Index | None]] = {}
        self._unsound: set[int] = set()

    def decoded(self, generation: int, kind: Kind, first: int = 0) -> exact.DecodedRows:
        """The decoded rows from `first` on; only of one generation at a time, and for each kind those
        of all rows and of the spans that indexes leave out now."""
        key = (generation, kind, first)
        if key not in self._decoded:
            keep = {k: v for k, v in self._decoded.items() if k[0] == generation}
            if first:
                keep = {k: v for k, v in keep.items() if k[1] != kind or not k[2]}
            self._decoded = keep | {key: exact.DecodedRows()}
        return self._decoded[key]

    def held(self, generation: int, kind: Kind, dim: int) -> DeviceRows | None:
        """The rows on the device, only of one generation at a time; None: rows are not held."""
        if self.device is None:
            return None
        from virtue.store.vectors.gpu_rows import DeviceRows

        with self._loading:
            key = (generation, kind)
            if key not in self._held:
                keep = {k: v for k, v in self._held.items() if k[0] == generation}
                self._held = keep | {key: DeviceRows(self.device, kind, dim)}
            return self._held[key]

    def dead(self, connection: Connection, version: int, generation: int, kind: Kind) -> np.ndarray:
        key = (version, generation, kind)
        found = self._dead.get(key)
        if found is None:
            found = queries.dead_rows(connection, generation, kind)
            self._dead = _of_version(self._dead, version) | {key: found}
        return found

    def usable(self, version: int, generation: int, kind: Kind, rows: int, dead: np.ndarray) -> RowSelector:
        """Rows that searches without a filter may find."""
        from virtue.store.ann.index_search import RowSelector

        key = (version, generation, kind)
        found = self._usable.get(key)
        if found is None:
            found = RowSelector.of(rows, dead, None)
            self._usable = _of_version(self._usable, version) | {key: found}
        return found

    def allowed(self, key: Filtered, find: Callable[[], np.ndarray]) -> np.ndarray:
        """The rows that fit filters, kept for those used last."""
        found = self._allowed.get(key)
        if found is None:
            found = find()
        others = [(k, v) for k, v in self._allowed.items() if k != key]
        self._allowed = dict([*others[1 - ALLOWED :], (key, found)])
        return found

    def index_files(self, record: segments.IndexRecord) -> IndexFiles:
        """The files of an index. A snapshot takes hold of them at once, since a writer may remove them."""
        found = []
        for file in record.segments:
            content = self._files.get(file.id)
            if content is None:
                content = map_index(self._folder, file)
                if content is not None:
                    self._files[file.id] = content
            found.append((file, content))
        return found

    def index(self, generation: int, kind: Kind, files: IndexFiles) -> Index | None:
        """The index in these files, without those that are gone or damaged, about which it warns once;
        None: all are."""
        last = self._opened.get(kind)
        if last is not None and last[0] is files:
            return last[1]
        from virtue.store.ann.ivf import Index

        with self._loading:
            sound = [(file, part) for file, content in files if (part := self._part(file, content))]
            if not sound:
                self._opened[kind] = files, None
                return None
            made = tuple(file for file, _ in sound)
            found = self._indexes.get((generation, kind))
            if found is None or found.segments != made:
                found = Index(made, [part for _, part in sound])
                kept = {key: index for key, index in self._indexes.items() if key[0] == generation}
                self._indexes = kept | {(generation, kind): found}
                self._let_go()
            self._opened[kind] = files, found
            return found

    def _part(self, file: segments.IndexSegment, content: np.ndarray | None) -> OpenSegment | None:
        from virtue.store.ann.ivf import OpenSegment

        if file.id in self._parts or file.id in self._unsound:
            return self._parts.get(file.id)
        if content is None or not is_sound(content, file):
            self._unsound.add(file.id)
            warnings.warn(
                f"the index file {names.index_file(file.id)} of the library {self._folder} is "
                f"{'gone' if content is None else 'damaged'}: searches read the rows it covers one by one "
                "until `virtue verify --repair` rebuilds it",
                stacklevel=6,
            )
            return None
        self._parts[file.id] = OpenSegment(content)
        return self._parts[file.id]

    def _let_go(self) -> None:
        """An index takes much memory."""
        used = {file.id for index in self._indexes.values() for file in index.segments}
        self._parts = {id: part for id, part in self._parts.items() if id in used}
        self._files = {id: content for id, content in self._files.items() if id in used}


def _of_version(kept: dict[tuple[int, int, Kind], T], version: int) -> dict[tuple[int, int, Kind], T]:
    return {key: value for key, value in kept.items() if key[0] == version}
