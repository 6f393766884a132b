"""What Google Photos says of a photo in the JSON that Google Takeout puts beside it."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from typing import Any

from virtue.formats import SUFFIXES
from virtue.indexer.metadata import Metadata, select_captions, select_tags, sound_position
from virtue.indexer.sidecar_files import is_title_of
from virtue.indexer.user_annotations import read_number

FAVORITE = "favorite"
"""The tag of a photo that was made a favourite."""
MARKS = ("photoTakenTime", "creationTime", "geoData", "geoDataExif", "googlePhotosOrigin")
"""Keys of which the JSON of a photo has some, and other JSON beside photos has none."""


def read_takeout(content: bytes, photo: str, is_certain: bool) -> Metadata | None:
    """Reads what is said of a photo; None: the content is something else, or of another photo.

    Args:
        photo: the name of its file.
        is_certain: whether the name of the JSON says whose it is; else a title in it must not say otherwise.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    said = json.loads(content.decode("utf-8-sig"), parse_int=read_number)
    if not isinstance(said, dict):
        return None
    title = _text(said, "title") or ""
    is_titled = is_title_of(title, photo)
    is_other = bool(title) and not is_certain
    if not is_titled and (is_other or not any(key in said for key in MARKS)):
        return None
    place = _place(said.get("geoData")) or _place(said.get("geoDataExif"))
    people = said.get("people")
    names = [_text(each, "name") for each in people] if isinstance(people, list) else []
    is_file_name = is_titled or title.lower().endswith(tuple(SUFFIXES))
    return Metadata(
        taken=_moment(said.get("photoTakenTime")),
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
        people=select_tags([*names, FAVORITE if said.get("favorited") is True else None]),
        descriptions=select_captions([_text(said, "description")]),
        titles=select_captions([None if is_file_name else title]),
    )


def _text(said: Any, key: str) -> str | None:
    text = said.get(key) if isinstance(said, dict) else None
    return html.unescape(text) if isinstance(text, str) else None


def _place(said: Any) -> tuple[float, float] | None:
    if not isinstance(said, dict):
        return None
    latitude, longitude = said.get("latitude"), said.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    return sound_position(latitude, longitude)


def _moment(said: Any) -> str | None:
    """Reads seconds since 1970, which Google writes as text."""
    try:
        seconds = int(said["timestamp"])
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError, LookupError, OverflowError, OSError):
        return None
