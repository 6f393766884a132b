"""A query against a store: scan, leave out what is not asked for, join, rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from virtue.errors import EmptyLibraryError, InputError, ModelMismatchError
from virtue.geometry import Box
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Query
from virtue.retrieval.query_vectors import location_of, query_vectors
from virtue.retrieval.threshold import LOOKED_AT, lowest_kept
from virtue.store import CaptionRecord, Generation, Ranked, RegionRecord
from virtue.store.records import Find, Kind, QueryKind

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Snapshot, Store
    from virtue.store.calibration import ScoreDistribution

FIRST, WIDER = 4, 4
"""Rows scanned for each hit at first (a photo has many regions that look alike, of which one is
taken), and by how much more when too few hits came out of them."""

ROOMY = 0.4
"""Power of a region's share of its photo by which a text's score is weighed among the regions of one photo;
chosen so that the boxes shown hold the things asked for in the example photos. The photos found stay."""

MinScore = float | Literal["auto"] | None

Record = TypeVar("Record", RegionRecord, CaptionRecord)


class Scored(NamedTuple, Generic[Record]):
    score: float
    record: Record


class Asked(NamedTuple):
    """A query as the store takes it: (k, dim) float32 vectors, and what they were made from."""

    vectors: np.ndarray
    kind: QueryKind
    usual: ScoreDistribution | None
    """How the library scores for such queries."""
    given: frozenset[int]
    """Photos that the query names itself, and that do not come back as answers."""
    filters: tuple[str, ...]
    """What hits must fit, all of it."""
    wholes: bool
    """Whether whole photos count among regions even if they have others."""

    def percentile(self, score: float) -> float | None:
        return None if self.usual is None else 100 * self.usual.share_below(score, len(self.vectors))

    def floor(self, min_score: MinScore, best: Callable[[], Sequence[Scored[Any]]]) -> float:
        """Returns the lowest score to keep. `best` returns the hits in whose scores the gap is looked for.

        Raises:
            InputError: it is to be found, and the library was not measured.
        """
        if min_score is None:
            return -math.inf
        if min_score != "auto":
            return min_score
        if self.usual is None:
            raise InputError(
                "this library does not know yet how its pictures score, which `--min-score auto` "
                "goes by: run `virtue index` once"
            )
        return lowest_kept([score for score, _ in best()], self.usual)

    def search(self, snapshot: Snapshot, kind: Kind, depth: int) -> Ranked:
        return snapshot.search(kind, self.vectors, depth, self.allowed(snapshot, kind), query_kind=self.kind)

    def allowed(self, snapshot: Snapshot, kind: Kind) -> np.ndarray | None:
        """Returns which rows may appear, (count of rows,) bool; None: all."""
        return snapshot.allowed(kind, self.filters, wholes=self.wholes) if self.filters else None


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
        find: `"regions"`: one of each photo, or with `all_regions` all; the whole photo counts only
            if it is its photo's only region. `"photos"`: a photo scores as its best region does; asked
            for by words alone, as its best region or the best of its captions that say the same (see
            `_photos_by_text`). `"captions"`: of photos and of regions.
            Photos that the query names by hits are answers to no search for regions or photos.
        min_score: leave out what scores less; `"auto"`: less than what fits (see `gap.lowest_kept`).
        where: a filter that hits must fit (docs/search.md), or several, all of them. A photo fits if one
            of its regions does, or for words a caption; among those its best is looked for.

    Raises:
        EmptyLibraryError: there is nothing of that kind to search.
        ModelMismatchError: the library's vectors are of another model than `embedder`.
        InputError: the query, the filter or an option cannot be used.
    """
    query = Query.of(query)
    filters = (where,) if isinstance(where, str) else tuple(where or ())
    _check_options(find, top, min_score, filters)
    with store.read() as snapshot:
        generation = snapshot.generation
        if generation is None:
            raise nothing_indexed(store)
        check_model(generation, embedder)
        asked = _asked(snapshot, embedder, query, find, filters)
        if find == "captions":
            floor = asked.floor(min_score, lambda: _best_captions(snapshot, asked, LOOKED_AT))
            captions = _best_captions(snapshot, asked, top, floor)
            hits = [_placed(_caption_hit(*found), asked) for found in captions]
        elif find == "photos" and query.is_text:
            said = _asked(snapshot, embedder, query, "captions", filters)
            hits = _photos_by_text(snapshot, asked, said, embedder.model.text_match, top, min_score)
        elif find == "photos":
            floor = asked.floor(min_score, lambda: _best_photos(snapshot, asked, LOOKED_AT))
            photos = _best_photos(snapshot, asked, top, floor)
            hits = [_placed(_photo_hit(*found), asked) for found in photos]
        else:
            floor = asked.floor(min_score, lambda: _best_regions(snapshot, asked, LOOKED_AT))
            regions = _best_regions(snapshot, asked, top, floor, every=all_regions)
            if query.is_text and not all_regions:
                # Photos were judged by their best regions: which one is shown is another question.
                regions = _roomiest(snapshot, asked, regions, -math.inf if min_score == "auto" else floor)
            hits = [_placed(_region_hit(*found), asked) for found in regions]
        if not hits:
            _check_not_empty(snapshot, store, find)
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, 1)]


