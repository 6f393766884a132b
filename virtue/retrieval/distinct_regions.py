"""Regions of one photo that do not show the same thing: for searches that give several of a photo."""

from __future__ import annotations

from virtue.geometry import Box
from virtue.store import RegionRecord

MAX_OVERLAP = 0.4
"""Intersection over union with a better region from which on a region shows the same thing."""
INSIDE, LARGER = 0.8, 4.0
"""The same if so much of the smaller one lies in the other, unless that is so many times larger: a box around
many things does not stand for each of them."""


class DistinctRegions:
    """Regions as they come, the best first, and which of them show something that none before shows."""

    def __init__(self) -> None:
        self._kept: dict[int, list[Box]] = {}
        self._known: dict[int, bool] = {}

    def admits(self, region: RegionRecord) -> bool:
        """Returns whether no better region of its photo shows the same; for each region always the same."""
        if region.region_id not in self._known:
            kept = self._kept.setdefault(region.photo_id, [])
            is_new = not any(_show_the_same(region.box, better) for better in kept)
            if is_new:
                kept.append(region.box)
            self._known[region.region_id] = is_new
        return self._known[region.region_id]


def _show_the_same(one: Box, other: Box) -> bool:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(width, 0) * max(height, 0)
    smaller, larger = sorted((one.area, other.area))
    is_inside = shared >= INSIDE * smaller and larger <= LARGER * smaller
    return is_inside or shared >= MAX_OVERLAP * (smaller + larger - shared)
