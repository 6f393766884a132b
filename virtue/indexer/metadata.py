"""What a photo says of itself: EXIF, IPTC and XMP. Damage there costs the field, never the photo."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from virtue.pictures import DAMAGE

MAX_DESCRIPTION = 10_000
"""Characters of a description that are kept."""
MAX_TAGS = 1_000
"""Tags of a photo that are kept."""
MAX_TAG = 1_000
"""Characters of a tag: what is longer is none."""
MAX_DESCRIPTIONS = 100
"""Descriptions of a photo that are kept."""

_Base, _GPS = ExifTags.Base, ExifTags.GPS
_BOILERPLATE = re.compile(
    r"(olympus|konica|minolta|kodak|samsung|sony|nikon|digital|camera|dsc|dcim|pictures?|image|jpe?g|img|heic|_|\W|\d)*",
    re.IGNORECASE,
)
"""What cameras write where a description belongs ("OLYMPUS DIGITAL CAMERA")."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a photo says about itself: `taken` is ISO 8601, with an offset if the camera knew one; latitude
    and longitude are degrees, north and east positive; `rating` is 0 to 5; `faults` are sentences on what was
    left out."""

    taken: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    rating: int | None = None
    tags: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def read_metadata(image: ImageFile.ImageFile) -> Metadata:
    """Reads the metadata of an image that was opened from a file (and loaded, since PNG has some behind the
    pixels)."""
    exif = _or(image.getexif, Image.Exif())
    details: dict[int, Any] = _or(lambda: dict(exif.get_ifd(ExifTags.IFD.Exif)), {})
    gps: dict[int, Any] = _or(lambda: dict(exif.get_ifd(ExifTags.IFD.GPSInfo)), {})
    iptc = _or(lambda: IptcImagePlugin.getiptcinfo(image), None) or {}
    xmp: dict[str, Any] = _or(lambda: dict(_descriptions(image.getxmp())), {})
    place = _or(lambda: _position(gps), None)
    tags = _distinct(_tags(exif, iptc, xmp))
    short = tuple(tag for tag in tags if len(tag) <= MAX_TAG)
    captions = tuple(filter(_is_worth_keeping, _distinct(_captions(exif, details, iptc, xmp))))
    faults = []
    if len(short[:MAX_TAGS]) < len(tags):
        kept = f"the first {MAX_TAGS:,} tags of at most {MAX_TAG:,} characters are kept"
        faults.append(f"{kept}, of {len(tags):,}")
    if len(captions) > MAX_DESCRIPTIONS:
        faults.append(f"the first {MAX_DESCRIPTIONS} descriptions are kept, of {len(captions):,}")
    return Metadata(
        taken=_first(_moments(exif, details, xmp)),
        camera=_or(lambda: _camera(exif), None),
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
        rating=_first(_ratings(exif, xmp)),
        tags=short[:MAX_TAGS],
        captions=captions[:MAX_DESCRIPTIONS],
        faults=tuple(faults),
    )


def _or(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except DAMAGE:
        return default


def _first(values: Iterator[T]) -> T | None:
    return _or(lambda: next(values, None), None)


def _moments(exif: Image.Exif, details: dict[int, Any], xmp: dict[str, Any]) -> Iterator[str]:
    found = [
        (details.get(_Base.DateTimeOriginal), details.get(_Base.OffsetTimeOriginal)),
        (details.get(_Base.DateTimeDigitized), details.get(_Base.OffsetTimeDigitized)),
        (xmp.get("DateTimeOriginal"), None),
        (xmp.get("DateCreated"), None),
        (xmp.get("CreateDate"), None),
        (exif.get(_Base.DateTime), details.get(_Base.OffsetTime)),
    ]
    for moment, offset in found:
        match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?(.*)", _text(moment) or "")
        if not match:
            continue
        year, month, day, hour, minute, second, rest = match.groups()
        iso = f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}"
        zone = re.search(r"[+-]\d\d:\d\d$|Z$", _text(offset) or rest or "")
        try:
            datetime.fromisoformat(iso)
        except ValueError:
            continue  # cameras whose clock was never set write 0000:00:00
        yield iso + (zone.group() if zone else "")


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(_Base.Make)) or "", _text(exif.get(_Base.Model)) or ""
    if make and model.lower().startswith(make.split()[0].lower()):
        make = ""
    return f"{make} {model}".strip() or None


def _position(gps: dict[int, Any]) -> tuple[float, float] | None:
    def degrees(value: Any) -> float:
        parts = [float(part) for part in value]
        return sum(part / 60**power for power, part in enumerate(parts[:3]))

    if _GPS.GPSLatitude not in gps or _GPS.GPSLongitude not in gps:
        return None
    latitude, longitude = degrees(gps[_GPS.GPSLatitude]), degrees(gps[_GPS.GPSLongitude])
    latitude *= -1 if (_text(gps.get(_GPS.GPSLatitudeRef)) or "N").upper().startswith("S") else 1
    longitude *= -1 if (_text(gps.get(_GPS.GPSLongitudeRef)) or "E").upper().startswith("W") else 1
    sound = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90
    return (latitude, longitude) if sound and abs(longitude) <= 180 else None


def _ratings(exif: Image.Exif, xmp: dict[str, Any]) -> Iterator[int]:
    for value in (xmp.get("Rating"), exif.get(0x4746)):
        try:
            rating = round(float(_text(value) or ""))
        except (ValueError, OverflowError):
            continue
        if 0 <= rating <= 5:
            yield rating


def _tags(exif: Image.Exif, iptc: dict[Any, Any], xmp: dict[str, Any]) -> Iterator[str | None]:
    yield from _texts(xmp.get("subject"))
    yield from _texts(iptc.get((2, 25)))
    yield from (_windows_text(exif.get(_Base.XPKeywords)) or "").split(";")


def _captions(
    exif: Image.Exif, details: dict[int, Any], iptc: dict[Any, Any], xmp: dict[str, Any]
) -> Iterator[str | None]:
    for name in ("description", "title", "AltTextAccessibility"):
        yield from _texts(xmp.get(name))
    for key in ((2, 120), (2, 105), (2, 5)):  # caption, headline, title
        yield from _texts(iptc.get(key))
    yield _text(exif.get(_Base.ImageDescription))
    yield _windows_text(exif.get(_Base.XPTitle))
    yield _windows_text(exif.get(_Base.XPComment))
    yield _comment(details.get(_Base.UserComment))


def _descriptions(xmp: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The properties of all `rdf:Description`s, by their names without namespaces."""
    root = xmp.get("xmpmeta", xmp.get("xapmeta", xmp))
    blocks = root.get("RDF", {}).get("Description", [])
    for block in blocks if isinstance(blocks, list) else [blocks]:
        if isinstance(block, dict):
            yield from block.items()


