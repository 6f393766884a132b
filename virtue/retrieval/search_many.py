"""Many queries at once: embedded in batches, searched one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from virtue.embedder import Embedder
from virtue.errors import InputError, VirtueError
from virtue.retrieval.checks import choose_embedder
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part, Query
from virtue.retrieval.search import search

if TYPE_CHECKING:
    from virtue.embedder.model import Find
    from virtue.store import Store

BLOCK = 256
"""Queries whose vectors are in memory at once."""


def search_many(store: Store, embedder: Embedder, queries: Iterable[Any], **options: Any) -> list[list[Hit]]:
    """Searches for each query; the hits of each equal those of `search`, which `options` are for, but for the
    last bit of a score: models add up a batch in another order than one input.

    Raises:
        InputError: `queries` is a single one.
        VirtueError: as `search`; names the number of the query, from 0 on.
    """
    if isinstance(queries, str | bytes | Mapping | Hit) or not isinstance(queries, Iterable):
        raise InputError(
            f"queries are a list of them, not {type(queries).__name__}; for a single one there is `search`"
        )
    read: list[Query] = []
    for number, query in enumerate(queries):
        with _naming(number):
            read.append(Query.of(query))
    with store.read() as snapshot:
        if snapshot.generation is not None:
            embedder = choose_embedder(snapshot.generation, embedder)
    found: list[list[Hit]] = []
    for first in range(0, len(read), BLOCK):
        some = read[first : first + BLOCK]
        ready = _EmbeddedParts(embedder, some)
        for number, query in enumerate(some, first):
            with _naming(number):
                found.append(search(store, ready, query, **options))
    return found


class _EmbeddedParts(Embedder):
    """An embedder that has the parts of some queries embedded together, as soon as one is asked for."""

    def __init__(self, embedder: Embedder, queries: Sequence[Query]) -> None:
        super().__init__(embedder.model)
        parts = [part for query in queries for part in (*query.parts, *query.unwanted)]
        self._parts = {id(part): part for part in parts if part.image is not None or part.text is not None}
        self._vectors: dict[Find, dict[int, np.ndarray]] = {}

    def query(self, value: Any, find: Find = "regions") -> np.ndarray:
        if find not in self._vectors:
            self._vectors[find] = {}
            # One that cannot be used has its error raised when its own query is searched for.
            with suppress(InputError):
                together = super().queries(self._parts.values(), find)
                self._vectors[find] = dict(zip(self._parts, together, strict=True))
        known = self._vectors[find].get(id(value)) if isinstance(value, Part) else None
        return super().query(value, find) if known is None else known


@contextmanager
def _naming(number: int) -> Iterator[None]:
    try:
        yield
    except VirtueError as error:
        raise type(error)(f"query {number}: {error}", hint=error.hint) from error
