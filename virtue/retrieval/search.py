"""A query against a store: rank, leave out what is not asked for, join."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

from virtue.errors import DamagedError, EmptyLibraryError, InputError, ModelMismatchError
from virtue.retrieval.copies import Copies
from virtue.retrieval.distinct_regions import DistinctRegions
from virtue.retrieval.hit import Hit
from virtue.retrieval.hits_of_records import caption_hit, region_hit
from virtue.retrieval.literal import LiteralQuery
from virtue.retrieval.photo_facts import add_facts
from virtue.retrieval.query import Query
from virtue.retrieval.query_vectors import EncodedQuery, depends_on_find, encode_query, locate_part
from virtue.retrieval.ranked_records import Scored
from virtue.retrieval.reasons import Reason, Reasons, find_reasons, show_photo, show_reason
from virtue.retrieval.row_search import MinScore, RowSearch, among_captions, among_regions, regions_of
from virtue.store import CaptionRecord, Generation, RegionRecord
from virtue.store.catalogue.filters import RowFilter, parse_optional
from virtue.store.records import Find
from virtue.whole_numbers import read_whole

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Snapshot, Store

T = TypeVar("T")

LOG = logging.getLogger("virtue")

SLOW_SECONDS = 1.0
"""A search that takes longer is logged."""

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
ALWAYS_RANKED = 10
"""Hits that are ranked however few are wanted, so that one hit depends on the same as ten."""

Goal = Literal["auto", "regions", "photos", "captions"]
"""What a search finds."""
GOALS: tuple[Goal, ...] = get_args(Goal)


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
            hits = _captions(
                among_captions(snapshot, ask("captions"), filter, named, copies), page, min_score
            )
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
            _check_not_empty(snapshot, store, find)
        hits = add_facts(snapshot, hits, filter.where if filter else None)
        if find != "captions":
            hits = copies.add_to(hits)
    seconds = time.monotonic() - started
    if seconds > SLOW_SECONDS:
        kind = "text" if query.is_text else "image"
        LOG.warning("a search for %s by %s in %s took %.1f s", find, kind, store.folder, seconds)
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
        photo = None if _is_left_out(region) else search.photo(region)
        if photo is None or not every:
            return photo
        # Of copies of one picture, the regions of the one that comes first.
        is_wanted = chosen.setdefault(photo, region.photo_id) == region.photo_id and distinct.admits(region)
        return region.region_id if is_wanted else None

    threshold = search.threshold(min_score)
    found = page.cut(search.records.best(key, page.ranked, threshold))
    if search.query.kind == "text" and not every:
        shown = _fit_boxes(search, [region for _, region in found])
        found = [scored._replace(record=shown[scored.record.photo_id]) for scored in found]
    return [region_hit(score, search.percentile(score), region) for score, region in found]


def _is_left_out(region: RegionRecord) -> bool:
    """Returns whether a region does not count where regions are looked for: a full image beside others."""
    return region.is_full_image and not region.is_only_region


def _fit_boxes(search: RowSearch[RegionRecord], best: Iterable[RegionRecord]) -> dict[int, RegionRecord]:
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

    boxes = [scored for scored in regions if not _is_left_out(scored.record)]
    if not boxes or (_is_left_out(best) and not has_things):
        return best
    fitting = max(boxes, key=worth)
    if fitting.score <= 0 and not has_things:
        return best
    if _is_left_out(best):
        score = next(score for score, region in regions if region.row == best.row)
        return best if score > fitting.score + WHOLE else fitting.record
    return fitting.record


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
        shown = _fit_boxes(regions, filter(None, (seen(each) for reasons in found for each in reasons)))
        found = [
            [each._replace(record=shown[each.record.photo_id]) if seen(each) else each for each in reasons]
            for reasons in found
        ]
    return [show_reason(reasons) for reasons in found]


def _captions(search: RowSearch[CaptionRecord], page: _Page, min_score: MinScore) -> list[Hit]:
    """A caption that its photo has twice, from its metadata and from a sidecar file, counts once."""

    def key(caption: CaptionRecord) -> Hashable:
        if not search.query.may_mean(caption.text):
            return None
        return caption.photo_id, caption.region_id, caption.text

    threshold = search.threshold(min_score)
    found = page.cut(search.records.best(key, page.ranked, threshold))
    return [caption_hit(score, search.percentile(score), caption) for score, caption in found]


# -- what can be wrong ------------------------------------------------------------------------------------


def check_options(find: str, top: int, offset: int, min_score: MinScore = None) -> None:
    """Raises InputError for an option that cannot be."""
    if find not in GOALS:
        raise InputError(f"cannot find {find!r}: choose one of {', '.join(GOALS)}")
    read_whole("top", top, 1)
    read_whole("offset", offset, 0)
    if min_score not in (None, "auto") and not (isinstance(min_score, Real) and min_score == min_score):
        raise InputError(f"the lowest score must be a number, or auto, not {min_score!r}")


def choose_embedder(generation: Generation, embedder: Embedder) -> Embedder:
    """Returns what makes queries for these vectors: the embedder, or what its model has for vectors of an
    earlier version.

    Raises:
        ModelMismatchError: the vectors are of another model.
        DamagedError: they are not as long as those of their model.
    """
    chosen = embedder.for_rows(generation.fingerprint)
    if chosen is not None:
        if generation.dim != chosen.dim:
            raise DamagedError(
                f"the library says that vectors of its model have {generation.dim} dimensions, and they have "
                f"{chosen.dim}: it was tampered with"
            )
        return chosen
    if generation.model == embedder.name:
        raise ModelMismatchError(
            f"this library was made with another version of the model {generation.model}: embed its photos "
            "again",
            hint="virtue reindex",
        )
    raise ModelMismatchError(
        f"this library was made with the model {generation.model}, not with {embedder.name}: search it "
        "with that one, or embed its photos again with this one",
        hint=f"virtue reindex --model {embedder.name}",
    )


def _check_not_empty(snapshot: Snapshot, store: Store, find: Goal) -> None:
    counts = snapshot.counts()
    if not counts.regions:
        raise nothing_indexed(store)
    if find == "captions" and not counts.captions:
        raise EmptyLibraryError(
            "no photo in this library has a caption: put words into photo.txt beside photo.jpg, into the "
            "photo's metadata, or into a file of captions, and index again",
            hint="virtue index --captions FILE",
        )


def nothing_indexed(store: Store) -> EmptyLibraryError:
    return EmptyLibraryError(
        f"nothing is indexed in the library {store.folder}: index a folder of photos",
        hint="virtue index FOLDER",
    )