def _texts(value: Any) -> Iterator[str | None]:
    """Every text in a value as Pillow gives it: text, bytes, lists, XMP's Alt/Bag/Seq of li."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        for key in ("Alt", "Bag", "Seq", "li", "text"):
            yield from _texts(value.get(key))
    else:
        yield _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, dict | list | tuple):
        return None
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    elif isinstance(value, str):
        with suppress(UnicodeError):  # Pillow reads EXIF text as Latin-1; most software writes UTF-8 there
            value = value.encode("latin-1").decode("utf-8")
    clean = str(value).split("\0")[0].encode("utf-8", "replace").decode("utf-8")
    return " ".join(clean.split())[:MAX_DESCRIPTION] or None


def _windows_text(value: Any) -> str | None:
    if isinstance(value, tuple):
        value = bytes(value)
    return _text(value.decode("utf-16-le", "replace")) if isinstance(value, bytes) else None


def _comment(value: Any) -> str | None:
    """EXIF UserComment: eight bytes name its encoding (EXIF 2.32, 4.6.5)."""
    if not isinstance(value, bytes):
        return _text(value)
    kind, rest = value[:8], value[8:]
    if kind.startswith(b"UNICODE"):
        order = "utf-16-be" if rest[:1] == b"\0" else "utf-16-le"
        return _text(rest.decode(order, "replace"))
    return _text(rest) if kind.startswith(b"ASCII") else None


def _is_worth_keeping(text: str) -> bool:
    return not _BOILERPLATE.fullmatch(text)


def _distinct(texts: Iterator[str | None]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    with suppress(*DAMAGE):  # what came before the damage counts
        for text in texts:
            if text and text.strip():
                found[text.strip()] = None
    return tuple(found)
