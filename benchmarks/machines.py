"""What a library in PostgreSQL costs and finds, beside one in a folder.

    python -m benchmarks.machines [--regions 100000] [--dim 256] [--queries 200] [--milvus]

The same made-up regions (benchmarks/synthetic.py), ten a photo, go into both. For each: the seconds that
storing them and building the indexes took, bytes, and for queries of pictures and of texts, without a filter
and with filters that allow 30, 5, 1 and 0.1 % of the photos: recall@10 against all rows read here, rows
found, and the CPU time of a query, of this process and of the server's. `unequal_scores` counts rows that
both found and scored differently. PostgreSQL is the one of the tests, with `shared_buffers` of 1 GB; there
each kind and filter is also answered `by_index`, where searches would rather read what is allowed, and
`by_reading` (of fewer queries).
With --milvus they go into PostgreSQL and milvus-lite instead of PostgreSQL alone, which takes minutes.

Prints one JSON object; what it is at goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.synthetic import Photos
from tests.milvus_server import running_milvus
from tests.postgres_server import running_server
from virtue.geometry import Box
from virtue.store import EmbeddedPhoto, FileRecord, NewRegion, PhotoInfo, Snapshot, Store, open_store
from virtue.store.catalogue.filters import RowFilter, parse
from virtue.store.milvus.milvus_snapshot import MilvusSnapshot
from virtue.store.postgres.server_snapshot import ServerSnapshot
from virtue.store.postgres.server_writer import FACTORS
from virtue.store.records import QueryKind

REGIONS = 10
"""Of each photo."""
AT_ONCE = 256
"""Photos in a commit."""
TOP = 10
READ = 10
"""Queries that are answered by reading all that is allowed."""
SHARES = {"all": 1000, "30 %": 300, "5 %": 50, "1 %": 10, "0.1 %": 1}
"""Of a thousand widths that photos have, how many a filter allows."""
SERVERS: list[psutil.Process] = []
"""Whose time counts as the server's, beside that of PostgreSQL."""
BOXES = tuple(NewRegion(Box(10 * n, 0, 10 * n + 10, 10), "proposal") for n in range(REGIONS))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=200, help="of each kind and filter")
    parser.add_argument("--milvus", action="store_true", help="vectors in milvus-lite")
    options = parser.parse_args()
    data = Data(options.regions, options.dim, options.queries)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        address = stack.enter_context(running_server(shared_buffers="1GB")).make_database()
        if options.milvus:
            milvus = stack.enter_context(running_milvus())
            SERVERS.append(psutil.Process(milvus.process.pid))
            address = milvus.extend(address)
        places: dict[str, str | Path] = {
            "folder": Path(scratch) / "library",
            "milvus" if options.milvus else "postgresql": address,
        }
        figures = {name: measure(name, place, data) for name, place in places.items()}
    scores = [figures[name].pop("scores") for name in places]
    print(
        json.dumps(
            {
                "regions": options.regions,
                "dim": options.dim,
                "queries": options.queries,
                **figures,
                "unequal_scores": sum(
                    scores[0][key] != score for key, score in scores[1].items() if key in scores[0]
                ),
            },
            indent=1,
        )
    )
    return 0


