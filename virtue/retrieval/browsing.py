"""What matches a filter when nothing is asked: newest photos first, no scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from virtue.geometry import Box
from virtue.retrieval.hit import Hit, Kind
from virtue.retrieval.photo_facts import add_facts
from virtue.retrieval.search import Goal, check_options, nothing_indexed, row_filter
from virtue.store import CaptionRecord, RegionRecord, Store
from virtue.store.catalogue.filters import RowFilter


def browse(
    store: Store,
    where: str | Sequence[str],
    *,
    find: Goal,
    top: int,
    offset: int = 0,
    all_regions: bool = False,
) -> list[Hit]:
    """Returns what matches a filter, of the newest photos first: photos, or what `find` says. Nothing has a
    score, so it is 0.

    Raises:
        InputError: the filter cannot be read.
        EmptyLibraryError: nothing is indexed.
    """
    check_options(find, top, offset)
    if find == "auto" and all_regions:
        find = "regions"
    filter = row_filter(where, find) or RowFilter()
    with store.read() as snapshot:
        if snapshot.generation is None:
            raise nothing_indexed(store)
        if find == "captions":
            rows = snapshot.browse("captions", filter, True, offset, top)
            hits = [_hit("caption", caption) for caption in snapshot.captions(rows)]
        else:
            rows = snapshot.browse("regions", filter, all_regions, offset, top)
            kind: Kind = "region" if find == "regions" else "photo"
            hits = [_hit(kind, region) for region in snapshot.regions(rows)]
        hits = add_facts(snapshot, hits, filter.where)
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, offset + 1)]


def _hit(kind: Kind, record: RegionRecord | CaptionRecord) -> Hit:
    whole = Box(0, 0, record.width, record.height)
    return Hit(
        rank=0,
        score=0.0,
        raw_path=record.path,
        box=whole if kind == "photo" or record.box is None else record.box,
        width=record.width,
        height=record.height,
        kind=kind,
        caption=record.caption if isinstance(record, RegionRecord) else record.text,
        region_id=record.region_id,
        region_box=record.box,
        photo_id=record.photo_id,
    )
