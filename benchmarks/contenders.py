"""Ways to find the nearest rows, all behind one face."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from virtue.cpu import usable_cores
from virtue.store import open_store
from virtue.store.ann import index_search
from virtue.store.ann.faiss_runtime import faiss, faiss_threads
from virtue.store.ann.training import lists_for
from virtue.store.ann.tuning import true_best
from virtue.store.vectors.exact import decode

Kind = Literal["image", "text"]
TARGET, TOP = 0.95, 10
CHUNK = 65_536
TUNED_WITH = 200
"""Queries; virtue takes more, but tries no setting one query at a time."""
SEARCHES = 100
"""Before a contender is weighed."""


@dataclass(frozen=True, slots=True)
class Data:
    """`rows` (n, dim) fp16, mapped; `tuning`: (m, dim) float32 queries of each kind."""

    folder: Path
    rows: np.ndarray
    tuning: dict[Kind, np.ndarray]

    def chunks(self) -> Iterator[np.ndarray]:
        for first in range(0, len(self.rows), CHUNK):
            yield decode(self.rows[first : first + CHUNK])


class Contender(ABC):
    """Attributes:
    efforts: the setting for each kind of query.
    timed: queries to time it with.
    """

    name: str
    timed = 100

    def __init__(self, data: Data) -> None:
        self.efforts: dict[Kind, Any] = {}
        self.data = data
        self.build_seconds = 0.0
        began = time.monotonic()
        self.build()
        self.build_seconds = self.build_seconds or time.monotonic() - began
        self.tune()

    @abstractmethod
    def build(self) -> None: ...

    @abstractmethod
    def search(self, query: np.ndarray, kind: Kind) -> np.ndarray:
        """The ten best rows for a query (1, dim)."""

    @abstractmethod
    def settings(self) -> Sequence[Any]:
        """The settings to try."""

    def disk_bytes(self) -> int:
        return (self.data.folder / self.name).stat().st_size

    def tune(self) -> None:
        """For each kind of query, of the settings that reach the target the quickest."""
        none = np.empty(0, np.int64)
        for kind, every in self.data.tuning.items():
            queries = every[:TUNED_WITH]
            truth = true_best(self.data.rows, queries, none, [none] * len(queries))
            able: list[tuple[bool, float, int, Any]] = []
            for setting in self.settings():
                self.efforts[kind] = setting
                began = time.thread_time()
                found = [self.search(queries[n : n + 1], kind) for n in range(len(queries))]
                took = time.thread_time() - began
                recall = np.mean([len(set(a) & set(b)) / TOP for a, b in zip(found, truth, strict=True)])
                able.append(
                    (recall < TARGET, took if recall >= TARGET else -float(recall), len(able), setting)
                )
            self.efforts[kind] = min(able)[-1]


class Virtue(Contender):
    name = "virtue"

    def build(self) -> None:
        began = time.monotonic()

        def texts() -> np.ndarray:  # asked for between training and tuning
            self.build_seconds = time.monotonic() - began
            return self.data.tuning["text"]

        self._open = ExitStack()
        store = self._open.enter_context(open_store(self.data.folder / "library"))
        with store.write("benchmark") as writer:
            writer.refresh_indexes(max_scanned_floats=0, texts=texts)
        self.tune_seconds = time.monotonic() - began - self.build_seconds
        self._snapshot = self._open.enter_context(store.read())

    def settings(self) -> Sequence[Any]:
        return ()

    def tune(self) -> None:
        params = self._snapshot.search_params("regions")
        assert params is not None
        self.efforts = {kind: [p.nprobe, p.refine_factor] for kind, p in params.items()}

    def search(self, query: np.ndarray, kind: Kind) -> np.ndarray:
        return self._snapshot.search("regions", query, TOP, query_kind=kind).rows

    def disk_bytes(self) -> int:
        library = self.data.folder / "library"
        files = [*library.glob("index-*"), *library.glob("regions-*")]
        return sum(path.stat().st_size for path in files)


class Flat(Contender):
    """All rows in single precision, one after the other."""

    name = "flat"
    timed = 10

    def build(self) -> None:
        index = faiss.IndexFlatIP(self.data.rows.shape[1])
        for chunk in self.data.chunks():
            index.add(chunk)
        self._index = index
        faiss.write_index(index, str(self.data.folder / self.name))

    def settings(self) -> Sequence[Any]:
        return ()

    def tune(self) -> None:
        self.efforts = {"image": [], "text": []}

    def search(self, query: np.ndarray, kind: Kind) -> np.ndarray:
        with faiss_threads(1):
            found: np.ndarray = self._index.search(query, TOP)[1][0]
        return found


class Classic(Contender):
    """FAISS's IVF with one byte for eight columns, scored exactly on the same rows."""

    name = "classic"

    def build(self) -> None:
        count, dim = self.data.rows.shape
        lists = lists_for(count)
        index = faiss.index_factory(dim, f"IVF{lists},PQ{dim // 8}x8", faiss.METRIC_INNER_PRODUCT)
        some = np.sort(np.random.default_rng(0).choice(count, min(count, 40 * lists), replace=False))
        with faiss_threads(1):  # many small tasks: two threads take longer
            index.train(decode(self.data.rows[some]))
        with faiss_threads():
            for chunk in self.data.chunks():
                index.add(chunk)
        self._index = index
        faiss.write_index(index, str(self.data.folder / self.name))

    def settings(self) -> Sequence[Any]:
        return [(p, f) for p in (4, 6, 8, 12, 16, 24, 32, 48, 64, 128) for f in (2, 4, 8, 16, 32)]

    def search(self, query: np.ndarray, kind: Kind) -> np.ndarray:
        probes, factor = self.efforts[kind]
        settings = faiss.SearchParametersIVF(nprobe=probes)
        with faiss_threads(1):
            near = self._index.search(query, factor * TOP, params=settings)[1][0]
        return index_search.rescore(self.data.rows, np.sort(near[near >= 0]), query, TOP).rows

    def disk_bytes(self) -> int:
        return super().disk_bytes() + self.data.rows.nbytes


