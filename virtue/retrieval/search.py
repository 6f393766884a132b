"""A query against a store: rank, leave out what is not asked for, join."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from virtue.retrieval.checks import Goal, check_not_empty, check_options, choose_embedder, nothing_indexed
from virtue.retrieval.copies import Copies
from virtue.retrieval.distinct_regions import DistinctRegions
from virtue.retrieval.hit import Hit
from virtue.retrieval.hits_of_records import caption_hit, region_hit
from virtue.retrieval.literal import LiteralQuery
from virtue.retrieval.photo_facts import add_facts
from virtue.retrieval.pictured_captions import Pictured, find_pictured
from virtue.retrieval.query import Query
from virtue.retrieval.query_vectors import EncodedQuery, depends_on_find, encode_query, locate_part
from virtue.retrieval.ranked_records import Scored
from virtue.retrieval.reasons import Reason, Reasons, find_reasons, show_photo, show_reason
from virtue.retrieval.row_search import MinScore, RowSearch, among_captions, among_regions
from virtue.retrieval.shown_boxes import fit_boxes, is_left_out
from virtue.store import CaptionRecord, RegionRecord
from virtue.store.catalogue.filters import RowFilter, parse_optional
from virtue.store.records import Find

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Store

T = TypeVar("T")

LOG = logging.getLogger("virtue")

SLOW_SECONDS = 1.0
"""A search that takes longer is logged."""

ALWAYS_RANKED = 10
"""Hits that are ranked however few are wanted, so that one hit depends on the same as ten."""


def search(
    store: Store,
    embedder: Embedder,
    query: Any,
    *,
    find: Goal = "auto",
    top: int = 10,
    offset: int = 0,
    all_regions: bool = False,
    min_score: MinScore = None,
    where: str | Sequence[str] | None = None,
) -> list[Hit]:
    """Finds the best hits, best first: `top` of them if the library has them, after the first `offset`. One
    version of the library answers the whole query, whatever is written meanwhile.

    Args:
        query: a `Query`, or anything that `Query.of` takes.
        find: `"auto"`: each photo once. Asked for by words alone, it is judged by its best region, by its
            full image and by its captions (see `find_reasons`); by a picture, as with `"regions"`, and if
            nothing is marked in it by the full image too: the same picture comes first. `all_regions` makes
            it `"regions"`.
            `"regions"`: one of each photo, or with `all_regions` all; the full image counts only
            if it is its photo's only region. `"photos"`: a photo scores as its best region does; asked
            for by words alone, also as the best of its captions that say the same. `"captions"`: of photos
            and of regions.
            Photos that the query names by hits, and copies of them, are answers to no search but for
            captions.
        min_score: leave out what scores less; `"auto"`: what is unsure (see `Hit.sureness`).
        where: a filter that hits must match (docs/search.md), or several, all of them. A photo matches if
            one of its regions does, or for words a caption; among those its best is looked for.

    Raises:
        EmptyLibraryError: there is nothing of that kind to search.
        ModelMismatchError: the library's vectors are of another model than `embedder`.
        InputError: the query, the filter or an option cannot be used.
    """
    started = time.monotonic()
    query = Query.of(query)
    check_options(find, top, offset, min_score)
    if find == "auto" and all_regions:
        find = "regions"
    filter = row_filter(where, find)
    with store.read() as snapshot:
        generation = snapshot.generation
        if generation is None:
            raise nothing_indexed(store)
        embedder = choose_embedder(generation, embedder)
        stored = [part for part in (*query.parts, *query.without) if part.is_stored]
        copies = Copies(snapshot)
        liked = [locate_part(part, snapshot).photo_id for part in stored]
        named = frozenset(photo for own in liked for photo in (own, *copies.of(own)))

        def ask(find: Find) -> EncodedQuery:
            return encode_query(embedder, query, find, snapshot)

        page = _Page(offset, top)
        if find == "captions":
            told = among_captions(snapshot, ask("captions"), filter, named, copies)
            pictured: list[Pictured] = []
            if not query.is_text:
                regions = among_regions(snapshot, ask("regions"), "regions", filter, named, copies)
                pictured = find_pictured(regions, told, embedder.model.text_match, page.ranked)
            hits = _captions(told, pictured, page, min_score)
        elif find == "regions" or (find == "auto" and query.has_prompt):
            regions = among_regions(snapshot, ask("regions"), "regions", filter, named, copies)
            hits = _regions(regions, page, min_score, every=all_regions)
        else:
            of: Find = "photos" if find == "photos" or query.is_text else "regions"
            encoded = ask(of)
            regions = among_regions(snapshot, encoded, of, filter, named, copies)
            captions = literal = None
            if query.is_text:
                # Most models ask alike whatever is looked for.
                words = ask("captions") if depends_on_find(embedder, query) else encoded
                captions = among_captions(snapshot, words, filter, named, copies)
                literal = LiteralQuery(query) if find == "auto" else None
            match = embedder.model.text_match
            same = _find_same_picture(regions, embedder, query, page.ranked)
            found = page.cut(find_reasons(regions, captions, literal, match, page.ranked, min_score, same))
            hits = [show_photo(each) for each in found] if find == "photos" else _show(regions, found)
        if not hits:
            check_not_empty(snapshot, store, find)
        hits = add_facts(snapshot, hits, filter.where if filter else None)
        if find != "captions":
            hits = copies.add_to(hits)
    seconds = time.monotonic() - started
    if seconds > SLOW_SECONDS:
        kind = "text" if query.is_text else "image"
        LOG.warning("a search for %s by %s in %s took %.1f s", find, kind, store.name, seconds)
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, offset + 1)]


def row_filter(where: str | Sequence[str] | None, find: Goal) -> RowFilter | None:
    """Returns what rows must match; None: all may be found.

    Raises:
        InputError: the filter cannot be read.
    """
    parsed = parse_optional(where)
    return None if parsed is None else RowFilter(parsed, "single" if find == "regions" else "any")


# -- what can be found ------------------------------------------------------------------------------------


class _Page(NamedTuple):
    """The hits that are wanted of all that there are."""

    offset: int
    top: int

    def cut(self, hits: list[T]) -> list[T]:
        return hits[self.offset : self.offset + self.top]

    @property
    def ranked(self) -> int:
        """How many hits are ranked."""
        return max(self.offset + self.top, ALWAYS_RANKED)


def _regions(search: RowSearch[RegionRecord], page: _Page, min_score: MinScore, every: bool) -> list[Hit]:
    distinct = DistinctRegions()
    chosen: dict[Hashable, int] = {}

    def key(region: RegionRecord) -> Hashable:
        photo = None if is_left_out(region) else search.photo(region)
        if photo is None or not every:
            return photo
        # Of copies of one picture, the regions of the one that comes first.
        is_wanted = chosen.setdefault(photo, region.photo_id) == region.photo_id and distinct.admits(region)
        return region.region_id if is_wanted else None

    threshold = search.threshold(min_score)
    found = page.cut(search.records.best(key, page.ranked, threshold))
    if search.query.kind == "text" and not every:
        shown = fit_boxes(search, [region for _, region in found])
        found = [scored._replace(record=shown[scored.record.photo_id]) for scored in found]
    return [region_hit(score, search.percentile(score), region) for score, region in found]


def _find_same_picture(
    regions: RowSearch[RegionRecord], embedder: Embedder, query: Query, count: int
) -> list[Scored[RegionRecord]]:
    """Returns the full images that a query picture is nearly the same as, by its vector as a document.

    A model that asks otherwise than it stores scores even the picture itself far below 1.
    """
    if not query.is_one_picture or not embedder.is_asymmetric:
        return []
    document = EncodedQuery(embedder.encode(query.parts[0])[None], "image")
    whole = among_regions(regions.snapshot, document, "photos", regions.filter, regions.named, regions.copies)
    return whole.records.best(
        lambda region: (region.is_full_image and whole.photo(region)) or None, count, embedder.same_picture
    )


def _show(regions: RowSearch[RegionRecord], found: list[Reasons]) -> list[Hit]:
    """Shows photos by what they were found by; those found by a text, by the boxes that fit it best."""

    def seen(reason: Reason) -> RegionRecord | None:
        record = reason.record
        return record if reason.via == "picture" and isinstance(record, RegionRecord) else None

    if regions.query.kind == "text":
        shown = fit_boxes(regions, filter(None, (seen(each) for reasons in found for each in reasons)))
        found = [
            [each._replace(record=shown[each.record.photo_id]) if seen(each) else each for each in reasons]
            for reasons in found
        ]
    return [show_reason(reasons) for reasons in found]


def _captions(
    search: RowSearch[CaptionRecord], pictured: Sequence[Pictured], page: _Page, min_score: MinScore
) -> list[Hit]:
    """A caption that its photo has twice, from its metadata and from a sidecar file, counts once."""

    def key(caption: CaptionRecord) -> Hashable:
        if not search.query.may_mean(caption.text):
            return None
        return caption.photo_id, caption.region_id, caption.text

    threshold = search.threshold(min_score)
    hits = [
        caption_hit(score, search.percentile(score), caption)
        for score, caption in search.records.best(key, page.ranked, threshold)
    ]
    seen = [
        replace(caption_hit(score, percentile, caption), via=("picture",))
        for score, percentile, caption in pictured
        if min_score == "auto" or score >= threshold
    ]
    best: dict[Hashable, Hit] = {}
    for hit in sorted([*seen, *hits], key=lambda hit: -hit.score):
        best.setdefault((hit.photo_id, hit.region_id, hit.caption), hit)
    return page.cut([*best.values()])
