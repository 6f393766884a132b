"""How high rows score for queries that do not mean them: what makes a score say something.

For each kind of query, and for each thing that can be found, some queries are compared with some rows of
the library, and the quantiles of all those scores are kept with the generation. A model may ask
differently for regions, photos and captions, and texts score otherwise than pictures do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection, WrongValueError
from virtue.store.catalogue.queries import are_quantiles, dead_rows, fetch, row_count
from virtue.store.records import FINDS, Find, Kind, QueryKind
from virtue.store.vectors import exact

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

MAX_ROWS = 20_000
"""Rows that queries are compared with, at most."""
MAX_IMAGES = 128
"""Regions that serve as picture queries, at most."""
MAX_GROWTH = 1.2
"""The rows are so many times those of the last measurement when they are measured anew."""
SEED = 0
QUANTILE_LEVELS = np.concatenate([np.arange(99) / 100, 1 - np.logspace(-2, -5, 101), [1.0]])
"""(201,) of the scores, of which the quantiles are kept: by hundredths, and above by ever finer steps,
since hits are what scores higher than nearly all."""

MakeQueries = Callable[[Find, np.ndarray], Mapping[QueryKind, np.ndarray]]
"""(what is looked for, (n, dim) float32 rows) -> query vectors: (n, dim) float32 of kind "image", those rows
asked with as pictures, and (m, dim) of kind "text", things that people look for."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreDistribution:
    """How the scores of all rows are distributed, for queries of one kind.

    Attributes:
        quantiles: (201,) float32, ascending, of `QUANTILE_LEVELS`.
    """

    quantiles: np.ndarray

    def share_below(self, score: float, vectors: int = 1) -> float:
        """Returns the share of scores that this one is higher than, from 0 to 1.

        A query of several vectors has as many chances to score high. By how much its scores rise depends on
        how alike the vectors are; the share returned is one that is reached however different they are.
        """
        share = float(np.interp(score, *self._steps(), right=1))
        return max(0.0, 1 - vectors * (1 - share))

    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns quantiles and their levels, of equal quantiles the first."""
        first = np.concatenate([[True], self.quantiles[1:] > self.quantiles[:-1]])
        return self.quantiles[first], QUANTILE_LEVELS[first]

    def quantile(self, share: float) -> float:
        """Returns the score that this share of the scores lies below."""
        return float(np.interp(share, QUANTILE_LEVELS, self.quantiles))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How one kind of query scores, for one thing that is looked for. `rows`: how many the library had."""

    find: Find
    query_kind: QueryKind
    rows: int
    scores: ScoreDistribution


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """`vectors` (n, dim) float32 of some rows; `photos` (n,) int64: whose they are."""

    vectors: np.ndarray
    photos: np.ndarray


def finds_due(connection: AnyConnection, generation: int) -> list[Find]:
    """Returns what was never measured, or when the library had many fewer rows, or many more."""
    sql = "SELECT find, max(rows) FROM distributions WHERE generation_id = ? GROUP BY find"
    known = dict(fetch(connection, sql, (generation,), (str, int)))
    late = []
    for find, kind in FINDS.items():
        count = row_count(connection, generation, kind)
        if count and not known.get(find, 0) / MAX_GROWTH <= count <= known.get(find, 0) * MAX_GROWTH:
            late.append(find)
    return late


def measure(
    connection: AnyConnection,
    generation: int,
    finds: list[Find],
    stored: Mapping[Kind, np.ndarray],
    make_queries: MakeQueries,
) -> list[Calibration]:
    """Compares sample queries with sample rows. A picture is not compared with the rows of its own photo,
    which are alike for a reason; what has no other photo to be compared with is left out.

    Args:
        stored: all rows of the generation, fp16.
    """
    rng = np.random.default_rng(SEED)
    samples = {kind: _sample(connection, generation, kind, stored[kind], rng) for kind in stored}
    regions = samples["regions"]
    asking = np.sort(rng.choice(len(regions.vectors), min(MAX_IMAGES, len(regions.vectors)), replace=False))
    found = []
    for find in finds:
        rows = samples[FINDS[find]]
        for query_kind, queries in make_queries(find, regions.vectors[asking]).items():
            scores = queries @ rows.vectors.T
            if query_kind == "image":
                scores = scores[regions.photos[asking][:, None] != rows.photos]
            if scores.size:
                count = len(stored[FINDS[find]])
                found.append(Calibration(find, query_kind, count, ScoreDistribution(_quantiles(scores))))
    return found


def _sample(
    connection: AnyConnection, generation: int, kind: Kind, stored: np.ndarray, rng: np.random.Generator
) -> _Sample:
    living = np.setdiff1d(np.arange(len(stored)), dead_rows(connection, generation, kind))
    chosen = np.sort(rng.choice(living, min(MAX_ROWS, len(living)), replace=False))
    sql = (
        f"SELECT photo_id FROM json_each(?) wanted CROSS JOIN {kind} ON row = wanted.value "
        "AND generation_id = ? ORDER BY row"
    )
    photos = fetch(connection, sql, (str(chosen.tolist()), generation), (int,))
    if len(photos) != len(chosen):
        raise WrongValueError(f"{len(chosen) - len(photos)} rows of {kind} belong to no photo")
    return _Sample(exact.decode(stored[chosen]), np.array(photos, np.int64).reshape(-1))


def _quantiles(scores: np.ndarray) -> np.ndarray:
    ordered = np.sort(scores, axis=None)
    return ordered[np.rint(QUANTILE_LEVELS * (len(ordered) - 1)).astype(int)]


def save(connection: Connection, generation: int, found: list[Calibration]) -> None:
    """Stores measurements, in place of the last of the same kind."""
    sql = (
        "INSERT OR REPLACE INTO distributions (generation_id, find, asked, rows, quantiles) "
        "VALUES (?, ?, ?, ?, ?)"
    )
    for each in found:
        content = each.scores.quantiles.astype("<f4").tobytes()
        connection.exec_driver_sql(sql, (generation, each.find, each.query_kind, each.rows, content))


def load(
    connection: AnyConnection, generation: int, find: Find, query_kind: QueryKind
) -> ScoreDistribution | None:
    """Returns the last measurement; None: there is none."""
    values = {"generation": generation, "find": find, "query_kind": query_kind}
    found = fetch(connection, hot_sql.SCORE_QUANTILES, values, (bytes,))
    if not found:
        return None
    if not are_quantiles(found[0][0]):
        raise WrongValueError("a distribution of scores cannot be read")
    return ScoreDistribution(np.frombuffer(found[0][0], "<f4"))
