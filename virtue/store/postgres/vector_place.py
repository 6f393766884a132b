"""Where a library with its catalogue in PostgreSQL keeps the vectors of one kind and generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from virtue.store.catalogue.filters import RowFilter
from virtue.store.vectors import exact


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which rows may be found.

    Attributes:
        rows: a query for them, `o.row`, to which conditions can be added.
        values: what it compares with.
        filter: what they must match besides that their photos are there.
    """

    rows: str
    values: dict[str, Any]
    filter: RowFilter | None = None


class VectorPlace(Protocol):
    """Where the vectors of one kind and generation lie, seen through one connection.

    Attributes:
        name: of a table of the catalogue's schema, which is there for as long as the vectors are.
        dim: columns of a vector.
    """

    name: str
    dim: int

    def create(self) -> None:
        """Makes the place, in the transaction that makes the generation."""

    def count(self) -> int:
        """Counts the vectors, those that no photo has any more among them."""

    def sample(self, count: int) -> Sequence[int]:
        """Returns some rows, spread over all."""

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns (len(rows), dim) fp16, in the order of `rows`.

        Raises:
            DamagedError: one of them has no vector.
        """

    def span(self, first: int, stop: int) -> np.ndarray:
        """Returns (stop - first, dim) fp16; zeros where there is no row."""

    def nearest(self, queries: np.ndarray, count: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows (n,) and their scores of the best `count` rows of all that is allowed."""

    def nearest_each(self, queries: np.ndarray, count: int, allowed: Allowed) -> list[np.ndarray]:
        """Returns the best rows (n,) for each query (k, dim) alone, in one reading of all that is allowed, in
        no order; of rows of nearly one score any."""

    def nearest_by_index(
        self, queries: np.ndarray, count: int, allowed: Allowed, factor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what `nearest` does, from candidates that the index has, `factor` of them for each row that
        is wanted and each query; there may be fewer than `count`. If the index has not so many, all that is
        allowed may be read."""

    def is_index_quicker(
        self, queries: np.ndarray, count: int, allowed: Allowed, factor: int, all_rows: int
    ) -> bool:
        """Returns whether so many rows are allowed that `nearest_by_index` is quicker than `nearest`, though
        it looks at others of `all_rows` too."""

    def has_index(self) -> bool:
        """Returns whether there is an index, so that searches may miss a row."""

    def recover(self) -> None:
        """Makes vectors searchable again after the building of an index that was killed; no other may build
        at the time, and no transaction may be open."""

    def build_index(self) -> None:
        """Makes the index; no transaction may be open."""


def best_of_each(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]], queries: np.ndarray, count: int
) -> list[np.ndarray]:
    """Returns the best rows (n,) for each query (k, dim), as `nearest_each` does.

    Args:
        blocks: rows (m,) with their fp16 vectors (m, dim).
    """
    rows = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for some, vectors in blocks:
        rows = np.concatenate([rows, np.broadcast_to(some, (len(queries), len(some)))], axis=1)
        scores = np.concatenate([scores, queries @ exact.decode(vectors).T], axis=1)
        if rows.shape[1] > count:
            best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
            rows = np.take_along_axis(rows, best, axis=1)
            scores = np.take_along_axis(scores, best, axis=1)
    return [*rows]
