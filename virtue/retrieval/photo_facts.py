"""What hits tell of their photos, and which of a photo's paths they show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from virtue.retrieval.hit import Hit
from virtue.store import Snapshot
from virtue.store.catalogue.filters import Filter, path_fits
from virtue.store.records import PhotoFacts


def add_facts(snapshot: Snapshot, hits: Iterable[Hit], filter: Filter | None) -> list[Hit]:
    """Returns the hits with date, camera, rating, tags and all paths of their photos. The path shown is the
    first that fits the filter, if it says something of paths."""
    hits = list(hits)
    known = snapshot.facts({hit.photo_id for hit in hits})
    return [_add(hit, known, filter) for hit in hits]


def _add(hit: Hit, known: dict[int, PhotoFacts], filter: Filter | None) -> Hit:
    taken, camera, rating, tags, paths = known[hit.photo_id]
    shown = hit.raw_path
    if filter is not None and len(paths) > 1:
        shown = next((path for path in paths if path_fits(filter, path)), shown)
    return replace(
        hit,
        raw_path=shown,
        taken=taken,
        camera=camera,
        rating=rating,
        tags=tags,
        raw_other_paths=tuple(path for path in paths if path != shown),
    )
