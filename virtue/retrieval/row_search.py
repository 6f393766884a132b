"""One query among the rows of one kind: ranked, joined with the catalogue, and what their scores mean."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal

import numpy as np

from virtue.errors import InputError
from virtue.retrieval.copies import Copies
from virtue.retrieval.query_vectors import EncodedQuery
from virtue.retrieval.ranked_records import RankedRecords, Record, Scored
from virtue.retrieval.sureness_levels import least_possible_score
from virtue.store import CaptionRecord, RegionRecord, Snapshot
from virtue.store.calibration import ScoreDistribution
from virtue.store.catalogue.filters import RowFilter
from virtue.store.records import Find, Kind

MinScore = float | Literal["auto"] | None


@dataclass(frozen=True, slots=True, eq=False)
class RowSearch(Generic[Record]):
    """A query among the rows of one kind.

    Attributes:
        snapshot: that has the rows.
        kind: of the rows.
        calibration: how the library scores for such queries; None: it was not measured.
        filter: what hits must match.
        named: photos that the query names itself, and that do not come back as answers.
        copies: of photos; one of them stands for all.
    """

    snapshot: Snapshot
    kind: Kind
    query: EncodedQuery
    calibration: ScoreDistribution | None
    filter: RowFilter | None
    named: frozenset[int]
    records: RankedRecords[Record]
    copies: Copies

    def best_photos(self, top: int, min_score: float = -math.inf) -> list[Scored[Record]]:
        """Returns the best record of each of the best photos."""
        return self.records.best(self.photo, top, min_score)

    def photo(self, record: Record) -> Hashable:
        """Returns whose record this is, the same for copies of one picture; None: of a photo that the query
        names."""
        return None if record.photo_id in self.named else self.copies.first(record.photo_id)

    def percentile(self, score: float) -> float | None:
        if self.calibration is None:
            return None
        return 100 * self.calibration.share_below(score, len(self.query.vectors))

    def threshold(self, min_score: MinScore) -> float:
        """Returns the lowest score to keep; "auto": that of hits which are not unsure.

        Raises:
            InputError: it is to be found, and the library was not measured.
        """
        if min_score is None:
            return -math.inf
        if min_score != "auto":
            return min_score
        if self.calibration is None:
            raise InputError(
                'min_score="auto" needs to know how the pictures of this library score, which indexing '
                "measures: index once more",
                hint="virtue index",
            )
        return least_possible_score(self.calibration, len(self.query.vectors))


def among_regions(
    snapshot: Snapshot,
    query: EncodedQuery,
    find: Find,
    filter: RowFilter | None,
    named: frozenset[int],
    copies: Copies,
) -> RowSearch[RegionRecord]:
    ranking = snapshot.rank("regions", query.vectors, filter=filter, query_kind=query.kind)
    calibration = snapshot.score_distribution(find, query.kind, query.baseline)
    records = RankedRecords(ranking, snapshot.regions)
    return RowSearch(snapshot, "regions", query, calibration, filter, named, records, copies)


def regions_of(search: RowSearch[RegionRecord], photos: Iterable[int]) -> list[Scored[RegionRecord]]:
    """Returns all regions of these photos that match the filter, scored as the ranking scores them."""
    rows = search.snapshot.rows_of([*photos], search.filter)
    scores = np.minimum(search.snapshot.scores("regions", rows, search.query.vectors), 1)
    score_of = dict(zip(rows, scores.tolist(), strict=True))
    return [Scored(score_of[region.row], region) for region in search.snapshot.regions(rows)]


def among_captions(
    snapshot: Snapshot,
    query: EncodedQuery,
    filter: RowFilter | None,
    named: frozenset[int],
    copies: Copies,
) -> RowSearch[CaptionRecord]:
    ranking = snapshot.rank("captions", query.vectors, filter=filter, query_kind=query.kind)
    calibration = snapshot.score_distribution("captions", query.kind)
    records = RankedRecords(ranking, snapshot.captions)
    return RowSearch(snapshot, "captions", query, calibration, filter, named, records, copies)
