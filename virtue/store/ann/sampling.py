"""Queries to measure an index with, from the library itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy.engine import Connection

from virtue.store.catalogue.queries import fetch
from virtue.store.records import Kind
from virtue.store.vectors import exact

SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Sample queries, (n, dim) float32; `own` are for each the rows of its own photo, which do not count."""

    queries: np.ndarray
    own: tuple[np.ndarray, ...]

    @classmethod
    def of_queries(cls, queries: np.ndarray, dim: int) -> Sample:
        """Makes a sample of queries that are not in the library.

        Raises:
            ValueError: they are of another dimension, or not finite.
        """
        queries = np.ascontiguousarray(np.atleast_2d(queries), np.float32)
        if queries.shape[1] != dim or not np.isfinite(queries).all():
            raise ValueError(f"queries of shape {queries.shape} must be finite and of dimension {dim}")
        return cls(queries, (np.empty(0, np.int64),) * len(queries))

    def __len__(self) -> int:
        return len(self.queries)


def sample_rows(
    connection: Connection,
    generation: int,
    source: Kind,
    target: Kind,
    rows: np.ndarray,
    dead: np.ndarray,
    count: int,
) -> Sample:
    """Samples rows of a kind as queries.

    Where they are looked for among their like, the rest of their own photo is left out: a picture that
    someone asks with is not in the library, and the regions of one photo, which overlap, or the
    captions, which say the same, are easier to find than what is alike in others.
    """
    living = np.setdiff1d(np.arange(len(rows)), dead)
    chosen = np.sort(np.random.default_rng(SEED).choice(living, min(count, len(living)), replace=False))
    queries = exact.decode(rows[chosen])
    if source != target:
        return Sample.of_queries(queries, rows.shape[1])
    sql = (
        f"SELECT row FROM {source} WHERE generation_id = ?1 AND row IS NOT NULL AND photo_id = "
        f"(SELECT photo_id FROM {source} WHERE generation_id = ?1 AND row = ?2)"
    )
    own = [np.array(fetch(connection, sql, (generation, int(row)), (int,)), np.int64)[:, 0] for row in chosen]
    return Sample(queries, tuple(own))
