"""What a photo says of itself: EXIF, IPTC and XMP. Damage there costs the field, never the photo."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from virtue.indexer.xmp import Xmp
from virtue.indexer.xmp_regions import MarkedRegion, read_regions
from virtue.pixels import DAMAGE
from virtue.store.records import KnownMetadata

MAX_DESCRIPTION = 10_000
"""Characters of a description that are kept."""
MAX_TAGS = 1_000
"""Tags of a photo that are kept."""
MAX_TAG = 1_000
"""Characters of a tag: what is longer is none."""
MAX_DESCRIPTIONS = 100
"""Descriptions of a photo that are kept."""
MAX_OFFSET = timedelta(hours=14)
"""By which a clock differs from UTC at most."""

_Base, _GPS = ExifTags.Base, ExifTags.GPS
_BOILERPLATE = re.compile(
    r"""(olympus|konica|minolta|kodak|samsung|sony|nikon|casio|medion|moultrie|kenox|fujifilm|pentax|digital|still
    |game\ camera|camera|dsc|dcim|pictures?|image|jpe?g|img|heic|exif|s\d+|_|\W|\d)*
    |.*dcim[/\\].* | hellomoto | my\ beautiful\ picture | hdr | _?cuva | (x-)?default | created\ with\ gimp
    |lead\ technologies.* | file\ written\ by\ adobe.* | type=\w,\ mode=.* | charset=.*""",
    re.IGNORECASE | re.VERBOSE,
)
"""What cameras, telephones and editors write by themselves where a description belongs ("OLYMPUS DIGITAL
CAMERA")."""
_FIRMWARE = re.compile(r"v?\d+(\.\d+){2,}", re.IGNORECASE)
"""What drones write where tags belong."""
_INTERNAL = ("darktable|", "_Digikam_")
"""How tags begin that programs write for themselves."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a photo says about itself, or a file beside it about the photo.

    Attributes:
        taken: ISO 8601, with an offset if the camera knew one.
        latitude, longitude: degrees, north and east positive.
        rating: 0 to 5.
        people: names of those who are in it, which are tags too.
        descriptions, titles: which are captions.
        regions: as they are marked in the file.
        orientation: how the stored picture is turned upright (EXIF's 1 to 8).
        faults: sentences on what was left out.
    """

    taken: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    rating: int | None = None
    tags: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    regions: tuple[MarkedRegion, ...] = ()
    orientation: int = 1
    faults: tuple[str, ...] = ()

    @property
    def captions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.descriptions + self.titles))[:MAX_DESCRIPTIONS]

    @property
    def all_tags(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.tags + self.people))[:MAX_TAGS]


def read_metadata(image: ImageFile.ImageFile) -> Metadata:
    """Reads the metadata of an image that was opened from a file (and loaded, since PNG has some behind the
    pixels)."""
    exif = _or(image.getexif, Image.Exif())
    details: dict[int, Any] = _or(lambda: dict(exif.get_ifd(ExifTags.IFD.Exif)), {})
    gps: dict[int, Any] = _or(lambda: dict(exif.get_ifd(ExifTags.IFD.GPSInfo)), {})
    iptc = _or(lambda: IptcImagePlugin.getiptcinfo(image), None) or {}
    xmp = Xmp(_or(lambda: _as_bytes(image.info.get("xmp")), b""))
    return _describe(exif, details, gps, iptc, xmp)


def read_xmp(xmp: Xmp) -> Metadata:
    """Reads what XMP alone says."""
    return _describe(Image.Exif(), {}, {}, {}, xmp)


def lay_over(embedded: Metadata, beside: Sequence[Metadata]) -> Metadata:
    """Returns what holds of a photo: field by field what the first of the files beside it says, else what the
    photo says itself. People are those of all."""
    every = (*beside, embedded)
    place = next((each for each in every if each.latitude is not None), embedded)
    moment = next((each.taken for each in beside if each.taken), None)
    return replace(
        embedded,
        taken=_in_its_zone(moment, embedded.taken) if moment else embedded.taken,
        latitude=place.latitude,
        longitude=place.longitude,
        rating=next((each.rating for each in every if each.rating is not None), None),
        tags=next((each.tags for each in every if each.tags), ()),
        people=tuple(dict.fromkeys(name for each in every for name in each.people)),
        descriptions=next((each.descriptions for each in every if each.descriptions), ()),
        titles=next((each.titles for each in every if each.titles), ()),
        regions=next((each.regions for each in every if each.regions), ()),
        faults=tuple(fault for each in every for fault in each.faults),
    )


def recall(embedded: Metadata, known: KnownMetadata) -> Metadata:
    """Returns what was known of a photo, for as long as files beside it cannot be read."""
    info = known.info
    return Metadata(
        info.taken,
        info.camera,
        info.latitude,
        info.longitude,
        info.rating,
        tags=info.tags,
        descriptions=tuple(caption.text for caption in known.captions if caption.region is None),
        orientation=embedded.orientation,
        faults=embedded.faults,
    )


