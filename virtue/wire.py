"""Records as JSON, and back: what the service sends and its client reads. Boxes are [x, y, w, h]."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from virtue.geometry import Box
from virtue.retrieval.hit import Hit, xywh
from virtue.store.records import Photo, Region, RegionRecord, TextLine

if TYPE_CHECKING:
    from virtue.indexer import Progress, Report
    from virtue.retrieval.similar_group import Similar


def hit_from_json(value: Mapping[str, Any]) -> Hit:
    """Makes the hit that `Hit.as_json` gave."""
    region_box = value["region_box"]
    return Hit(
        rank=value["rank"],
        score=value["score"],
        raw_path=os.fsencode(value["path"]),
        box=Box.from_xywh(*value["box"]),
        width=value["width"],
        height=value["height"],
        kind=value["kind"],
        caption=value["caption"],
        region_id=value["region_id"],
        region_box=None if region_box is None else Box.from_xywh(*region_box),
        photo_id=value["photo_id"],
        via=tuple(value["via"]),
        percentile=value["percentile"],
        taken=value["taken"],
        camera=value["camera"],
        rating=value["rating"],
        tags=tuple(value["tags"]),
        raw_other_paths=tuple(map(os.fsencode, value["other_paths"])),
        raw_copies=tuple(map(os.fsencode, value["copies"])),
        object=value["object"],
    )


def region_as_json(region: Region) -> dict[str, Any]:
    return {
        "region_id": region.region_id,
        "box": xywh(region.box),
        "category": region.category,
        "captions": list(region.captions),
        "mask": None if region.mask is None else json.loads(region.mask),
    }


def region_from_json(value: Mapping[str, Any]) -> Region:
    mask = value["mask"]
    return Region(
        Box.from_xywh(*value["box"]),
        value["category"],
        tuple(value["captions"]),
        None if mask is None else json.dumps(mask),
        value["region_id"],
    )


def photo_as_json(photo: Photo) -> dict[str, Any]:
    return {
        "photo_id": photo.photo_id,
        "paths": list(photo.paths),
        "name": photo.name,
        "width": photo.width,
        "height": photo.height,
        "hash": photo.hash.hex(),
        "size": photo.size,
        "taken": photo.taken,
        "camera": photo.camera,
        "latitude": photo.latitude,
        "longitude": photo.longitude,
        "rating": photo.rating,
        "tags": list(photo.tags),
        "captions": list(photo.captions),
        "regions": [region_as_json(region) for region in photo.regions],
        "phash": f"{photo.phash:016x}",
        "lines": None
        if photo.lines is None
        else [{"text": line.text, "box": xywh(line.box)} for line in photo.lines],
    }


def photo_from_json(value: Mapping[str, Any]) -> Photo:
    """Makes the photo that `photo_as_json` gave."""
    lines = value["lines"]
    same = ("photo_id", "width", "height", "size", "taken", "camera", "latitude", "longitude", "rating")
    return Photo(
        raw_paths=tuple(map(os.fsencode, value["paths"])),
        hash=bytes.fromhex(value["hash"]),
        tags=tuple(value["tags"]),
        captions=tuple(value["captions"]),
        regions=tuple(map(region_from_json, value["regions"])),
        phash=int(value["phash"], 16),
        lines=None
        if lines is None
        else tuple(TextLine(line["text"], Box.from_xywh(*line["box"])) for line in lines),
        **{name: value[name] for name in same},
    )


def record_as_json(region: RegionRecord) -> dict[str, Any]:
    """A region of a photo, whoever found it."""
    return {
        "region_id": region.region_id,
        "box": xywh(region.box),
        "origin": region.origin,
        "category": region.category,
        "object": region.object,
        "objectness": region.objectness,
        "caption": region.caption,
        "is_full_image": region.is_full_image,
    }


def similar_from_json(value: Mapping[str, Any]) -> Similar:
    """Makes what `Similar.as_json` gave."""
    from virtue.retrieval.similar_group import Similar

    same = value["same_file_as"]
    return Similar(
        value["tier"],
        value["score"],
        value["distance"],
        os.fsencode(value["path"]),
        value["width"],
        value["height"],
        value["photo_id"],
        None if same is None else os.fsencode(same),
        None if value["kept"] is None else os.fsencode(value["kept"]),
    )


def similar_as_json(file: Similar) -> dict[str, Any]:
    return {**file.as_json(), "kept": None if file.kept is None else os.fsdecode(file.kept)}


def progress_as_json(progress: Progress) -> dict[str, Any]:
    return asdict(progress)


def progress_from_json(value: Mapping[str, Any]) -> Progress:
    from virtue.indexer import Progress

    return Progress(**value)


def report_as_json(report: Report) -> dict[str, Any]:
    """A report as `virtue index --json` prints it."""
    found = {key: value for key, value in asdict(report).items() if key != "problems"}
    found["problems"] = [{"path": os.fsdecode(path), "reason": reason} for path, reason in report.problems]
    return found


def report_from_json(value: Mapping[str, Any]) -> Report:
    from virtue.indexer import Report

    problems = [(os.fsencode(each["path"]), each["reason"]) for each in value["problems"]]
    names = {field.name for field in fields(Report)}
    rest = {key: each for key, each in value.items() if key in names and key != "problems"}
    return Report(**rest, problems=problems)
