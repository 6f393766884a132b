"""Captions of what looks like a picture: a face in a box finds the name of that face in other photos.

A model that compares pictures with words knows what a thing is, seldom which one. What was said of regions,
and of whole photos, that look alike says it. Only what is not unsure counts, and its score lies between the
model's `text_match` and 1, by its percentile: scores of pictures and of texts do not compare.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from virtue.retrieval.row_search import RowSearch
from virtue.retrieval.sureness_levels import POSSIBLE, is_possible, least_possible_score
from virtue.store import CaptionRecord, RegionRecord


class Pictured(NamedTuple):
    """A caption, and how much what it is about looks like the picture."""

    score: float
    percentile: float
    record: CaptionRecord


def find_pictured(
    regions: RowSearch[RegionRecord], captions: RowSearch[CaptionRecord], match: float, count: int
) -> list[Pictured]:
    """Returns the captions of the `count` captioned regions and photos that look most like the picture, best
    first; none if the library was not measured.

    Args:
        match: the model's `text_match`.
    """
    if regions.calibration is None:
        return []

    def key(region: RegionRecord) -> Hashable:
        is_described = region.is_full_image or region.origin not in ("whole", "proposal")
        return region.region_id if is_described and region.caption is not None else None

    least = least_possible_score(regions.calibration, len(regions.query.vectors))
    seen = {region.region_id: score for score, region in regions.records.best(key, count, least)}
    rows = regions.snapshot.caption_rows_of([*seen])
    pictured = []
    for caption in captions.records.join([*rows]):
        region = rows[caption.row]
        percentile = regions.percentile(seen[region])
        if percentile is not None and is_possible(percentile):
            score = match + (1 - match) * (percentile - POSSIBLE) / (100 - POSSIBLE)
            pictured.append((seen[region], Pictured(score, percentile, caption)))
    return [each for _, each in sorted(pictured, key=lambda pair: -pair[0])]
