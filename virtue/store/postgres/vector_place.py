"""Where a library with its catalogue in PostgreSQL keeps the vectors of one kind and generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from virtue.store.catalogue.filters import RowFilter


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

    def nearest_by_index(
        self, queries: np.ndarray, count: int, allowed: Allowed, factor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what `nearest` does, from candidates that the index has, `factor` of them for each row that
        is wanted and each query; there may be fewer than `count`."""

    def is_index_quicker(
        self, queries: np.ndarray, count: int, allowed: Allowed, factor: int, all_rows: int
    ) -> bool:
        """Returns whether so many rows are allowed that `nearest_by_index` is quicker than `nearest`, though
        it looks at others of `all_rows` too."""

    def has_index(self) -> bool:
        """Returns whether there is an index, so that searches may miss a row."""

    def build_index(self) -> None:
        """Makes the index; no transaction may be open."""