class Data:
    """Regions with vectors, photos with widths, queries, and the rows that each should find."""

    def __init__(self, count: int, dim: int, queries: int) -> None:
        self.count, self.dim = count - count % REGIONS, dim
        self.made = Photos(dim)
        self.widths = 1000 + np.random.default_rng(7).integers(0, 1000, self.count // REGIONS)
        self.queries: dict[QueryKind, np.ndarray] = {
            "image": self.made.images(queries),
            "text": self.made.texts(queries),
        }
        self.truth = self._find_truth()

    def rows(self) -> Iterator[np.ndarray]:
        left = np.empty((0, self.dim), np.float32)
        for chunk in self.made.rows(self.count):
            left = np.concatenate([left, chunk])
            whole = len(left) - len(left) % (REGIONS * AT_ONCE)
            yield left[:whole]
            left = left[whole:]
        yield left

    def _find_truth(self) -> dict[tuple[QueryKind, str], np.ndarray]:
        """Returns the best rows (queries, TOP) of each kind of query and filter."""
        best: dict[tuple[QueryKind, str], tuple[np.ndarray, np.ndarray]] = {}
        first = 0
        for chunk in self.rows():
            say(f"looking for the right answers in row {first:,}")
            rows = chunk.astype(np.float16).astype(np.float32)
            numbers = first + np.arange(len(rows))
            for kind, queries in self.queries.items():
                scores = queries @ rows.T
                for name, share in SHARES.items():
                    fits = self.widths[numbers // REGIONS] < 1000 + share
                    some, where = scores[:, fits], numbers[fits]
                    old = best.get((kind, name))
                    if old is not None:
                        some = np.concatenate([old[0], some], axis=1)
                        where = np.concatenate([old[1], np.tile(where, (len(queries), 1))], axis=1)
                    else:
                        where = np.tile(where, (len(queries), 1))
                    order = np.argpartition(-some, min(TOP, some.shape[1]) - 1, axis=1)[:, :TOP]
                    best[kind, name] = (
                        np.take_along_axis(some, order, axis=1),
                        np.take_along_axis(where, order, axis=1),
                    )
            first += len(rows)
        return {key: rows for key, (_, rows) in best.items()}


def measure(name: str, place: str | Path, data: Data) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with open_store(place, create=True) as store:
        with store.write("benchmark") as writer:
            writer.generation("made up", "made up", data.dim)
            began, number = time.monotonic(), 0
            for chunk in data.rows():
                for first in range(0, len(chunk), REGIONS * AT_ONCE):
                    some = chunk[first : first + REGIONS * AT_ONCE]
                    photos = [
                        make_photo(number + n, some[REGIONS * n : REGIONS * (n + 1)], data)
                        for n in range(len(some) // REGIONS)
                    ]
                    writer.commit(photos, [make_file(photo) for photo in photos])
                    number += len(photos)
                say(f"{name}: stored {number * REGIONS:,} regions in {time.monotonic() - began:.0f} s")
            figures["load_s"] = round(time.monotonic() - began, 1)
            began = time.monotonic()
            tuned = writer.refresh_indexes(
                texts=lambda: data.made.texts(64),
                progress=lambda what, done, total: say(f"{name}: {what}, {done:,} of {total:,}"),
            )
            figures["index_and_tuning_s"] = round(time.monotonic() - began, 1)
            figures["tuned"] = {
                each.query_kind: {
                    "candidates_a_row": each.chosen.refine_factor,
                    "recall": round(each.chosen.recall or 0, 4),
                }
                for each in tuned
            }
        with store.read() as snapshot:
            figures["bytes_a_region"] = round(snapshot.size_on_disk() / data.count)
        scores: dict[Any, float] = {}
        figures["searches"] = [
            search(name, store, data, kind, share, scores) for kind in data.queries for share in SHARES
        ]
    return figures | {"scores": scores}


def search(
    name: str, store: Store, data: Data, kind: QueryKind, share: str, scores: dict[Any, float]
) -> dict[str, Any]:
    """Searches with all queries of a kind; adds what each row scored to `scores`."""
    say(f"{name}: queries of kind {kind}, {share} allowed")
    filter = None if share == "all" else RowFilter(parse(f"width < {1000 + SHARES[share]}"))
    hits, found, queries = 0, 0, data.queries[kind]
    with store.read() as snapshot:
        snapshot.search("regions", queries[:1], TOP, filter, query_kind=kind)
        clocks = clocks_of(snapshot)
        began = [clock() for clock in clocks]
        answers = [snapshot.search("regions", query[None], TOP, filter, query_kind=kind) for query in queries]
        spent = [
            1000 * (clock() - before) / len(queries) for clock, before in zip(clocks, began, strict=True)
        ]
        apart = by_each(snapshot, queries, kind, filter, data.truth[kind, share], clocks)
    for number, (answer, right) in enumerate(zip(answers, data.truth[kind, share], strict=True)):
        hits += len({*answer.rows.tolist()} & {*right.tolist()})
        found += len(answer.rows)
        scores |= {
            (kind, share, number, row): score
            for row, score in zip(answer.rows.tolist(), answer.scores.tolist(), strict=True)
        }
    figures = {
        "kind": kind,
        "allowed": share,
        "recall": round(hits / max(1, data.truth[kind, share].size), 4),
        "rows": round(found / len(queries), 2),
        "cpu_ms": round(sum(spent), 2),
        "of_the_server": round(sum(spent[1:]), 2),
        **apart,
    }
    say(f"{name}: {json.dumps(figures)}")  # a run that is cut has told what it measured
    return figures


def by_each(
    snapshot: Snapshot,
    queries: np.ndarray,
    kind: QueryKind,
    filter: RowFilter | None,
    truth: np.ndarray,
    clocks: list[Callable[[], float]],
) -> dict[str, Any]:
    """Answers queries by the index of PostgreSQL alone, and some by reading all that is allowed."""
    known = snapshot.search_params("regions")
    if not isinstance(snapshot, ServerSnapshot) or isinstance(snapshot, MilvusSnapshot) or not known:
        return {}
    table, allowed = snapshot.table("regions"), snapshot.allowed("regions", filter)
    factor = known[kind].refine_factor or FACTORS[-1]

    def spent(since: float = 0.0) -> float:
        return sum(clock() for clock in clocks) - since

    began, hits = spent(), 0
    for query, right in zip(queries, truth, strict=True):
        rows, _ = table.nearest_by_index(query[None], TOP, allowed, factor)
        hits += len({*rows.tolist()} & {*right.tolist()})
    by_index = spent(began)
    began = spent()
    for query in queries[:READ]:
        table.nearest(query[None], TOP, allowed)
    by_reading = spent(began)
    return {
        "by_index": {
            "recall": round(hits / max(1, truth.size), 4),
            "cpu_ms": round(1000 * by_index / len(queries), 2),
        },
        "by_reading": {"cpu_ms": round(1000 * by_reading / len(queries[:READ]), 2)},
    }


def clocks_of(snapshot: Snapshot) -> list[Callable[[], float]]:
    """Returns what tells the CPU seconds of this process, and of the server's process if there is one."""
    if not isinstance(snapshot, ServerSnapshot):
        return [time.process_time]
    backend = psutil.Process(snapshot.connection.query("SELECT pg_backend_pid()")[0][0])

    def spent() -> float:
        times = [server.cpu_times() for server in (backend, *SERVERS)]
        return float(sum(each.user + each.system for each in times))

    return [time.process_time, spent]


def make_photo(number: int, vectors: np.ndarray, data: Data) -> EmbeddedPhoto:
    info = PhotoInfo(number.to_bytes(16, "big"), int(data.widths[number]), 1000)
    none = np.empty((0, data.dim), np.float32)
    return EmbeddedPhoto(info, "regions=10 annotations=- captions=-", BOXES, vectors, (), none)


def make_file(photo: EmbeddedPhoto) -> FileRecord:
    number = int.from_bytes(photo.info.hash, "big")
    return FileRecord(b"/photos/%d/%d.jpg" % (number // 1000, number), 1, 1, None, photo.info.hash)


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
