"""How high the best hits of sample queries score: what makes a score say something.

The sample queries ask for what is mostly not in the library, so their best hits are the best that it has
where the answer is missing. For each kind of query, and for each thing that can be found, quantiles of their
scores are kept with the generation. A model may ask differently for regions, photos and captions, and texts
score otherwise than pictures do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection, WrongValueError
from virtue.store.catalogue.queries import QUANTILES, are_quantiles, dead_rows, fetch, row_count
from virtue.store.duplicates import FullImages
from virtue.store.records import FINDS, KINDS, Find, Kind, QueryKind
from virtue.store.vectors import exact, row_files

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

MAX_IMAGES = 128
"""Regions that serve as picture queries, at most."""
MAX_GROWTH = 1.2
"""The rows are so many times those of the last measurement when they are measured anew."""
MAX_DISTANCE = 8
"""Bits in which the perceptual hashes of the same picture differ, at most."""
SEED = 0
QUANTILE_LEVELS = np.linspace(0, 1, QUANTILES)
"""(201,) of the scores, of which the quantiles are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleQueries:
    """Queries of one kind.

    Attributes:
        vectors: (n, dim) float32, one vector a query.
        baselines: (n,) float32, what is taken from the scores of each; None: nothing.
    """

    vectors: np.ndarray
    baselines: np.ndarray | None = None


MakeQueries = Callable[[Find, np.ndarray], Mapping[QueryKind, SampleQueries]]
"""(what is looked for, (n, dim) float32 rows) -> queries: of kind "image", those rows asked with as pictures,
and of kind "text", things that people look for."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreDistribution:
    """How the scores of best hits are distributed, for queries of one kind.

    Attributes:
        quantiles: (201,) float32, ascending, of `QUANTILE_LEVELS`.
    """

    quantiles: np.ndarray

    def share_below(self, score: float, vectors: int = 1) -> float:
        """Returns the share of best hits that score less, from 0 to 1.

        A query of several vectors has as many chances to score high. By how much its scores rise depends on
        how alike the vectors are; the share returned is one that is reached however different they are.
        """
        share = float(np.interp(score, *self._steps(), right=1))
        return max(0.0, 1 - vectors * (1 - share))

    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns quantiles and their levels, of equal quantiles the first."""
        first = np.concatenate([[True], self.quantiles[1:] > self.quantiles[:-1]])
        return self.quantiles[first], QUANTILE_LEVELS[first]

    def quantile(self, share: float, vectors: int = 1) -> float:
        """Returns the lowest score of which `share_below` gives this share."""
        scores, levels = self._steps()
        level = 1 - (1 - share) / vectors
        if level > levels[-1]:
            return float(np.nextafter(scores[-1], np.float32(np.inf)))
        return float(np.interp(level, levels, scores))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How one kind of query scores, for one thing that is looked for. `rows`: how many the library had."""

    find: Find
    query_kind: QueryKind
    rows: int
    scores: ScoreDistribution


class RowArray(Protocol):
    """Rows (count, dim) fp16 of which parts are taken; an array is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


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
    stored: Mapping[Kind, RowArray],
    make_queries: MakeQueries,
) -> list[Calibration]:
    """Looks for the best hits of sample queries, in one scan of the rows of each kind. A picture's is looked
    for outside its own photo and the same picture in other files; what finds nothing is left out.

    Args:
        stored: all rows of the generation, fp16, zeros where there is none any more.
    """
    rows, photos = _sample(connection, generation, stored["regions"])
    vectors = exact.decode(stored["regions"][rows])
    own = _own_pictures(connection, generation, photos)
    found = []
    for kind in KINDS:
        asked = {
            (find, query_kind): queries
            for find in finds
            if FINDS[find] == kind
            for query_kind, queries in make_queries(find, vectors).items()
        }
        if not asked:
            continue
        left_out = _rows_of(connection, generation, kind, own)
        best = _best_scores(connection, generation, kind, stored[kind], asked, left_out)
        for (find, query_kind), scores in best.items():
            baselines = asked[find, query_kind].baselines
            scores = scores if baselines is None else scores - baselines
            scores = scores[np.isfinite(scores)]
            if len(scores):
                levels = np.sort(np.quantile(scores, QUANTILE_LEVELS)).astype(np.float32)
                quantiles = ScoreDistribution(levels)
                found.append(Calibration(find, query_kind, len(stored[kind]), quantiles))
    return found


