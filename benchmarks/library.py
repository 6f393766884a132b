"""A library of given vectors, and what a query of it costs in all."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from virtue.geometry import Box
from virtue.store import EmbeddedPhoto, FileRecord, NewRegion, PhotoInfo, Store, open_store
from virtue.store import layout as names
from virtue.store.ann import index_search, pca
from virtue.store.ann.faiss_runtime import faiss, faiss_threads
from virtue.store.ann.ivf import Index, _scale_queries
from virtue.store.catalogue import hot_sql
from virtue.store.records import SearchParams

REGIONS = 20
"""Of each photo."""
AT_ONCE = 250
"""Photos in a commit."""
BOXES = tuple(NewRegion(Box(10 * n, 0, 10 * n + 10, 10), "proposal") for n in range(REGIONS))


def fill(folder: Path, chunks: Iterable[np.ndarray], dim: int) -> float:
    """A library whose regions have these vectors, in this order; the seconds that storing them took."""
    seconds = 0.0
    number = 0
    with open_store(folder, create=True) as store, store.write("benchmark") as writer:
        writer.generation("made up", "made up", dim)
        for chunk in chunks:
            began = time.monotonic()
            for first in range(0, len(chunk), REGIONS * AT_ONCE):
                some = chunk[first : first + REGIONS * AT_ONCE]
                photos = [_photo(number + n, some[REGIONS * n : REGIONS * (n + 1)]) for n in _photos(some)]
                files = [
                    FileRecord(b"/photos/%d.jpg" % (number + n), 1, 1, None, photo.info.hash)
                    for n, photo in enumerate(photos)
                ]
                writer.commit(photos, files)
                number += len(photos)
            seconds += time.monotonic() - began
    return seconds


def _photos(vectors: np.ndarray) -> range:
    return range(-(-len(vectors) // REGIONS))


def _photo(number: int, vectors: np.ndarray) -> EmbeddedPhoto:
    info = PhotoInfo(number.to_bytes(16, "big"), 4000, 3000)
    none = np.empty((0, vectors.shape[1]), np.float32)
    return EmbeddedPhoto(info, "auto", BOXES[: len(vectors)], vectors, (), none)


class LibraryFigures:
    """What a query costs with all around it, and how much of that is not Python's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def measured(self, queries: np.ndarray, repetitions: int) -> dict[str, float]:
        with open_store(self._folder) as store:
            whole, search, kernels = [], [], []
            for _ in range(repetitions):
                whole.append(self._whole(store, queries))
                search.append(self._search(store, queries))
                kernels.append(self._kernels(store, queries))
        figures = {
            "us_whole": statistics.median(whole),
            "us_search": statistics.median(search),
            "us_faiss_sqlite_scoring": statistics.median(kernels),
        }
        share = 1 - figures["us_faiss_sqlite_scoring"] / figures["us_whole"]
        return {name: round(value, 1) for name, value in figures.items()} | {"python_share": round(share, 3)}

    def _whole(self, store: Store, queries: np.ndarray) -> float:
        began = time.process_time()
        for number in range(len(queries)):
            with store.read() as snapshot:
                ranked = snapshot.search("regions", queries[number : number + 1], 10)
                snapshot.regions(ranked.rows)
        return (time.process_time() - began) / len(queries) * 1e6

    def _search(self, store: Store, queries: np.ndarray) -> float:
        with store.read() as snapshot:
            began = time.process_time()
            for number in range(len(queries)):
                snapshot.search("regions", queries[number : number + 1], 10)
            return (time.process_time() - began) / len(queries) * 1e6

    def _kernels(self, store: Store, queries: np.ndarray) -> float:
        """The same work by the same calls, without the Python that leads to them."""
        plain = sqlite3.connect(f"{(self._folder / names.CATALOGUE).as_uri()}?mode=ro", uri=True)
        with store.read() as snapshot, faiss_threads(1):
            view = snapshot._view
            assert view is not None
            index, record = view.index("regions"), view.indexes["regions"]
            assert index is not None
            stored, params = snapshot.mapped_rows("regions"), record.search_params("image")
            taken = 0.0
            for number in range(len(queries)):
                query = queries[number : number + 1]
                near, seconds = _faiss_alone(index, query, params)
                began = time.process_time()
                ranked = index_search.rescore(stored, np.unique(near[near >= 0]), query, 10)
                plain.execute(
                    hot_sql.REGIONS, {"wanted": str(ranked.rows.tolist()), "generation": view.generation.id}
                ).fetchall()
                taken += seconds + time.process_time() - began
        plain.close()
        return taken / len(queries) * 1e6


def _faiss_alone(index: Index, query: np.ndarray, params: SearchParams) -> tuple[np.ndarray, float]:
    """The candidates from the first range, and the seconds of FAISS's two calls."""
    pointer = faiss.swig_ptr
    scaled = _scale_queries(pca.reduce_queries(query, index._directions))
    count = index_search.candidates_wanted(params.refine_factor, 10)
    usable = index._settings(params.nprobe)
    reaching = faiss.SearchParametersHNSW(efSearch=max(64, 2 * params.nprobe)) if index._graph else None
    near, lists = np.empty((1, params.nprobe), np.float32), np.empty((1, params.nprobe), np.int64)
    scores, rows = np.empty((1, count), np.float32), np.empty((1, count), np.int64)
    pointers = [pointer(each) for each in (scaled, near, lists, scores, rows)]
    q, n, li, s, r = pointers
    began = time.process_time()
    pca.reduce_queries(query, index._directions)
    index._quantiser.search_c(1, q, params.nprobe, n, li, reaching)
    index._parts[0].fast.search_preassigned_c(1, q, count, li, n, s, r, False, usable)
    return rows, time.process_time() - began
