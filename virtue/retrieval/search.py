"""A query against a store: rank, leave out what is not asked for, join."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal

from virtue.errors import DamagedError, EmptyLibraryError, InputError, ModelMismatchError
from virtue.geometry import Box
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Query
from virtue.retrieval.query_vectors import EncodedQuery, depends_on_find, encode_query, locate_part
from virtue.retrieval.ranked_records import RankedRecords, Record, Scored
from virtue.retrieval.threshold import LOOKED_AT, find_threshold
from virtue.store import CaptionRecord, Generation, RegionRecord
from virtue.store.catalogue.filters import RowFilter, parse
from virtue.store.records import FINDS, Find

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Snapshot, Store
    from virtue.store.calibration import ScoreDistribution

LOG = logging.getLogger("virtue")

SLOW_SECONDS = 1.0
"""A search that takes longer is logged."""

ROOMY = 0.4
"""Power of a region's share of its photo by which a text's score is weighed among the regions of one photo;
chosen so that the boxes shown hold the things asked for in the example photos. The photos found stay."""

MinScore = float | Literal["auto"] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Search(Generic[Record]):
    """A query among the rows of one kind.

    Attributes:
        calibration: how the library scores for such queries; None: it was not measured.
        filter: what hits must match.
        named: photos that the query names itself, and that do not come back as answers.
    """

    query: EncodedQuery
    calibration: ScoreDistribution | None
    filter: RowFilter | None
    named: frozenset[int]
    records: RankedRecords[Record]

    def percentile(self, score: float) -> float | None:
        if self.calibration is None:
            return None
        return 100 * self.calibration.share_below(score, len(self.query.vectors))

    def threshold(self, min_score: MinScore, best: Callable[[int], Sequence[Scored[Any]]]) -> float:
        """Returns the lowest score to keep. `best` returns so many hits, among which "auto" looks for it.

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
        return find_threshold([score for score, _ in best(LOOKED_AT)], self.calibration)


def search(
    store: Store,
    embedder: Embedder,
    query: Any,
    *,
    find: Find = "regions",
    top: int = 10,
    all_regions: bool = False,
    min_score: MinScore = None,
    where: str | Sequence[str] | None = None,
) -> list[Hit]:
    """Finds the best hits, best first: `top` of them if the library has them. One version of the library
    answers the whole query, whatever is written meanwhile.

    Args:
        query: a `Query`, or anything that `Query.of` takes.
        find: `"regions"`: one of each photo, or with `all_regions` all; the full image counts only
            if it is its photo's only region. `"photos"`: a photo scores as its best region does; asked
            for by words alone, as its best region or the best of its captions that say the same (see
            `_photos_by_text`). `"captions"`: of photos and of regions.
            Photos that the query names by hits are answers to no search for regions or photos.
        min_score: leave out what scores less; `"auto"`: less than what fits (see `find_threshold`).
        where: a filter that hits must match (docs/search.md), or several, all of them. A photo matches if
            one of its regions does, or for words a caption; among those its best is looked for.

    Raises:
        EmptyLibraryError: there is nothing of that kind to search.
        ModelMismatchError: the library's vectors are of another model than `embedder`.
        InputError: the query, the filter or an option cannot be used.
    """
    started = time.monotonic()
    query = Query.of(query)
    _check_options(find, top, min_score)
    filter = row_filter(where, find)
    with store.read() as snapshot:
        generation = snapshot.generation
        if generation is None:
            raise nothing_indexed(store)
        check_model(generation, embedder)
        encoded = encode_query(embedder, query, find, snapshot)
        stored = [part for part in (*query.parts, *query.without) if part.is_stored]
        named = frozenset(locate_part(part, snapshot).photo_id for part in stored)
        if find == "captions":
            hits = _captions(_among_captions(snapshot, encoded, filter, named), top, min_score)
        else:
            regions = _among_regions(snapshot, encoded, find, filter, named)
            if find == "regions":
                hits = _regions(snapshot, regions, top, min_score, all_regions)
            elif query.is_text:
                # Most models ask alike whatever is looked for.
                words = encoded
                if depends_on_find(embedder, query):
                    words = encode_query(embedder, query, "captions", snapshot)
                captions = _among_captions(snapshot, words, filter, named)
                hits = _photos_by_text(regions, captions, embedder.model.text_match, top, min_score)
            else:
                hits = _photos(regions, top, min_score)
        if not hits:
            _check_not_empty(snapshot, store, find)
    seconds = time.monotonic() - started
    if seconds > SLOW_SECONDS:
        LOG.warning("a search for %s by %s in %s took %.1f s", find, encoded.kind, store.folder, seconds)
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, 1)]