def _in_its_zone(moment: str, local: str | None) -> str:
    """Returns a moment as the clock of the camera showed it, where it is known in UTC and the camera's own
    time is the same but for a zone."""
    if not moment.endswith("Z") or not local or "T" not in local:
        return moment
    clock = datetime.fromisoformat(local)
    if clock.tzinfo is not None:
        same = clock == datetime.fromisoformat(moment)
        return local if same else moment
    offset = clock - datetime.fromisoformat(moment).replace(tzinfo=None)
    quarters, rest = divmod(offset, timedelta(minutes=15))
    if rest or abs(offset) > MAX_OFFSET:
        return moment
    return clock.replace(tzinfo=timezone(quarters * timedelta(minutes=15))).isoformat()


def _describe(
    exif: Image.Exif, details: dict[int, Any], gps: dict[int, Any], iptc: dict[Any, Any], xmp: Xmp
) -> Metadata:
    place = _or(lambda: _position(gps), None) or _or(lambda: _xmp_position(xmp), None)
    tags = tuple(filter(_is_a_tag, _distinct(_tags(exif, iptc, xmp))))
    people = select_tags(xmp.texts("Iptc4xmpExt:PersonInImage"))
    short = tuple(tag for tag in tags if len(tag) <= MAX_TAG)
    descriptions = select_captions(_descriptions(exif, details, iptc, xmp))
    titles = select_captions(_titles(exif, iptc, xmp))
    faults = []
    if len(short[:MAX_TAGS]) < len(tags):
        kept = f"the first {MAX_TAGS:,} tags of at most {MAX_TAG:,} characters are kept"
        faults.append(f"{kept}, of {len(tags):,}")
    if len(captions := {*descriptions, *titles}) > MAX_DESCRIPTIONS:
        faults.append(f"the first {MAX_DESCRIPTIONS} descriptions are kept, of {len(captions):,}")
    return Metadata(
        taken=_first(_moments(exif, details, iptc, xmp)),
        camera=_or(lambda: _camera(exif), None),
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
        rating=_first(_ratings(exif, xmp)),
        tags=short[:MAX_TAGS],
        people=people,
        descriptions=descriptions,
        titles=titles,
        regions=_or(lambda: read_regions(xmp), ()),
        faults=tuple(faults),
    )


def is_same_shot(one: str | None, other: str | None) -> bool:
    """Returns whether two photos were taken at one moment, by what they say: ISO 8601, with a zone that only
    one of them may know."""
    if not one or not other or "T" not in one:
        return False
    zones = one[19:], other[19:]
    return one[:19] == other[:19] and (zones[0] == zones[1] or not all(zones))


def select_captions(texts: Iterable[Any]) -> tuple[str, ...]:
    """Returns the texts that are captions, clean, each once: not what cameras and editors write by
    themselves."""
    return tuple(filter(_is_worth_keeping, _distinct(map(_text, texts))))


def select_tags(texts: Iterable[Any]) -> tuple[str, ...]:
    """Returns the texts that are short enough for tags, clean, each once."""
    return tuple(tag for tag in _distinct(map(_text, texts)) if len(tag) <= MAX_TAG)[:MAX_TAGS]


def _or(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except DAMAGE:
        return default


def _first(values: Iterator[T]) -> T | None:
    return _or(lambda: next(values, None), None)


def _moments(exif: Image.Exif, details: dict[int, Any], iptc: dict[Any, Any], xmp: Xmp) -> Iterator[str]:
    """Yields what may be the time of the photo, the likeliest first."""
    offset = details.get(_Base.OffsetTimeOriginal)
    yield from _moment(details.get(_Base.DateTimeOriginal), offset)
    yield from _moment(details.get(_Base.DateTimeDigitized), details.get(_Base.OffsetTimeDigitized))
    for name in ("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate"):
        for text in xmp.texts(name):
            yield from _moment(text)
    date, time = _text(iptc.get((2, 55))), _text(iptc.get((2, 60))) or ""
    if date and re.fullmatch(r"\d{8}", date):
        clock = re.sub(r"(\d\d)(\d\d)(\d\d)", r"T\1:\2:\3", time, count=1)
        zone = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", clock)
        yield from _moment(f"{date[:4]}-{date[4:6]}-{date[6:]}{zone}")
    yield from _moment(exif.get(_Base.DateTime), details.get(_Base.OffsetTime))


def _moment(value: Any, offset: Any = None) -> Iterator[str]:
    """Yields a date, or a date and a time with its zone if there is one, as ISO 8601."""
    match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?(.*))?", _text(value) or "")
    if not match:
        return
    year, month, day, hour, minute, second, rest = match.groups()
    iso, zone = f"{year}-{month}-{day}", ""
    if hour is not None:
        iso += f"T{hour}:{minute}:{second or '00'}"
        found = re.search(r"[+-]\d\d:\d\d$|Z$", _text(offset) or rest or "")
        zone = found.group() if found else ""
    with suppress(ValueError):  # cameras whose clock was never set write 0000:00:00
        datetime.fromisoformat(iso + zone)
        yield iso + zone


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
    return sound_position(latitude, longitude)


