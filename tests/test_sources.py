"""The table of docs/index.md says what is read from where: each row is tried, with the field it names."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageDraw, ImageFont

from tests.conftest import ROOT, Run
from tests.indexer.test_metadata import iptc_fields
from tests.indexer.written_xmp import packet
from tests.raw_files import make_dng, make_jpeg
from virtue import Library
from virtue.indexer.xmp import NAMESPACES

Base, Details, Position = ExifTags.Base, ExifTags.IFD.Exif, ExifTags.GPS
Make = Callable[[Path], object]
"""Makes the file, and perhaps another beside it."""

TABLE = re.search(r"^\| from \|.*?\n\n", (ROOT / "docs" / "index.md").read_text(), re.M | re.S)
assert TABLE
ROWS = dict(re.findall(r"^\| ([^|]+?) \|[^\n]*\| `(\w+)` \|$", TABLE[0], re.M))
"""From -> the field of filters."""


def photo(file: Path, size: tuple[int, int] = (320, 240), **options: Any) -> None:
    """Another picture for every name, or they would be one photo."""
    colour = f"hsl({7 * sum(map(ord, file.name)) % 360}, {20 + len(file.name)}%, 50%)"
    Image.new("RGB", size, colour).save(file, **options)


def exif(*values: tuple[int, Any], ifd: int | None = None) -> Make:
    made = Image.Exif()
    for tag, value in values:
        (made if ifd is None else made.get_ifd(ifd))[tag] = value
    return lambda file: photo(file, exif=made)


def iptc(*fields: tuple[int, bytes]) -> Make:
    def make(file: Path) -> None:
        photo(file)
        content = file.read_bytes()
        file.write_bytes(content[:2] + iptc_fields(*fields) + content[2:])

    return make


def xmp(attributes: str = "", elements: str = "") -> Make:
    spaces = " ".join(f'xmlns:{prefix}="{address}"' for prefix, address in NAMESPACES.items())
    content = (
        f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" {spaces}>'
        f'<rdf:Description rdf:about="" {attributes}>{elements}</rdf:Description></rdf:RDF>'
    )
    return lambda file: photo(file, xmp=content.encode())


def listed(name: str, form: str, *texts: str) -> Make:
    entries = "".join(f"<rdf:li>{text}</rdf:li>" for text in texts)
    return xmp(elements=f"<{name}><rdf:{form}>{entries}</rdf:{form}></{name}>")


def beside(end: str, text: str) -> Make:
    def make(file: Path) -> None:
        photo(file)
        file.with_name(end.format(stem=file.stem)).write_text(text)

    return make


def described(text: str) -> str:
    dc = f'xmlns:dc="{NAMESPACES["dc"]}"'
    return packet(
        f'<rdf:Description rdf:about="" {dc}><dc:description>{text}</dc:description></rdf:Description>'
    )


def takeout(**fields: Any) -> Make:
    return beside("{stem}.jpg.json", json.dumps(fields))


def marked(name: str, text: str) -> str:
    area = '<mwg-rs:Area stArea:x="0.5" stArea:y="0.5" stArea:w="0.2" stArea:h="0.2"/>'
    return (
        '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag>'
        f'<rdf:li rdf:parseType="Resource">{area}<{name}>{text}</{name}></rdf:li>'
        "</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


PERSON = (
    '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>'
    '<rdf:li MPReg:PersonDisplayName="Bo" MPReg:Rectangle="0.1, 0.1, 0.2, 0.2"/>'
    "</rdf:Bag></MPRI:Regions></MP:RegionInfo>"
)


def shot(file: Path) -> Image.Image:
    return Image.new("RGB", (160, 120), f"hsl({len(file.name) * 10}, 60%, 50%)")


def pair(file: Path) -> None:
    file.write_bytes(make_jpeg(shot(file)))
    file.with_suffix(".dng").write_bytes(make_dng(shot(file)))


def sign(file: Path) -> None:
    picture = Image.new("RGB", (400, 100), "white")
    ImageDraw.Draw(picture).text((30, 30), "NO PARKING", "black", ImageFont.load_default(size=40))
    picture.save(file)


def astronaut(file: Path) -> None:
    shutil.copy(ROOT / "examples" / "photos" / "astronaut.jpg", file)


def large(file: Path) -> None:
    photo(file)
    file.write_bytes(file.read_bytes() + bytes(3_000_000))


GPS = ExifTags.IFD.GPSInfo
SYDNEY = [
    *((Position.GPSLatitudeRef, "S"), (Position.GPSLatitude, (33.0, 51.0, 36.0))),
    *((Position.GPSLongitudeRef, "E"), (Position.GPSLongitude, (151.0, 12.0, 0.0))),
]
CASES: dict[str, list[tuple[Make, str]]] = {
    "EXIF date": [
        (exif((Base.DateTimeOriginal, "2001:02:03 04:05:06"), ifd=Details), "taken = 2001-02-03T04:05:06"),
        (exif((Base.DateTimeDigitized, "2002:02:03 04:05:06"), ifd=Details), "taken = 2002"),
        (exif((Base.DateTime, "2003:02:03 04:05:06")), "taken = 2003"),
    ],
    "EXIF camera": [(exif((Base.Make, "Canon"), (Base.Model, "EOS 5D")), "camera = 'Canon EOS 5D'")],
    "EXIF position": [(exif(*SYDNEY, ifd=GPS), "gps in (-34, 151, -33, 152)")],
    "EXIF rating": [(exif((0x4746, 1)), "rating = 1")],
    "EXIF texts": [
        (exif((Base.ImageDescription, "from the description")), "caption = 'from the description'"),
        (
            exif((Base.UserComment, b"ASCII\0\0\0from the comment"), ifd=Details),
            "caption = 'from the comment'",
        ),
        (exif((Base.XPTitle, "from the title".encode("utf-16-le"))), "caption = 'from the title'"),
        (exif((Base.XPComment, "from Windows".encode("utf-16-le"))), "caption = 'from Windows'"),
    ],
    "EXIF keywords": [(exif((Base.XPKeywords, "one;two".encode("utf-16-le"))), "tag = two")],
    "RAW date": [
        (lambda file: file.write_bytes(make_dng(shot(file), taken="2008:02:03 04:05:06")), "taken = 2008")
    ],
    "RAW camera": [
        (
            lambda file: file.write_bytes(make_dng(shot(file), camera="Workshop Two")),
            "camera = 'Workshop Two'",
        )
    ],
    "RAW beside a picture": [(pair, "path = raw-beside-a-picture-0.dng")],
    "IPTC date": [(iptc((55, b"20040506"), (60, b"070809+0100")), "taken = 2004-05-06T07:08:09")],
    "IPTC texts": [
        (iptc((120, b"from IPTC")), "caption = 'from IPTC'"),
        (iptc((105, b"from the headline")), "caption = 'from the headline'"),
        (iptc((5, b"from its title")), "caption = 'from its title'"),
    ],
    "IPTC keywords": [(iptc((25, b"three"), (25, b"four")), "tag = four")],
    "XMP date": [
        (xmp('exif:DateTimeOriginal="2005-06-07T08:09:10"'), "taken = 2005"),
        (xmp('photoshop:DateCreated="2006-06-07"'), "taken = 2006-06-07"),
        (xmp('xmp:CreateDate="2007-06-07T08:09:10+02:00"'), "taken = 2007"),
    ],
    "XMP rating": [
        (xmp('xmp:Rating="2" MicrosoftPhoto:Rating="99"'), "rating = 2"),
        (xmp('MicrosoftPhoto:Rating="75"'), "rating = 4"),
    ],
    "XMP texts": [
        (listed("dc:description", "Alt", "from XMP"), "caption = 'from XMP'"),
        (listed("dc:title", "Alt", "its name"), "caption = 'its name'"),
        (listed("Iptc4xmpCore:AltTextAccessibility", "Alt", "for the blind"), "caption = 'for the blind'"),
    ],
    "XMP keywords": [(listed("dc:subject", "Bag", "five", "six"), "tag = six")],
    "XMP trees of tags": [
        (listed("lr:hierarchicalSubject", "Bag", "animal|bird|owl"), "tag = bird"),
        (listed("digiKam:TagsList", "Seq", "plant/tree/oak"), "tag = tree"),
        (listed("MicrosoftPhoto:LastKeywordXMP", "Bag", "tool/saw"), "tag = saw"),
    ],
    "XMP people": [(listed("Iptc4xmpExt:PersonInImage", "Bag", "Ida", "Otto"), "tag = Otto")],
    "XMP position": [
        (xmp('exif:GPSLatitude="47,22.1N" exif:GPSLongitude="8,32,24E"'), "gps in (47, 8, 48, 9)"),
    ],
    "XMP regions": [
        (xmp(elements=marked("mwg-rs:Type", "Pet")), "category = pet"),
        (xmp(elements=marked("mwg-rs:Type", "BarCode")), "category = barcode"),
    ],
    "XMP names": [
        (xmp(elements=marked("mwg-rs:Name", "Rex")), "caption = 'Rex'"),
        (xmp(elements=PERSON), "caption = 'Bo'"),
    ],
    "XMP sidecar": [
        (beside("{stem}.xmp", described("a note of Ada")), "caption = 'a note of Ada'"),
        (beside("{stem}.jpg.xmp", described("a note of Eve")), "caption = 'a note of Eve'"),
    ],
    "Takeout, texts": [
        (takeout(description="from Google", geoData={}), "caption = 'from Google'"),
        (takeout(title="a day at sea", geoData={}), "caption = 'a day at sea'"),
    ],
    "Takeout, people": [
        (takeout(people=[{"name": "Liv"}], geoData={}), "tag = Liv"),
        (takeout(favorited=True, geoData={}), "tag = favorite"),
    ],
    "Takeout, date": [(takeout(photoTakenTime={"timestamp": "1255000000"}), "taken = 2009-10-08")],
    "Takeout, position": [
        (takeout(geoData={"latitude": 60.5, "longitude": 25.5}), "gps in (60, 25, 61, 26)"),
        (takeout(geoDataExif={"latitude": 61.5, "longitude": 25.5}), "gps in (61, 25, 62, 26)"),
    ],
    "text file": [
        (beside("{stem}.txt", "beside it"), "caption = 'beside it'"),
        (beside("{stem}.jpg.txt", "right beside it"), "caption = 'right beside it'"),
    ],
    "`--captions`, a photo": [(photo, "caption = 'from the table'")],
    "`--captions`, a box": [(photo, "caption = 'in its middle'")],
    "`--annotations`, boxes": [(photo, "category = mug")],
    "`--annotations`, texts": [(photo, "caption = 'from COCO'")],
    "pixels, text": [(sign, "ocr = 'no parking'")],
    "pixels, things": [(astronaut, "object = person")],
    "pixels, size": [(lambda file: photo(file, (333, 240)), "width = 333")],
    "file, names": [(photo, "path = {file}")],
    "file, size": [(large, "size > 2 MB")],
}


def name(source: str, number: int) -> str:
    return f"{re.sub(r'[^a-z]+', '-', source.lower()).strip('-')}-{number}.jpg"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind."""
    folder = tmp_path_factory.mktemp("sources") / "photos"
    folder.mkdir()
    for source, cases in CASES.items():
        for number, (make, _) in enumerate(cases):
            make(folder / name(source, number))
    (folder / "captions.csv").write_text(
        "path,caption,x,y,w,h\n"
        f"{name('`--captions`, a photo', 0)},from the table,,,,\n"
        f"{name('`--captions`, a box', 0)},in its middle,100,80,60,50\n"
    )
    images = [
        {"id": number, "file_name": name(f"`--annotations`, {what}", 0), "width": 320, "height": 240}
        for number, what in enumerate(("boxes", "texts"))
    ]
    annotations = [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [10, 20, 100, 80]},
        {"id": 2, "image_id": 1, "caption": "from COCO"},
    ]
    table = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "mug"}]}
    (folder / "coco.json").write_text(json.dumps(table))
    return folder


def test_every_row_of_the_table_is_tried() -> None:
    assert list(ROWS) == list(CASES)
    for source, cases in CASES.items():
        assert {where.split()[0] for _, where in cases} == {ROWS[source]}, source


def test_what_the_table_says_is_read(virtue: Run, photos: Path, tmp_path: Path) -> None:
    words = ["--captions", photos / "captions.csv", "--annotations", photos / "coco.json", "--ocr"]
    done = virtue("index", photos, "-d", tmp_path / "library", *words)
    assert done.returncode == 0, done.stderr.decode()
    assert b"warning" not in done.stderr, done.stderr.decode()
    with Library(tmp_path / "library", read_only=True) as library:
        for source, cases in CASES.items():
            for number, (_, where) in enumerate(cases):
                file = name(source, number)
                found = library.photos(where.format(file=file))
                assert [os.path.basename(each.paths[0]) for each in found] == [file], (source, where)
        (box,) = [
            each for each in library.photos("caption = 'in its middle'")[0].regions if each.box.x0 == 100
        ]
        assert box.box.xywh == (100, 80, 60, 50)
        (mug,) = library.photos("category = mug")
        assert (10, 20, 100, 80) in [each.box.xywh for each in mug.regions]