def _sample(connection: AnyConnection, generation: int, stored: RowArray) -> tuple[np.ndarray, list[int]]:
    """Returns the rows of some regions, (n,) int64, and whose they are."""
    rng = np.random.default_rng(SEED)
    living = np.setdiff1d(np.arange(len(stored)), dead_rows(connection, generation, "regions"))
    chosen = np.sort(rng.choice(living, min(MAX_IMAGES, len(living)), replace=False))
    sql = (
        "SELECT photo_id FROM json_each(?) wanted CROSS JOIN regions ON row = wanted.value "
        "AND generation_id = ? ORDER BY row"
    )
    photos = fetch(connection, sql, (str(chosen.tolist()), generation), (int,))
    if len(photos) != len(chosen):
        raise WrongValueError(f"{len(chosen) - len(photos)} rows of regions belong to no photo")
    return chosen, [photo for (photo,) in photos]


def _own_pictures(connection: AnyConnection, generation: int, photos: Sequence[int]) -> list[set[int]]:
    """Returns for each photo those that seem to be the same picture, itself among them."""
    images = FullImages.of(connection, generation)
    hashes = dict(zip(images.ids.tolist(), images.phashes.tolist(), strict=True))
    near = {
        photo: {image.photo_id for image in images.near(hashes[photo], MAX_DISTANCE)}
        for photo in set(photos) & hashes.keys()
    }
    return [{photo} | near.get(photo, set()) for photo in photos]


def _rows_of(
    connection: AnyConnection, generation: int, kind: Kind, photos: Sequence[set[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of a place in `photos` and a row of those photos, in order of rows."""
    wanted = sorted(set().union(*photos))
    sql = (
        f"SELECT photo_id, row FROM json_each(?) wanted CROSS JOIN {kind} ON photo_id = wanted.value "
        "AND generation_id = ? WHERE row IS NOT NULL"
    )
    rows: dict[int, list[int]] = {photo: [] for photo in wanted}
    for photo, row in fetch(connection, sql, (str(wanted), generation), (int, int)):
        rows[photo].append(row)
    pairs = [(row, place) for place, some in enumerate(photos) for photo in some for row in rows[photo]]
    ordered = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return ordered[:, 1], ordered[:, 0]


def _best_scores(
    connection: AnyConnection,
    generation: int,
    kind: Kind,
    stored: RowArray,
    asked: Mapping[tuple[Find, QueryKind], SampleQueries],
    left_out: tuple[np.ndarray, np.ndarray],
) -> dict[tuple[Find, QueryKind], np.ndarray]:
    """Returns the best score of each query; -inf: it finds nothing. What asks alike for several things is
    scored once."""
    alike = {key: (key[1], queries.vectors.tobytes()) for key, queries in asked.items()}
    vectors = {name: asked[key].vectors for key, name in alike.items()}
    best = {name: np.full(len(queries), -np.inf, np.float32) for name, queries in vectors.items()}
    dead = dead_rows(connection, generation, kind)
    asking, own = left_out
    for first in range(0, len(stored), row_files.BLOCK):
        block = exact.decode(stored[first : first + row_files.BLOCK])
        gone = dead[(dead >= first) & (dead < first + len(block))] - first
        pairs = slice(*np.searchsorted(own, (first, first + len(block))))
        for name, queries in vectors.items():
            scores = queries @ block.T
            scores[:, gone] = -np.inf
            if name[0] == "image":
                scores[asking[pairs], own[pairs] - first] = -np.inf
            np.maximum(best[name], scores.max(axis=1), out=best[name])
    return {key: best[name] for key, name in alike.items()}


def save(connection: Connection, generation: int, found: list[Calibration]) -> None:
    """Stores measurements, in place of the last of the same kind."""
    sql = (
        "INSERT INTO distributions (generation_id, find, asked, rows, quantiles) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (generation_id, find, asked) "
        "DO UPDATE SET rows = excluded.rows, quantiles = excluded.quantiles"
    )
    for each in found:
        content = each.scores.quantiles.astype("<f4").tobytes()
        connection.exec_driver_sql(sql, (generation, each.find, each.query_kind, each.rows, content))


def load(
    connection: AnyConnection, generation: int, find: Find, query_kind: QueryKind, baseline: float
) -> ScoreDistribution | None:
    """Returns the last measurement, for a query of this baseline; None: there is none."""
    values = {"generation": generation, "find": find, "query_kind": query_kind}
    found = fetch(connection, hot_sql.SCORE_QUANTILES, values, (bytes,))
    if not found:
        return None
    if not are_quantiles(found[0][0]):
        raise WrongValueError("a distribution of scores cannot be read")
    return ScoreDistribution(np.frombuffer(found[0][0], "<f4") + np.float32(baseline))
