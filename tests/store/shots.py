"""A library whose photos have all that filters ask for, what a filter means for each row of it in plain
Python, and random filters."""

from __future__ import annotations

import fnmatch
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.store.builders import DIM, name, vectors
from virtue.geometry import Box
from virtue.store import EmbeddedPhoto, FileRecord, NewCaption, NewRegion, PhotoInfo, Store, open_store
from virtue.store.records import Kind

NASTY = "'; DROP TABLE photos; --"
TEXTS = [
    "Beach",
    "sea side",
    "Été",
    "e\u0301te\u0301",
    "STRASSE",
    "straße",
    "100%",
    "a*b",
    "[x]",
    "it's",
    '"',
    NASTY,
]
CAMERAS = ["Canon EOS R5", "canon powershot", "Nikon Z6", "Apple iPhone 15"]
CATEGORIES = ["dog", "Dog", "hot dog", "cat"]
OBJECTS = ["dog", "person", "hot dog"]
FOLDERS = [b"/photos/2024", b"/photos/2024/beach", b"/photos/Trip/2024/june", b"/other/\xff\xfe"]
NAMES = [b"a.jpg", b"B.JPG", b"beach 1.png", b"\xe9t\xe9.jpg", "été.jpg".encode(), b"[1].jpg"]
BOXES = [Box(0, 0, 10, 10), Box(3, 4, 43, 44), Box(0, 0, 50, 40), Box(10, 10, 100, 80), Box(1, 1, 2, 2)]


@dataclass(repr=False)
class Shot:
    """A photo with all that a filter may ask for."""

    info: PhotoInfo
    size: int
    paths: list[bytes]
    regions: list[NewRegion]
    captions: list[NewCaption]
    gone: set[bytes] = field(default_factory=set)

    @property
    def there(self) -> list[bytes]:
        return [path for path in self.paths if path not in self.gone]


@dataclass
class Row:
    """What can be found: a region, or a caption with its region if it has one."""

    shot: Shot
    region: NewRegion | None
    captions: list[str]


def shots(seed: int, count: int = 40) -> list[Shot]:
    random = np.random.default_rng(seed)

    def perhaps(value: Any, share: float = 0.7) -> Any:
        return value if random.random() < share else None

    def one(values: list[Any]) -> Any:
        return values[random.integers(len(values))]

    made = []
    for number in range(count):
        width, height = (100, 80) if random.random() < 0.5 else (200, 120)
        moment = datetime(2023, 12, 30) + timedelta(minutes=int(random.integers(0, 800_000)))
        zone = one(["", "+02:00", "Z"])
        place = perhaps((float(random.integers(-9, 10)) * 10, float(random.integers(-17, 18)) * 10))
        info = PhotoInfo(
            name(number),
            width,
            height,
            taken=perhaps(moment.isoformat() + zone),
            camera=perhaps(one(CAMERAS)),
            latitude=place and place[0],
            longitude=place and place[1],
            rating=perhaps(int(random.integers(0, 6))),
            tags=tuple({one(TEXTS) for _ in range(random.integers(0, 4))}),
        )
        boxes = [one(BOXES) for _ in range(random.integers(0, 4))]
        regions = [NewRegion(Box(0, 0, width, height), "whole")]
        regions += [
            NewRegion(box, "annotation", perhaps(one(CATEGORIES)), object=perhaps(one(OBJECTS)))
            for box in boxes
        ]
        places = [None, *range(1, len(regions))]
        captions = [
            NewCaption(f"{one(TEXTS)} {one(TEXTS)}", "annotation", one(places))
            for _ in range(random.integers(0, 3))
        ]
        paths = [one(FOLDERS) + b"/%d/" % number + one(NAMES) for _ in range(random.integers(1, 3))]
        shot = Shot(info, int(random.integers(1, 40)) * 100_000, sorted(set(paths)), regions, captions)
        shot.gone = {path for path in shot.paths if random.random() < 0.15}
        made.append(shot)
    return made


def embedded(shot: Shot) -> EmbeddedPhoto:
    rows, said = vectors(len(shot.regions), 1), vectors(len(shot.captions), 2)
    return EmbeddedPhoto(shot.info, "auto", tuple(shot.regions), rows, tuple(shot.captions), said)