def _xmp_position(xmp: Xmp) -> tuple[float, float] | None:
    """Reads a position as XMP has it: degrees, minutes, perhaps seconds, and a letter."""
    found = []
    for name in ("exif:GPSLatitude", "exif:GPSLongitude"):
        text = xmp.text(name) or ""
        parts = [float(part) for part in text[:-1].split(",")]
        sign = -1 if text[-1:].upper() in ("S", "W") else 1
        found.append(sign * sum(part / 60**power for power, part in enumerate(parts[:3])))
    return sound_position(*found)


def sound_position(latitude: float, longitude: float) -> tuple[float, float] | None:
    """Returns a position if it is one: 0,0 is what is written where no place was known."""
    if latitude == longitude == 0:
        return None
    sound = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90
    return (latitude, longitude) if sound and abs(longitude) <= 180 else None


def _ratings(exif: Image.Exif, xmp: Xmp) -> Iterator[int]:
    for value in (*xmp.texts("xmp:Rating"), exif.get(0x4746)):
        try:
            rating = round(float(_text(value) or ""))
        except (ValueError, OverflowError):
            continue
        if 0 <= rating <= 5:
            yield rating
    for value in xmp.texts("MicrosoftPhoto:Rating"):  # 1, 25, 50, 75, 99 are one to five stars
        with suppress(ValueError, OverflowError):
            if 0 < (share := float(value)) <= 100:
                yield min(5, 1 + round(share / 25))


def _tags(exif: Image.Exif, iptc: dict[Any, Any], xmp: Xmp) -> Iterator[str | None]:
    yield from map(_text, xmp.texts("dc:subject"))
    for name, between in (
        ("lr:hierarchicalSubject", "|"),
        ("digiKam:TagsList", "/"),
        ("MicrosoftPhoto:LastKeywordXMP", "/"),
    ):
        for path in xmp.texts(name):
            if not path.startswith(_INTERNAL):
                yield from map(_text, path.split(between))
    yield from _texts(iptc.get((2, 25)))
    yield from (_windows_text(exif.get(_Base.XPKeywords)) or "").split(";")


def _is_a_tag(text: str) -> bool:
    return not _FIRMWARE.fullmatch(text) and not text.startswith(_INTERNAL)


def _descriptions(
    exif: Image.Exif, details: dict[int, Any], iptc: dict[Any, Any], xmp: Xmp
) -> Iterator[str | None]:
    for name in ("dc:description", "Iptc4xmpCore:AltTextAccessibility"):
        yield from xmp.texts(name)
    yield from _texts(iptc.get((2, 120)))
    yield _text(exif.get(_Base.ImageDescription))
    yield _windows_text(exif.get(_Base.XPComment))
    yield _comment(details.get(_Base.UserComment), exif.endian or "<")


def _titles(exif: Image.Exif, iptc: dict[Any, Any], xmp: Xmp) -> Iterator[str | None]:
    yield from xmp.texts("dc:title")
    for key in ((2, 105), (2, 5)):  # headline, title
        yield from _texts(iptc.get(key))
    yield _windows_text(exif.get(_Base.XPTitle))


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value or b"")


def _texts(value: Any) -> Iterator[str | None]:
    """Yields every text in a value of IPTC as Pillow gives it: bytes, or a list of them."""
    yield from map(_text, value if isinstance(value, list | tuple) else [value])


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


def _comment(value: Any, endian: str) -> str | None:
    """EXIF UserComment: eight bytes name its encoding (EXIF 2.32, 4.6.5). UNICODE is UTF-16, in the order of
    the file unless a mark says otherwise, and some write UTF-8 (as EXIF 3.0 does)."""
    if not isinstance(value, bytes):
        return _text(value)
    kind, rest = value[:8].rstrip(b"\0 "), value[8:]
    if kind == b"UNICODE":
        return _text(_decode_unicode(rest, endian))
    if kind == b"JIS":
        return _text(rest.decode("iso2022_jp", "replace"))
    return _text(rest) if kind in (b"ASCII", b"UTF-8", b"UTF8", b"") else None


def _decode_unicode(content: bytes, endian: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    plain = content.split(b"\0")[0] if content.count(b"\0") * 8 < len(content) else b""
    # Latin letters have a zero in each pair of bytes; other letters of UTF-16 are hardly ever UTF-8.
    if plain:
        with suppress(UnicodeDecodeError):
            text = plain.decode("utf-8")
            if text.isprintable():
                return text
    zeros = content[::2].count(0), content[1::2].count(0)
    if zeros[0] != zeros[1]:
        return content.decode("utf-16-be" if zeros[0] > zeros[1] else "utf-16-le", "replace")
    return content.decode("utf-16-be" if endian == ">" else "utf-16-le", "replace")


def _is_worth_keeping(text: str) -> bool:
    return not _BOILERPLATE.fullmatch(text)


def _distinct(texts: Iterable[str | None]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    with suppress(*DAMAGE):  # what came before the damage counts
        for text in texts:
            if text and text.strip():
                found[text.strip()] = None
    return tuple(found)
