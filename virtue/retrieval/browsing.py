"""What matches a filter when nothing is asked: newest photos first, no scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from virtue.retrieval.checks import Goal, check_options, nothing_indexed
from virtue.retrieval.hit import Hit
from virtue.retrieval.hits_of_records import caption_hit, full_box, region_hit
from virtue.retrieval.photo_facts import add_facts
from virtue.retrieval.search import row_filter
from virtue.store import Store
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
            hits = [caption_hit(0.0, None, caption) for caption in snapshot.captions(rows)]
        else:
            rows = snapshot.browse("regions", filter, all_regions, offset, top)
            hits = [region_hit(0.0, None, region) for region in snapshot.regions(rows)]
            if find != "regions":
                hits = [replace(hit, kind="photo", box=full_box(hit)) for hit in hits]
        hits = add_facts(snapshot, hits, filter.where)
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, offset + 1)]
