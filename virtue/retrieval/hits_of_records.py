"""Hits, made of the records that scored."""

from __future__ import annotations

from virtue.geometry import Box
from virtue.retrieval.hit import Hit
from virtue.store import CaptionRecord, RegionRecord


def region_hit(score: float, percentile: float | None, region: RegionRecord) -> Hit:
    return Hit(
        rank=0,
        score=score,
        percentile=percentile,
        raw_path=region.path,
        box=region.box,
        width=region.width,
        height=region.height,
        kind="region",
        caption=region.caption,
        region_id=region.region_id,
        region_box=region.box,
        object=region.object,
        photo_id=region.photo_id,
        via=("picture",),
    )


def caption_hit(score: float, percentile: float | None, caption: CaptionRecord) -> Hit:
    return Hit(
        rank=0,
        score=score,
        percentile=percentile,
        raw_path=caption.path,
        box=caption.box or full_box(caption),
        width=caption.width,
        height=caption.height,
        kind="caption",
        caption=caption.text,
        region_id=caption.region_id,
        region_box=caption.box,
        photo_id=caption.photo_id,
        via=("ocr" if caption.source == "ocr" else "caption",),
    )


def full_box(record: RegionRecord | CaptionRecord | Hit) -> Box:
    return Box(0, 0, record.width, record.height)
