"""Which region of a photo is shown for a text: that choice changes neither score nor rank."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from virtue.retrieval.ranked_records import Scored
from virtue.retrieval.row_search import RowSearch, regions_of
from virtue.store import RegionRecord

ROOMY = 0.4
"""Power of a region's share of its photo by which a text's score is weighed among the regions of a photo in
which no detector looked for things; chosen so that the boxes shown hold the things asked for in the example
photos."""
ROOM, DETECTED, OBJECTNESS = 0.016, 0.2, 0.3
"""What is added to a text's score where a detector looked: so much times the logarithm of a region's share of
its photo, so much for a region in which it found a thing, and so much times the objectness. Chosen on half of
the boxes of `virtue.evaluation.boxes`."""
WHOLE = 0.008
"""By how much a full image has to score better than the box that fits best to be shown in its place."""


def is_left_out(region: RegionRecord) -> bool:
    """Returns whether a region does not count where regions are looked for: a full image beside others."""
    return region.is_full_image and not region.is_only_region


def fit_boxes(search: RowSearch[RegionRecord], best: Iterable[RegionRecord]) -> dict[int, RegionRecord]:
    """Returns for each photo the region that shows best what a text asks for. The best row need not be that:
    a paw says "dog" as well as the dog does, and windows differ by little more than noise. So a larger box is
    preferred to a smaller one, and one around a thing that a detector found to any other.

    Args:
        best: the regions that photos were judged by.
    """
    judged = {region.photo_id: region for region in best}
    regions: dict[int, list[Scored[RegionRecord]]] = {photo: [] for photo in judged}
    for scored in regions_of(search, judged):
        regions[scored.record.photo_id].append(scored)
    return {photo: _fit_box(judged[photo], some) for photo, some in regions.items()}


def _fit_box(best: RegionRecord, regions: Sequence[Scored[RegionRecord]]) -> RegionRecord:
    """Returns the region of a photo that fits; the full image, if `best` is that, need not stay."""
    has_things = any(region.objectness is not None for _, region in regions)

    def worth(scored: Scored[RegionRecord]) -> float:
        score, region = scored
        share = region.box.area / (region.width * region.height)
        if not has_things:
            return score * share**ROOMY
        sure = region.objectness
        return score + ROOM * math.log(share) + (0 if sure is None else DETECTED + OBJECTNESS * sure)

    boxes = [scored for scored in regions if not is_left_out(scored.record)]
    if not boxes or (is_left_out(best) and not has_things):
        return best
    fitting = max(boxes, key=worth)
    if fitting.score <= 0 and not has_things:
        return best
    if is_left_out(best):
        score = next(score for score, region in regions if region.row == best.row)
        return best if score > fitting.score + WHOLE else fitting.record
    return fitting.record