def stored(folder: Path | str, made: list[Shot]) -> Store:
    store = open_store(folder, create=True)
    with store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        for shot in made:
            files = [FileRecord(path, shot.size, 1, None, hash=shot.info.hash) for path in shot.paths]
            writer.commit([embedded(shot)], files)
        writer.commit(
            files=[FileRecord(b"/photos/2024/broken.jpg", 700_000, 1, None, problem="it is cut off")]
        )
        writer.commit(missing=[path for shot in made for path in shot.gone])
    return store


def rows(made: list[Shot], kind: Kind) -> list[Row]:
    """In the order in which they were stored."""
    if kind == "captions":
        return [
            Row(shot, None if said.region is None else shot.regions[said.region], [said.text])
            for shot in made
            for said in shot.captions
        ]
    return [
        Row(shot, region, [said.text for said in shot.captions if said.region in (None, place)])
        for shot in made
        for place, region in enumerate(shot.regions)
    ]


# -- what a filter means ----------------------------------------------------------------------------------

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def holds(node: Any, row: Row) -> bool:
    """`node`: ("and" | "or", [nodes]), ("not", node), or (field, operator, text | [texts])."""
    if node[0] == "and":
        return all([holds(part, row) for part in node[1]])
    if node[0] == "or":
        return any([holds(part, row) for part in node[1]])
    if node[0] == "not":
        return not holds(node[1], row)
    asked, operator, value = node
    if operator == "in" and asked != "gps":
        return any(holds((asked, "=", each), row) for each in value)
    info, region = row.shot.info, row.region
    match asked:
        case "width" | "height" | "rating":
            own = getattr(info, asked)
            return own is not None and COMPARED[operator](own, Fraction(value))
        case "size":
            return bool(row.shot.there) and COMPARED[operator](row.shot.size, Fraction(value[:-2]) * 10**6)
        case "area":
            part = Fraction(1)
            if region is not None:
                x0, y0, x1, y1 = (Fraction(corner) for corner in region.box.corners)
                part = (x1 - x0) * (y1 - y0) / (info.width * info.height)
            return COMPARED[operator](part * 100, Fraction(value[:-1]))
        case "taken":
            return info.taken is not None and in_time(datetime.fromisoformat(info.taken), operator, value)
        case "gps":
            if info.latitude is None or info.longitude is None:
                return False
            south, west, north, east = (float(each) for each in value)
            turned = (info.longitude - west) % 360 <= (east - west) % 360
            # From -180 to 180 is all the way round, not none of it.
            return south <= info.latitude <= north and (turned or (west, east) == (-180, 180))
        case "path":
            return any(path_fits(os.fsdecode(path), operator, value) for path in row.shot.there)
        case "tag":
            return any(text_fits(tag, operator, value) for tag in info.tags)
        case "caption":
            return any(text_fits(text, operator, value) for text in row.captions)
        case "camera":
            return info.camera is not None and text_fits(info.camera, operator, value)
        case "category" | "object":
            own = getattr(region, asked) if region else None
            return own is not None and text_fits(own, operator, value)
    raise AssertionError(asked)


def in_time(moment: datetime, operator: str, value: str) -> bool:
    """A date means all of its year, month, day, hour, minute or second, as the camera's clock had it."""
    moment = moment.replace(tzinfo=None)
    start = datetime.fromisoformat(value + "0000-01-01T00:00:00"[len(value) :])
    if len(value) == 4:
        end = start.replace(year=start.year + 1)
    elif len(value) == 7:
        end = (start + timedelta(days=31)).replace(day=1)
    else:
        end = start + {10: timedelta(days=1), 13: timedelta(hours=1), 16: timedelta(minutes=1)}[len(value)]
    return {
        "=": start <= moment < end,
        "!=": not start <= moment < end,
        "<": moment < start,
        "<=": moment < end,
        ">": moment >= end,
        ">=": moment >= start,
    }[operator]


def text_fits(own: str, operator: str, value: str) -> bool:
    own, value = folded(own), folded(value)
    if operator == "~":
        return fnmatch.fnmatchcase(own, value)
    return (own == value) == (operator == "=")


def path_fits(path: str, operator: str, value: str) -> bool:
    if "/" not in value:
        return text_fits(path.rsplit("/", 1)[1], operator, value)
    if operator == "~" and value.endswith("/"):
        value += "*"
    tails = [path, *(path[place + 1 :] for place, letter in enumerate(path) if letter == "/")]
    return any(text_fits(tail, operator, value) for tail in tails)


def folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


# -- random filters ---------------------------------------------------------------------------------------

ORDER = st.sampled_from(list(COMPARED))
PATTERNS = [
    "*",
    "*e*",
    "b*",
    "?each",
    "*[aeiou]",
    "[!b]*",
    "sea*",
    "*'*",
    "[[]x]",
    "*%",
    "été",
    "canon*",
    "x",
]
PATHS = [
    "*.jpg", "b.jpg", "beach*", "2024/*", "2024/", "/photos/2024/*", "photos/*/beach*", "2024/*/a.jpg",
    "/other/*", "été.jpg", os.fsdecode(b"\xe9t\xe9.jpg"), os.fsdecode(b"\xff\xfe/*"), "[[]1].jpg", 
    "broken.jpg", "*/*", "4/2/*",
]  # fmt: skip


def values(text: list[str]) -> st.SearchStrategy[tuple[str, Any]]:
    one = st.sampled_from(text)
    return st.tuples(ORDER, one) | st.tuples(st.just("in"), st.lists(one, min_size=1, max_size=3))


def texts(text: list[str], several: bool) -> st.SearchStrategy[tuple[str, Any]]:
    one = st.sampled_from(text)
    operators = ["="] if several else ["=", "!="]
    return (
        st.tuples(st.sampled_from(operators), one)
        | st.tuples(st.just("~"), st.sampled_from(PATTERNS))
        | st.tuples(st.just("in"), st.lists(one, min_size=1, max_size=3))
    )


MOMENTS = ["2023", "2024", "2025", "2024-02", "2024-12", "2024-02-29", "2024-06-01T12", "2024-06-01T12:30"]
DEGREES = st.tuples(
    st.sampled_from(["-90", "-40", "-0.5"]),
    st.sampled_from(["-180", "-30", "0", "10", "180"]),
    st.sampled_from(["0", "30.0", "90"]),
    st.sampled_from(["-170", "-30", "0", "+20", "180"]),
).map(list)
OF_FIELDS = {
    "width": values(["100", "150.5", "200", "-1", "999999999999999999999999"]),
    "height": values(["80", ".5", "120"]),
    "rating": values(["0", "3", "4.0", "5"]),
    "size": values(["0.4MB", "1mb", "2.5MB", "4MB"]),
    "area": values(["0%", "1%", "12.5%", "25%", "100%", "33.3%"]),
    "taken": values(MOMENTS),
    "gps": st.tuples(st.just("in"), DEGREES),
    "camera": texts([*CAMERAS, "CANON EOS R5", "x"], False),
    "category": texts(["dog", "CAT", "x"], False),
    "object": texts(["dog", "Person", "x"], False),
    "tag": texts([*TEXTS, "beach", "ÉTÉ", "x"], True),
    "caption": texts(["Beach Beach", "été été", "x"], True),
    "path": st.tuples(st.sampled_from(["~", "="]), st.sampled_from(PATHS)),
}
COMPARISONS = st.sampled_from(list(OF_FIELDS)).flatmap(
    lambda asked: OF_FIELDS[asked].map(lambda rest: (asked, *rest))
)
FILTERS: st.SearchStrategy[Any] = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4))
    ),
    max_leaves=8,
)


def written(node: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """A node as someone may type it."""
    space = draw(st.sampled_from([" ", "  ", "\n", "\t "]))
    if node[0] in ("and", "or"):
        word = draw(st.sampled_from([node[0], node[0].upper()]))
        return f"({f'{space}{word} '.join(written(part, draw) for part in node[1])})"
    if node[0] == "not":
        return f"not{space}{written(node[1], draw)}"
    asked, operator, value = node
    asked = draw(st.sampled_from([asked, asked.title()]))
    if operator == "in":
        return f"{asked} in{space}({','.join(quoted(each, draw) for each in value)})"
    operator = draw(st.sampled_from(["=", "=="])) if operator == "=" else operator
    gap = draw(st.sampled_from(["", space]))
    return f"{asked}{gap}{operator}{gap}{quoted(value, draw)}"


def quoted(text: str, draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    plain = not set(text) & set(" \t\n()<>=!~,'\"")
    style = draw(st.sampled_from(["'", '"', ""] if plain else ["'", '"']))
    return text if not style else style + text.replace(style, 2 * style) + style
