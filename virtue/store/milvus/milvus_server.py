"""Milvus, as far as a library uses it: collections of vectors with scalars, upserts, searches."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import numpy as np

from virtue.errors import StoreError

try:
    import dotenv

    # It reads any `.env` above the place where it is, or where the program runs, when it is imported: a
    # stranger's settings.
    with patch.object(dotenv, "load_dotenv", lambda: False):
        from pymilvus import DataType, MilvusClient, MilvusException
        from pymilvus.client.types import LoadState
except ImportError as error:
    raise StoreError(
        f"vectors in Milvus need pymilvus ({error}): pip install 'virtue-search[milvus]'"
    ) from error

# It prints every error with a traceback, beside raising it.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

MAX_TOP = 16_384
"""Rows that Milvus gives for one query at most."""
MAX_NAMED = 10_000
"""Rows that are named in one expression."""
MAX_SENT_BYTES = 16_000_000
"""Bytes of vectors in one message; Milvus takes 64 MB."""
CONNECTING, ANSWERING = 10.0, 120.0
"""Seconds until Milvus is given up: when connecting, and for an answer."""
# Milvus hangs up on clients that ask every ten seconds whether it lives while it makes an index.
OPTIONS = {"grpc.keepalive_time_ms": 600_000}
STRONG = "Strong"
"""Searches see all that was written before they began."""
VECTOR, ROW = "vector", "row"
FLAT = "FLAT"
INDEXES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("IVF_RABITQ", {"nlist": 1024, "refine": True, "refine_type": "SQ8"}),
    ("IVF_PQ", {"nlist": 1024, "m": 32, "nbits": 8, "refine": True, "refine_type": "SQ8"}),
    ("HNSW", {"M": 16, "efConstruction": 200}),
)
"""The indexes that are made: the first that the server offers."""
LISTS = 1024
TEXT, NUMBER, FLAG, WHOLE, TEXTS = "text", "number", "flag", "whole number", "texts"
MAX_TEXT_BYTES, MAX_TEXTS = 512, 65


class MilvusServer:
    """A connection to Milvus, which threads may share.

    Args:
        url: `milvus://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `milvus+tls://...`.
        name: of the library, as messages have it.
    """

    def __init__(self, url: str, name: str) -> None:
        self._name, self._url = name, url
        self._halves: dict[str, bool] = {}

    @cached_property
    def _client(self) -> MilvusClient:
        parts = urlsplit(self._url)
        token = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        scheme = "https" if parts.scheme.endswith("+tls") else "http"
        return MilvusClient(
            f"{scheme}://{parts.hostname}:{parts.port or 19530}",
            token=token,
            db_name=parts.path.strip("/"),
            timeout=CONNECTING,
            grpc_options=OPTIONS,
        )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns what Milvus says into one sentence about the library."""
        try:
            yield
        except MilvusException as error:
            why = (error.message.strip() or type(error).__name__).splitlines()[0]
            raise StoreError(
                f"the vectors of the library {self._name} cannot be reached or used in Milvus ({why}): "
                "see to its server; all that was committed is safe"
            ) from error

    # -- collections ----------------------------------------------------------------------------------------

    def create(self, collection: str, dim: int, scalars: dict[str, str]) -> None:
        """Makes a collection without an index, in place of one of this name."""
        with self._telling():
            if self._client.has_collection(collection, timeout=ANSWERING):
                self._client.drop_collection(collection, timeout=ANSWERING)
            try:
                self._create(collection, dim, scalars, DataType.FLOAT16_VECTOR)
            except MilvusException:  # the small one for tests has no halves
                self._create(collection, dim, scalars, DataType.FLOAT_VECTOR)
            self._index(collection, FLAT, {})
            self._client.load_collection(collection, timeout=ANSWERING)

    def _create(self, collection: str, dim: int, scalars: dict[str, str], vector: DataType) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(ROW, DataType.INT64, is_primary=True)
        schema.add_field(VECTOR, vector, dim=dim)
        for name, kind in scalars.items():
            schema.add_field(name, **_FIELDS[kind])
        self._client.create_collection(collection, schema=schema, consistency_level=STRONG, timeout=ANSWERING)

    def _index(self, collection: str, kind: str, params: dict[str, Any]) -> None:
        index = self._client.prepare_index_params()
        index.add_index(VECTOR, index_type=kind, metric_type="IP", index_name=VECTOR, params=params)
        try:
            # There is nothing to wait for where all rows are read, and the client sleeps before it asks.
            self._client.create_index(collection, index, sync=kind != FLAT)
        except MilvusException as error:
            # A connection that broke while it was made: the client asks for it once more.
            if "already exist" not in error.message or self._index_type(collection) != kind:
                raise

    def _index_type(self, collection: str) -> str:
        described = self._client.describe_index(collection, VECTOR, timeout=ANSWERING) or {}
        return str(described.get("index_type", FLAT))

    def index_type(self, collection: str) -> str:
        with self._telling():
            return self._index_type(collection)

    def build_index(self, collection: str) -> None:
        """Makes the first index that the server offers; until it is done there are no searches."""
        with self._telling():
            self._client.flush(collection)
            try:
                for kind, params in (*INDEXES, (FLAT, {})):
                    self._client.release_collection(collection)
                    # One that was refused may be there by name.
                    if self._client.list_indexes(collection):
                        self._client.drop_index(collection, VECTOR)
                    try:
                        self._index(collection, kind, params)
                        break
                    except MilvusException:
                        if kind == FLAT:
                            raise
            finally:
                self._client.load_collection(collection)

    def load(self, collection: str) -> None:
        """Makes a collection searchable, if it is not."""
        with self._telling():
            state = self._client.get_load_state(collection, timeout=ANSWERING)["state"]
            if state != LoadState.Loaded:
                self._client.load_collection(collection)

    def drop(self, collection: str) -> None:
        with self._telling():
            self._client.drop_collection(collection, timeout=ANSWERING)

    def collections(self, prefix: str) -> list[str]:
        """Returns the names of collections that begin so."""
        with self._telling():
            return [name for name in self._client.list_collections() if name.startswith(prefix)]

    # -- vectors --------------------------------------------------------------------------------------------

    def put(self, collection: str, vectors: np.ndarray, scalars: Sequence[dict[str, Any]]) -> None:
        """Puts fp16 vectors (n, dim) with their scalars; what was there of a row is replaced."""
        kind = np.float16 if self._takes_halves(collection) else np.float32
        with self._telling():
            for part in _parts(len(vectors), vectors.shape[1]):
                rows = [
                    {VECTOR: vector, **values}
                    for vector, values in zip(vectors[part].astype(kind), scalars[part], strict=True)
                ]
                self._client.upsert(collection, rows, timeout=ANSWERING)

    def delete(self, collection: str, rows: Sequence[int]) -> None:
        with self._telling():
            for first in range(0, len(rows), MAX_NAMED):
                self._client.delete(collection, ids=[*rows[first : first + MAX_NAMED]], timeout=ANSWERING)

    def count(self, collection: str) -> int:
        with self._telling():
            (found,) = self._client.query(
                collection, output_fields=["count(*)"], consistency_level=STRONG, timeout=ANSWERING
            )
        return int(found["count(*)"])

    def rows_between(self, collection: str, first: int, stop: int) -> np.ndarray:
        """Returns the rows (n,) int64 of at most MAX_NAMED numbers that are there, ascending."""
        found = self._query(collection, f"{ROW} >= {first:d} and {ROW} < {stop:d}", [ROW], stop - first)
        return np.array(sorted(each[ROW] for each in found), np.int64)

    def vectors(self, collection: str, rows: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns those of these rows that are there, (n,) int64 ascending, and their fp16 vectors."""
        found: list[tuple[int, np.ndarray]] = []
        for part in _parts(len(rows), dim):
            some = rows[part].tolist()
            for each in self._query(collection, f"{ROW} in {some}", [ROW, VECTOR], len(some)):
                found.append((each[ROW], _read_vector(each[VECTOR])))
        found.sort(key=lambda pair: pair[0])
        vectors = np.array([vector for _, vector in found], np.float16).reshape(len(found), dim)
        return np.array([row for row, _ in found], np.int64), vectors

    def _query(self, collection: str, expression: str, fields: list[str], limit: int) -> list[dict[str, Any]]:
        with self._telling():
            found: list[dict[str, Any]] = self._client.query(
                collection,
                expression,
                output_fields=fields,
                limit=max(1, limit),
                consistency_level=STRONG,
                timeout=ANSWERING,
            )
        return found

    def search(
        self, collection: str, queries: np.ndarray, limit: int, expression: str, params: dict[str, Any]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns for each query (k, dim) float32 the rows (n,) that lie nearest, and what Milvus takes their
        scores for, best first; n <= limit."""
        kind = np.float16 if self._takes_halves(collection) else np.float32
        with self._telling():
            found = self._client.search(
                collection,
                list(queries.astype(kind)),
                filter=expression,
                limit=limit,
                output_fields=[ROW],
                search_params={"metric_type": "IP", "params": params},
                consistency_level=STRONG,
                timeout=ANSWERING,
            )
        return [
            (
                np.array([hit[ROW] for hit in hits], np.int64),
                np.array([hit["distance"] for hit in hits], np.float32),
            )
            for hits in found
        ]

    def _takes_halves(self, collection: str) -> bool:
        if collection not in self._halves:
            with self._telling():
                fields = self._client.describe_collection(collection, timeout=ANSWERING)["fields"]
            (vector,) = (field for field in fields if field["name"] == VECTOR)
            self._halves[collection] = vector["type"] == DataType.FLOAT16_VECTOR
        return self._halves[collection]

    def close(self) -> None:
        if "_client" in vars(self):
            self._client.close()


_FIELDS: dict[str, dict[str, Any]] = {
    TEXT: {"datatype": DataType.VARCHAR, "max_length": MAX_TEXT_BYTES},
    NUMBER: {"datatype": DataType.DOUBLE},
    FLAG: {"datatype": DataType.BOOL},
    WHOLE: {"datatype": DataType.INT64},
    TEXTS: {
        "datatype": DataType.ARRAY,
        "element_type": DataType.VARCHAR,
        "max_capacity": MAX_TEXTS,
        "max_length": MAX_TEXT_BYTES,
    },
}


def _parts(count: int, dim: int) -> Iterator[slice]:
    """Cuts rows into messages."""
    size = min(MAX_NAMED, max(1, MAX_SENT_BYTES // (4 * dim)))
    return (slice(first, min(count, first + size)) for first in range(0, count, size))


def _read_vector(value: Any) -> np.ndarray:
    """Reads a vector as the client gives it: a list of numbers, or the bytes of halves, perhaps in a list."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes):
        (value,) = value
    if isinstance(value, bytes):
        return np.frombuffer(value, np.float16)
    return np.asarray(value, np.float16)


def quote(text: str) -> str:
    """Writes a text as expressions have it."""
    return json.dumps(text, ensure_ascii=False)
