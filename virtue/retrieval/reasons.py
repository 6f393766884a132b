"""Why a photo answers words: what its picture shows, and what is said about it.

Several rankings are made one by taking what is said as further evidence beside regions: a photo's score is
that of its best reason. A caption counts only from the model's `text_match` on (the two speak of one thing);
below, likeness of words says less than the picture does, and a library with few captions would be flooded by
them. Text that was read in photos must be nearer, since there is much of it and little is about what a photo
shows; what it mentions in passing comes behind the pictures that show it, if some do.

Fusing by ranks (reciprocal rank fusion) was left aside: it forgets by how much the first is ahead, so that a
caption which is the query word for word can lose to a photo that is second in both rankings, and its scores
mean nothing to `min_score`. The best photos of the fused ranking are among the best of either, so that no
more needs to be looked at.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from virtue.retrieval.hit import Hit, Via
from virtue.retrieval.hits_of_records import caption_hit, full_box, region_hit
from virtue.retrieval.literal import HOLDS_ALL, LiteralQuery
from virtue.retrieval.ranked_records import Scored
from virtue.retrieval.row_search import MinScore, RowSearch, regions_of
from virtue.retrieval.sureness_levels import is_possible
from virtue.store import CaptionRecord, RegionRecord

NEARLY_BEST = 0.8
"""A picture is a further reason for a photo from this share of the best picture's score on, if that is above
0."""
READ = 0.3
"""Share of the way from `match` to 1 from which on text that was read means what is asked for."""
SAID: tuple[Via, ...] = ("caption", "ocr")
ROUNDING = 1e-6


class Reason(NamedTuple):
    """Why a photo is found: by what, how well, and what it was that scored."""

    via: Via
    score: float
    percentile: float | None
    record: RegionRecord | CaptionRecord


Reasons = list[Reason]
"""Those of one photo, the strongest first."""


def find_reasons(
    regions: RowSearch[RegionRecord],
    captions: RowSearch[CaptionRecord] | None,
    literal: LiteralQuery | None,
    match: float,
    count: int,
    min_score: MinScore,
    same: Sequence[Scored[RegionRecord]] = (),
) -> list[Reasons]:
    """Returns why each of the best `count` photos is found, the best photo first. Without captions, each has
    its picture as its only reason.

    A `min_score` of "auto" cuts pictures at their own threshold, and keeps all captions that match: words
    agree better with words than pictures do, so that between the two there always is a gap.

    Args:
        literal: the words to look for letter for letter; None: by meaning alone.
        match: the model's `text_match`.
        same: full images that a query picture is the same as, with better scores than `regions` has.
    """
    threshold = regions.threshold(min_score)
    least = -math.inf if min_score == "auto" else threshold
    found: dict[int, Reasons] = {}
    pictures = _merge(same, regions.best_photos(count, threshold))
    best = pictures[0].score if pictures else 0
    near = max(NEARLY_BEST * best, threshold) if best > 0 else math.inf
    # What is said first: at the same score, words that say it go before a picture that seems to.
    if captions is not None:
        most_in_passing = near if is_possible(regions.percentile(best)) else math.inf
        for said in _find_said(regions, captions, literal, match, count, most_in_passing):
            photo = captions.copies.first(said.record.photo_id)
            if said.score >= least and said.record.photo_id not in captions.named:
                _add(found.setdefault(photo, []), said)
    for score, region in pictures:
        reasons = found.setdefault(regions.copies.first(region.photo_id), [])
        if score >= near or all(other.score < score for other in reasons):
            reasons.append(Reason("picture", score, regions.percentile(score), region))
    for reasons in found.values():
        reasons.sort(key=_rank)
        # Of copies of one picture, the one that answers best stands for all.
        shown = reasons[0].record.photo_id
        reasons[:] = [reason for reason in reasons if reason.record.photo_id == shown]
    ranked = sorted(found.values(), key=lambda reasons: _rank(reasons[0]))[:count]
    _add_pictures(ranked, regions, near)
    return ranked


def _merge(
    same: Sequence[Scored[RegionRecord]], seen: Sequence[Scored[RegionRecord]]
) -> list[Scored[RegionRecord]]:
    """Each photo by the better of its records, the best first."""
    best: dict[int, Scored[RegionRecord]] = {}
    for scored in sorted([*same, *seen], key=lambda scored: -scored.score):
        best.setdefault(scored.record.photo_id, scored)
    return list(best.values())


def _find_said(
    regions: RowSearch[RegionRecord],
    captions: RowSearch[CaptionRecord],
    literal: LiteralQuery | None,
    match: float,
    count: int,
    most_in_passing: float,
) -> Iterator[Reason]:
    """Yields what is said about photos, and what was read in them: what means it, what holds its words, and
    names that do."""
    for via in SAID:
        least = match + READ * (1 - match) if via == "ocr" else match
        for score, caption in captions.records.best(partial(_photo_said, captions, via), count, least):
            yield Reason(via, score, captions.percentile(score), caption)
    if literal is not None:
        for score, caption, in_passing in literal.find(captions, "caption", match, count):
            score = min(score, most_in_passing) if in_passing else score
            yield Reason(_via(caption), score, _literal_percentile(score, captions, match), caption)
        for score, region, _ in literal.find(regions, "name", match, count):
            yield Reason("name", score, _literal_percentile(score, captions, match), region)


def _photo_said(captions: RowSearch[CaptionRecord], via: Via, caption: CaptionRecord) -> Hashable:
    """Returns the photo that a caption of this kind may speak for; None: it is of another kind, or vectors do
    not tell how near it is."""
    is_one = _via(caption) == via and captions.query.may_mean(caption.text)
    return captions.photo(caption) if is_one else None


def _via(caption: CaptionRecord) -> Via:
    return "ocr" if caption.source == "ocr" else "caption"


def _literal_percentile(score: float, captions: RowSearch[CaptionRecord], match: float) -> float | None:
    """What holds all that was asked for, word for word, is as sure as can be."""
    is_whole = score >= match + HOLDS_ALL * (1 - match) - ROUNDING
    return 100.0 if is_whole else captions.percentile(score)


def _add(reasons: Reasons, reason: Reason) -> None:
    """Adds a reason, unless there is a better one of its kind."""
    for place, other in enumerate(reasons):
        if other.via == reason.via:
            reasons[place] = max(other, reason, key=lambda each: each.score)
            return
    reasons.append(reason)


def _add_pictures(found: list[Reasons], regions: RowSearch[RegionRecord], least: float) -> None:
    """Adds the picture as a further reason where it was not among the best, and scores at least so much."""
    said = {
        reasons[0].record.photo_id: reasons
        for reasons in found
        if all(reason.via != "picture" for reason in reasons)
    }
    best = sorted(regions_of(regions, said), key=lambda scored: -scored.score) if said else []
    for score, region in best:
        reasons = said[region.photo_id]
        if score >= least and all(reason.via != "picture" for reason in reasons):
            reasons.append(Reason("picture", score, regions.percentile(score), region))


def _rank(reason: Reason) -> tuple[float, bool]:
    """Returns by what reasons are sorted; what is said of a photo goes before what was read in another."""
    return -reason.score, reason.via == "ocr"


def show_photo(reasons: Reasons) -> Hit:
    """Makes a hit of kind "photo". Its region is that of the picture, else the one that a caption is about;
    its caption is one that says what was asked."""
    hits = {reason.via: _as_hit(reason) for reason in reasons}
    first = hits[reasons[0].via]
    said = next((hits[reason.via] for reason in reasons if reason.via in SAID), first)
    seen = hits.get("picture", first)
    return replace(
        first,
        kind="photo",
        box=full_box(first),
        caption=said.caption,
        region_id=seen.region_id,
        region_box=seen.region_box,
        object=seen.object,
        via=tuple(hits),
    )


def show_reason(reasons: Reasons) -> Hit:
    """Makes a hit of kind "region" where a region is the strongest reason, else as `show_photo` does."""
    hit, first = show_photo(reasons), reasons[0].record
    box, region = first.box, first.region_id
    if box is None or box == hit.box:
        return hit
    thing = _as_hit(reasons[0]).object
    return replace(hit, kind="region", box=box, region_id=region, region_box=box, object=thing)


def _as_hit(reason: Reason) -> Hit:
    _, score, percentile, record = reason
    if isinstance(record, CaptionRecord):
        return caption_hit(score, percentile, record)
    return region_hit(score, percentile, record)