def _asked(
    snapshot: Snapshot, embedder: Embedder, query: Query, find: Find, filters: tuple[str, ...]
) -> Asked:
    kind: QueryKind = "text" if query.is_text else "image"
    vectors = query_vectors(embedder, query, find, snapshot)
    stored = [part for part in (*query.parts, *query.without) if part.is_stored]
    given = frozenset(location_of(part, snapshot).photo_id for part in stored)
    usual = snapshot.score_distribution(find, kind)
    return Asked(vectors, kind, usual, given, filters, wholes=find != "regions")


def _placed(hit: Hit, asked: Asked) -> Hit:
    return replace(hit, percentile=asked.percentile(hit.score))


# -- the three things that can be found -----------------------------------------------------------------


def _best_regions(
    snapshot: Snapshot, asked: Asked, top: int, floor: float = -math.inf, *, every: bool = False
) -> list[Scored[RegionRecord]]:
    def key(region: RegionRecord) -> Hashable:
        if (region.is_full_image and not region.is_only_region) or region.photo_id in asked.given:
            return None
        return region.region_id if every else region.photo_id

    return _best(lambda depth: asked.search(snapshot, "regions", depth), snapshot.regions, key, top, floor)


def _roomiest(
    snapshot: Snapshot, asked: Asked, found: list[Scored[RegionRecord]], floor: float
) -> list[Scored[RegionRecord]]:
    """The same photos, each by the region that shows best what a text asks for: a paw says "dog" as well
    as the dog does, so that among the regions of one photo the larger is preferred (see `ROOMY`)."""
    rows = snapshot.rows_of([region.photo_id for _, region in found])
    allowed = asked.allowed(snapshot, "regions")
    rows = rows if allowed is None else rows[allowed[rows]]
    scores = np.minimum(
        (snapshot.vectors("regions")[rows].astype(np.float32) @ asked.vectors.T).max(axis=1), 1
    )
    score_of = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    best = {region.photo_id: (0.0, Scored(score, region)) for score, region in found}
    for region in snapshot.regions(rows):
        score = score_of[region.row]
        if score < floor or (region.is_full_image and not region.is_only_region):
            continue
        worth = score * (region.box.area / (region.width * region.height)) ** ROOMY
        if worth > best[region.photo_id][0]:
            best[region.photo_id] = (worth, Scored(score, region))
    return sorted((scored for _, scored in best.values()), key=lambda scored: -scored.score)


def _best_photos(
    snapshot: Snapshot, asked: Asked, top: int, floor: float = -math.inf
) -> list[Scored[RegionRecord]]:
    """The best region of each of the best photos."""

    def key(region: RegionRecord) -> Hashable:
        return None if region.photo_id in asked.given else region.photo_id

    return _best(lambda depth: asked.search(snapshot, "regions", depth), snapshot.regions, key, top, floor)


def _best_captions(
    snapshot: Snapshot, asked: Asked, top: int, floor: float = -math.inf, *, one_a_photo: bool = False
) -> list[Scored[CaptionRecord]]:
    """A caption that its photo has twice, from its metadata and from a sidecar file, counts once."""

    def key(caption: CaptionRecord) -> Hashable:
        if not one_a_photo:
            return (caption.photo_id, caption.region_id, caption.text)
        return None if caption.photo_id in asked.given else caption.photo_id

    return _best(lambda depth: asked.search(snapshot, "captions", depth), snapshot.captions, key, top, floor)


def _photos_by_text(
    snapshot: Snapshot, asked: Asked, said: Asked, match: float, top: int, min_score: MinScore
) -> list[Hit]:
    """Photos that show what a text asks for, or that a caption says it of.

    Two rankings are made one by taking captions as further evidence beside regions: a photo's score
    is the best dot product that the query reaches with any of its regions or captions. A caption
    counts only from `match` on (the model's `text_match`: the two speak of one thing); below, likeness of
    words says less than the picture does, and a library with few captions would be flooded by them.

    Fusing by ranks (reciprocal rank fusion) was left aside: it forgets by how much the first is
    ahead, so that a caption which is the query word for word can lose to a photo that is second in
    both rankings, and its scores mean nothing to `--min-score`. The best `top` of the fused ranking
    are among the best `top` of either, so that no more needs to be looked at.

    `via` is "both" where a caption matched and the picture alone would have been among the hits too.
    A `min_score` of "auto" cuts pictures at their own gap, and keeps all captions that match: words agree
    better with words than pictures do, so that between the two there always is a gap.
    """
    floor = asked.floor(min_score, lambda: _best_photos(snapshot, asked, LOOKED_AT))
    match = match if min_score == "auto" else max(match, floor)
    seen = _best_photos(snapshot, asked, top, floor)
    told = _best_captions(snapshot, said, top, match, one_a_photo=True)
    pictures = {found.record.photo_id: found for found in seen}
    captions = {found.record.photo_id: found for found in told}
    # Captions first: at the same score, words that say it go before a picture that seems to.
    hits = [_fused(pictures.get(photo), captions.get(photo), asked, said) for photo in captions | pictures]
    return sorted(hits, key=lambda hit: hit.score, reverse=True)[:top]