class Hnswlib(Contender):
    name = "hnswlib"

    def build(self) -> None:
        import hnswlib

        count, dim = self.data.rows.shape
        self._index = hnswlib.Index(space="ip", dim=dim)
        self._index.init_index(max_elements=count, M=16, ef_construction=200)
        self._index.set_num_threads(usable_cores())
        for chunk in self.data.chunks():
            self._index.add_items(chunk)
        self._index.set_num_threads(1)
        self._index.save_index(str(self.data.folder / self.name))

    def settings(self) -> Sequence[Any]:
        return [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]

    def search(self, query: np.ndarray, kind: Kind) -> np.ndarray:
        self._index.set_ef(self.efforts[kind])
        found: np.ndarray = self._index.knn_query(query, k=TOP)[0][0].astype(np.int64)
        return found


class Usearch(Contender):
    name = "usearch"

    def build(self) -> None:
        from usearch.index import Index

        self._index = Index(ndim=self.data.rows.shape[1], metric="ip", dtype="f16", connectivity=16)
        first = 0
        for chunk in self.data.chunks():
            self._index.add(np.arange(first, first + len(chunk)), chunk, threads=usable_cores())
            first += len(chunk)
        self._index.save(str(self.data.folder / self.name))

    def settings(self) -> Sequence[Any]:
        return [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]

    def search(self, query: np.ndarray, kind: Kind) -> np.ndarray:
        self._index.expansion_search = self.efforts[kind]
        found: np.ndarray = self._index.search(query[0], TOP, threads=1).keys.astype(np.int64)
        return found


CONTENDERS: dict[str, type[Contender]] = {
    each.name: each for each in (Virtue, Flat, Classic, Hnswlib, Usearch)
}


def weighed(name: str, folder: Path) -> dict[str, float]:
    """What this process grows by when it loads a contender and searches it, past what any search of the
    library needs."""
    store = open_store(folder / "library")
    with store.read() as snapshot:
        dim = snapshot.mapped_rows("regions").shape[1]
        queries = np.random.default_rng(0).standard_normal((SEARCHES, 1, dim)).astype(np.float32)
        snapshot.scores("regions", np.arange(TOP), queries[0])
    before = _anonymous_bytes()
    began = time.perf_counter()
    search = LOADERS[name](folder, dim)
    search(queries[0])
    searched = time.perf_counter()
    for query in queries:
        search(query)
    return {"bytes": _anonymous_bytes() - before, "open_seconds": searched - began}


def _load_virtue(folder: Path, dim: int) -> Callable[[np.ndarray], Any]:
    store = open_store(folder / "library")

    def search(query: np.ndarray) -> Any:
        with store.read() as snapshot:
            return snapshot.search("regions", query, TOP)

    return search


def _load_flat(folder: Path, dim: int) -> Callable[[np.ndarray], Any]:
    index = faiss.read_index(str(folder / "flat"))
    return lambda query: index.search(query, TOP)


def _load_classic(folder: Path, dim: int) -> Callable[[np.ndarray], Any]:
    index = faiss.read_index(str(folder / "classic"))
    return lambda query: index.search(query, 8 * TOP)


def _load_hnswlib(folder: Path, dim: int) -> Callable[[np.ndarray], Any]:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=dim)
    index.load_index(str(folder / "hnswlib"))
    return lambda query: index.knn_query(query, k=TOP)


def _load_usearch(folder: Path, dim: int) -> Callable[[np.ndarray], Any]:
    from usearch.index import Index

    index = Index.restore(str(folder / "usearch"))
    assert index is not None
    return lambda query: index.search(query[0], TOP)


LOADERS = {
    "virtue": _load_virtue,
    "flat": _load_flat,
    "classic": _load_classic,
    "hnswlib": _load_hnswlib,
    "usearch": _load_usearch,
}


class Peak:
    """The most anonymous memory that this process has while the block lasts, in bytes."""

    bytes = 0

    def __enter__(self) -> Peak:
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watched, daemon=True)
        self._watch.start()
        return self

    def _watched(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, _anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()


def _anonymous_bytes() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))