def row_filter(where: str | Sequence[str] | None, find: Find) -> RowFilter | None:
    """Returns what rows must match; None: all may be found.

    Raises:
        InputError: the filter cannot be read.
    """
    if where is None or (not isinstance(where, str) and not where):
        return None
    return RowFilter(parse(where), "single" if find == "regions" else "any")


def _among_regions(
    snapshot: Snapshot, query: EncodedQuery, find: Find, filter: RowFilter | None, named: frozenset[int]
) -> _Search[RegionRecord]:
    ranking = snapshot.rank("regions", query.vectors, filter=filter, query_kind=query.kind)
    calibration = snapshot.score_distribution(find, query.kind)
    return _Search(query, calibration, filter, named, RankedRecords(ranking, snapshot.regions))


def _among_captions(
    snapshot: Snapshot, query: EncodedQuery, filter: RowFilter | None, named: frozenset[int]
) -> _Search[CaptionRecord]:
    ranking = snapshot.rank("captions", query.vectors, filter=filter, query_kind=query.kind)
    calibration = snapshot.score_distribution("captions", query.kind)
    return _Search(query, calibration, filter, named, RankedRecords(ranking, snapshot.captions))


# -- the three things that can be found -----------------------------------------------------------------


def _regions(
    snapshot: Snapshot, search: _Search[RegionRecord], top: int, min_score: MinScore, every: bool
) -> list[Hit]:
    def key(region: RegionRecord) -> Hashable:
        if (region.is_full_image and not region.is_only_region) or region.photo_id in search.named:
            return None
        return region.region_id if every else region.photo_id

    def photo(region: RegionRecord) -> Hashable:
        return None if key(region) is None else region.photo_id

    threshold = search.threshold(min_score, lambda count: search.records.best(photo, count, -math.inf))
    found = search.records.best(key, top, threshold)
    if search.query.kind == "text" and not every:
        # Photos were judged by their best regions: which one is shown is another question.
        found = _roomiest(snapshot, search, found, -math.inf if min_score == "auto" else threshold)
    return [_with_percentile(_region_hit(*each), search) for each in found]


def _roomiest(
    snapshot: Snapshot, search: _Search[RegionRecord], found: list[Scored[RegionRecord]], threshold: float
) -> list[Scored[RegionRecord]]:
    """The same photos, each by the region that shows best what a text asks for: a paw says "dog" as well
    as the dog does, so that among the regions of one photo the larger is preferred (see `ROOMY`)."""
    rows = snapshot.rows_of([region.photo_id for _, region in found], search.filter)
    scores = snapshot.scores("regions", rows, search.query.vectors)
    score_of = {row: min(score, 1.0) for row, score in zip(rows, scores.tolist(), strict=True)}
    best = {region.photo_id: (0.0, Scored(score, region)) for score, region in found}
    for region in snapshot.regions(rows):
        score = score_of[region.row]
        if score < threshold or (region.is_full_image and not region.is_only_region):
            continue
        worth = score * (region.box.area / (region.width * region.height)) ** ROOMY
        if worth > best[region.photo_id][0]:
            best[region.photo_id] = (worth, Scored(score, region))
    return sorted((scored for _, scored in best.values()), key=lambda scored: -scored.score)


def _best_photos(
    search: _Search[RegionRecord], top: int, threshold: float = -math.inf
) -> list[Scored[RegionRecord]]:
    """The best region of each of the best photos."""

    def key(region: RegionRecord) -> Hashable:
        return None if region.photo_id in search.named else region.photo_id

    return search.records.best(key, top, threshold)


def _photos(search: _Search[RegionRecord], top: int, min_score: MinScore) -> list[Hit]:
    threshold = search.threshold(min_score, lambda count: _best_photos(search, count))
    return [_with_percentile(_photo_hit(*each), search) for each in _best_photos(search, top, threshold)]


def _captions(search: _Search[CaptionRecord], top: int, min_score: MinScore) -> list[Hit]:
    """A caption that its photo has twice, from its metadata and from a sidecar file, counts once."""

    def best(top: int, threshold: float = -math.inf) -> list[Scored[CaptionRecord]]:
        return search.records.best(lambda c: (c.photo_id, c.region_id, c.text), top, threshold)

    threshold = search.threshold(min_score, best)
    return [_with_percentile(_caption_hit(*each), search) for each in best(top, threshold)]