def _fused(
    seen: Scored[RegionRecord] | None, told: Scored[CaptionRecord] | None, asked: Asked, said: Asked
) -> Hit:
    """A photo by its best region, by its best caption, or by both; at least one is given."""
    if told is None:
        assert seen is not None
        return _placed(_photo_hit(*seen), asked)
    hit = _placed(replace(_caption_hit(*told), kind="photo", box=_whole(told.record)), said)
    if seen is None:
        return hit
    score, region = seen
    hit = replace(hit, region_id=region.region_id, region_box=region.box, via="both")
    return hit if hit.score >= score else _placed(replace(hit, score=score), asked)


# -- ranking ----------------------------------------------------------------------------------------------


def _best(
    scan: Callable[[int], Ranked],
    join: Callable[[np.ndarray], Sequence[Record]],
    key: Callable[[Record], Hashable],
    top: int,
    floor: float,
) -> list[Scored[Record]]:
    """The best record of each key (None: not wanted), best first, from a scan that is widened until
    `top` are found or the rows have run out."""
    depth = FIRST * top
    while True:
        ranked = scan(depth)
        above = int(np.count_nonzero(ranked.scores.astype(float) >= floor))
        rows, scores = ranked.rows[:above], ranked.scores[:above]
        best: dict[Hashable, Scored[Record]] = {}
        # Rows are kept in half precision, which may round a perfect match up.
        score_of = dict(zip(rows.tolist(), np.minimum(scores, 1).tolist(), strict=True))
        for record in join(rows) if above else ():
            best.setdefault(key(record), Scored(score_of[record.row], record))
        best.pop(None, None)
        if len(best) >= top or above < depth:
            return list(best.values())[:top]
        depth *= WIDER


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
    return replace(_region_hit(score, region), kind="photo", box=_whole(region))


def _caption_hit(score: float, caption: CaptionRecord) -> Hit:
    return Hit(
        rank=0,
        score=score,
        raw_path=caption.path,
        box=caption.box or _whole(caption),
        width=caption.width,
        height=caption.height,
        kind="caption",
        caption=caption.text,
        region_id=caption.region_id,
        region_box=caption.box,
        photo_id=caption.photo_id,
        via="caption",
    )


def _whole(record: RegionRecord | CaptionRecord) -> Box:
    return Box(0, 0, record.width, record.height)


# -- what can be wrong ------------------------------------------------------------------------------------


def _check_options(find: str, top: int, min_score: MinScore, filters: tuple[str, ...]) -> None:
    from virtue.embedder.model import Find

    if find not in get_args(Find):
        raise InputError(f"cannot find {find!r}: choose one of {', '.join(get_args(Find))}")
    if top < 1:
        raise InputError(f"top must be at least 1, not {top}")
    if isinstance(min_score, str) and min_score != "auto":
        raise InputError(f"the lowest score must be a number or auto, not {min_score!r}")
    if isinstance(min_score, float) and math.isnan(min_score):
        raise InputError("the lowest score must be a number, or auto")
    if filters:
        from virtue.store.catalogue.filters import parse

        parse(filters)


def check_model(generation: Generation, embedder: Embedder) -> None:
    if generation.fingerprint == embedder.fingerprint:
        return
    if generation.model == embedder.name:
        raise ModelMismatchError(
            f"this library was made with another version of the model {generation.model}: "
            "embed its photos again with `virtue reindex`"
        )
    raise ModelMismatchError(
        f"this library was made with the model {generation.model}, not with {embedder.name}: search it "
        f"with that one, or embed its photos again with `virtue reindex --model {embedder.name}`"
    )


def _check_not_empty(snapshot: Snapshot, store: Store, find: Find) -> None:
    counts = snapshot.counts()
    if not counts.regions:
        raise nothing_indexed(store)
    if find == "captions" and not counts.captions:
        raise EmptyLibraryError(
            "no photo in this library has a caption: put words into photo.txt beside photo.jpg, into the "
            "photo's metadata, or into a file for `virtue index --captions FILE`, and index again"
        )


def nothing_indexed(store: Store) -> EmptyLibraryError:
    return EmptyLibraryError(
        f"nothing is indexed in the library {store.folder}: fill it with `virtue index FOLDER`"
    )