def _photos_by_text(
    regions: _Search[RegionRecord],
    captions: _Search[CaptionRecord],
    match: float,
    top: int,
    min_score: MinScore,
) -> list[Hit]:
    """Finds photos that show what a text asks for, or whose captions say it.

    Two rankings are made one by taking captions as further evidence beside regions: a photo's score
    is the best dot product that the query reaches with any of its regions or captions. A caption
    counts only from `match` on (the model's `text_match`: the two speak of one thing); below, likeness of
    words says less than the picture does, and a library with few captions would be flooded by them.

    Fusing by ranks (reciprocal rank fusion) was left aside: it forgets by how much the first is
    ahead, so that a caption which is the query word for word can lose to a photo that is second in
    both rankings, and its scores mean nothing to `min_score`. The best `top` of the fused ranking
    are among the best `top` of either, so that no more needs to be looked at.

    `via` is "both" where a caption matched and the picture alone would have been among the hits too.
    A `min_score` of "auto" cuts pictures at their own threshold, and keeps all captions that match: words
    agree better with words than pictures do, so that between the two there always is a gap.
    """
    threshold = regions.threshold(min_score, lambda count: _best_photos(regions, count))
    match = match if min_score == "auto" else max(match, threshold)

    def key(caption: CaptionRecord) -> Hashable:
        return None if caption.photo_id in captions.named else caption.photo_id

    seen = {found.record.photo_id: found for found in _best_photos(regions, top, threshold)}
    described = {found.record.photo_id: found for found in captions.records.best(key, top, match)}
    # Captions first: at the same score, words that say it go before a picture that seems to.
    hits = [_fuse(seen.get(id), described.get(id), regions, captions) for id in described | seen]
    return sorted(hits, key=lambda hit: hit.score, reverse=True)[:top]


def _fuse(
    seen: Scored[RegionRecord] | None,
    described: Scored[CaptionRecord] | None,
    regions: _Search[RegionRecord],
    captions: _Search[CaptionRecord],
) -> Hit:
    """A photo by its best region, by its best caption, or by both; at least one is given."""
    if described is None:
        assert seen is not None
        return _with_percentile(_photo_hit(*seen), regions)
    caption = replace(_caption_hit(*described), kind="photo", box=_full_box(described.record))
    hit = _with_percentile(caption, captions)
    if seen is None:
        return hit
    score, region = seen
    hit = replace(hit, region_id=region.region_id, region_box=region.box, via="both")
    return hit if hit.score >= score else _with_percentile(replace(hit, score=score), regions)


# -- hits -------------------------------------------------------------------------------------------------


def _with_percentile(hit: Hit, search: _Search[Any]) -> Hit:
    return replace(hit, percentile=search.percentile(hit.score))


def _region_hit(score: float, region: RegionRecord) -> Hit:
    return Hit(
        rank=0,
        score=score,
        raw_path=region.path,
        box=region.box,
        width=region.width,
        height=region.height,
        kind="region",
        caption=region.caption,
        region_id=region.region_id,
        region_box=region.box,
        photo_id=region.photo_id,
    )


def _photo_hit(score: float, region: RegionRecord) -> Hit:
    return replace(_region_hit(score, region), kind="photo", box=_full_box(region))


def _caption_hit(score: float, caption: CaptionRecord) -> Hit:
    return Hit(
        rank=0,
        score=score,
        raw_path=caption.path,
        box=caption.box or _full_box(caption),
        width=caption.width,
        height=caption.height,
        kind="caption",
        caption=caption.text,
        region_id=caption.region_id,
        region_box=caption.box,
        photo_id=caption.photo_id,
        via="caption",
    )


def _full_box(record: RegionRecord | CaptionRecord) -> Box:
    return Box(0, 0, record.width, record.height)


# -- what can be wrong ------------------------------------------------------------------------------------


def _check_options(find: str, top: int, min_score: MinScore) -> None:
    if find not in FINDS:
        raise InputError(f"cannot find {find!r}: choose one of {', '.join(FINDS)}")
    if top < 1:
        raise InputError(f"top must be at least 1, not {top}")
    if isinstance(min_score, str) and min_score != "auto":
        raise InputError(f"the lowest score must be a number or auto, not {min_score!r}")
    if isinstance(min_score, float) and math.isnan(min_score):
        raise InputError("the lowest score must be a number, or auto")


def check_model(generation: Generation, embedder: Embedder) -> None:
    if generation.fingerprint == embedder.fingerprint:
        if generation.dim != embedder.dim:
            raise DamagedError(
                f"the library says that vectors of its model have {generation.dim} dimensions, and they have "
                f"{embedder.dim}: it was tampered with"
            )
        return
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


def _check_not_empty(snapshot: Snapshot, store: Store, find: Find) -> None:
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
