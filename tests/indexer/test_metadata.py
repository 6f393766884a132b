"""What photos say of themselves, and that damage in it never costs the photo."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from tests.indexer.shelf import Shelf
from virtue.indexer.embedding import MAX_CAPTION, MAX_CAPTIONS
from virtue.indexer.metadata import MAX_TAG, MAX_TAGS, Metadata, read_metadata
from virtue.phash import perceptual_hash
from virtue.pictures import load, open_image

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<rdf:Description xmp:Rating="4" xmp:CreateDate="2019-05-04T03:02:01+02:00">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Grandma's birthday</rdf:li></rdf:Alt></dc:description>
<dc:subject><rdf:Bag><rdf:li>family</rdf:li><rdf:li>Köln</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


def keywords(*words: str) -> bytes:
    listed = "".join(f"<rdf:li>{word}</rdf:li>" for word in words)
    return XMP.replace(b"<rdf:li>family</rdf:li>", listed.encode())


def exif() -> Image.Exif:
    made = Image.Exif()
    made[ExifTags.Base.Make], made[ExifTags.Base.Model] = "Canon", "Canon EOS 5D"
    made[ExifTags.Base.ImageDescription] = "a boat"
    made[0x4746] = 3
    made[ExifTags.Base.XPKeywords] = "sea;boat".encode("utf-16-le")
    details = made.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = "2021:07:08 09:10:11"
    details[ExifTags.Base.OffsetTimeOriginal] = "+09:00"
    details[ExifTags.Base.UserComment] = b"ASCII\0\0\0in the harbour"
    gps = made.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "S", (33.0, 51.0, 36.0)
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "E", (151.0, 12.0, 0.0)
    return made


def iptc(caption: bytes, *keywords: bytes) -> bytes:
    return iptc_fields((120, caption), *((25, word) for word in keywords))


def iptc_fields(*fields: tuple[int, bytes]) -> bytes:
    """A JPEG's APP13 with what Photoshop writes there."""
    records = b"".join(b"\x1c\x02" + bytes([n]) + struct.pack(">H", len(v)) + v for n, v in fields)
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records + b"\0" * (len(records) % 2)
    body = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def saved(format: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 24), "red").save(stream, format, **options)
    return stream.getvalue()


def metadata_of(content: bytes) -> Metadata:
    with open_image(content) as image:
        image.load()
        return read_metadata(image)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif(format: str) -> None:
    found = metadata_of(saved(format, exif=exif()))
    assert found.taken == "2021-07-08T09:10:11+09:00"
    assert found.camera == "Canon EOS 5D"
    assert found.latitude == pytest.approx(-33.86) and found.longitude == pytest.approx(151.2)
    assert found.rating == 3
    assert found.tags == ("sea", "boat")
    assert found.captions == ("a boat", "in the harbour")


def test_tags_of_tiff() -> None:
    """Pillow writes no EXIF block into a TIFF, only its own tags."""
    found = metadata_of(saved("TIFF", exif=exif()))
    assert (found.camera, found.rating, found.tags) == ("Canon EOS 5D", 3, ("sea", "boat"))
    assert found.captions == ("a boat",)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_xmp(format: str) -> None:
    options: dict[str, Any] = {"xmp": XMP}
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": info}
    if format == "TIFF":
        options = {"tiffinfo": {700: XMP}}
    found = metadata_of(saved(format, **options))
    assert found.captions == ("Grandma's birthday",)
    assert found.tags == ("family", "Köln")
    assert found.rating == 4
    assert found.taken == "2019-05-04T03:02:01+02:00"


def test_iptc() -> None:
    plain = saved()
    content = plain[:2] + iptc("Grüße".encode("latin-1"), b"sea", "Köln".encode()) + plain[2:]
    found = metadata_of(content)
    assert found.captions == ("Grüße",)
    assert found.tags == ("sea", "Köln")


BOILERPLATE = [
    "OLYMPUS DIGITAL CAMERA", "SONY DSC", "DSC_0042.JPG", "   ", "MEDION DIGITAL CAMERA", "hdr",
    "_cuva", "KODAK Digital Still Camera", "<KENOX S1050  / Samsung S1050>", "HELLOMOTO",
    "My beautiful picture", "default", "x-default", "Exif JPEG", "Exif_JPEG_PICTURE",
    "DCIM\\100MEDIA\\DJI_0042.JPG", "Type=N, Mode=P, DE=None", "Created with GIMP",
]  # fmt: skip


@pytest.mark.parametrize("boilerplate", BOILERPLATE)
def test_what_cameras_and_editors_write_is_no_caption(boilerplate: str) -> None:
    made = Image.Exif()
    made[ExifTags.Base.ImageDescription] = boilerplate
    made[ExifTags.Base.XPComment] = boilerplate.encode("utf-16-le")
    assert metadata_of(saved(exif=made)).captions == ()


@pytest.mark.parametrize(
    "said", ["a camera on a table", "hdr of the old town", "default settings", "Nikon meets Sony"]
)
def test_what_people_write_is_a_caption(said: str) -> None:
    made = Image.Exif()
    made[ExifTags.Base.ImageDescription] = said
    assert metadata_of(saved(exif=made)).captions == (said,)


def test_firmware_of_drones_is_no_tag() -> None:
    made = Image.Exif()
    made[ExifTags.Base.XPKeywords] = "v01.01.01;1.1.6;v1.0.0;harbour;2.5".encode("utf-16-le")
    assert metadata_of(saved(exif=made)).tags == ("harbour", "2.5")


def described(attributes: str = "", elements: str = "") -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:a="http://ns.adobe.com/xap/1.0/" '
        'xmlns:ms="http://ns.microsoft.com/photo/1.0/" '
        'xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:d="http://www.digikam.org/ns/1.0/" '
        'xmlns:p="http://ns.adobe.com/photoshop/1.0/" xmlns:x="http://example.com/other/" '
        f"{attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize(
    ("attributes", "rating"),
    [
        ('a:Rating="3" ms:Rating="50"', 3),
        ('ms:Rating="50" a:Rating="3"', 3),
        ('a:Rating="-1"', None),
        ('ms:Rating="1"', 1),
        ('ms:Rating="25"', 2),
        ('ms:Rating="75"', 4),
        ('ms:Rating="99"', 5),
        ('x:Rating="4"', None),
    ],
)
def test_ratings_of_different_namespaces_are_told_apart(attributes: str, rating: int | None) -> None:
    assert metadata_of(saved(xmp=described(attributes))).rating == rating


def test_tags_of_a_tree_are_those_of_every_level() -> None:
    bag = "<{0}><rdf:Bag><rdf:li>{1}</rdf:li></rdf:Bag></{0}>"
    tree = bag.format("lr:hierarchicalSubject", "Places|Germany|Köln") + bag.format(
        "d:TagsList", "Places/Harbour"
    )
    assert metadata_of(saved(xmp=described(elements=tree))).tags == ("Places", "Germany", "Köln", "Harbour")


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("2019-05-04", "2019-05-04"),
        ("2019-05-04T03:02", "2019-05-04T03:02:00"),
        ("2019-05-04T03:02:01.25Z", "2019-05-04T03:02:01Z"),
        ("2019-05-04T03:02:01-07:00", "2019-05-04T03:02:01-07:00"),
        ("2019-02-30", None),
        ("2019", None),
    ],
)
def test_dates(written: str, taken: str | None) -> None:
    assert metadata_of(saved(xmp=described(f'p:DateCreated="{written}"'))).taken == taken


@pytest.mark.parametrize(
    ("date", "time", "taken"),
    [
        (b"20210708", b"091011+0200", "2021-07-08T09:10:11+02:00"),
        (b"20210708", b"", "2021-07-08"),
        (b"00000000", b"000000", None),
    ],
)
def test_dates_of_iptc(date: bytes, time: bytes, taken: str | None) -> None:
    plain = saved()
    block = iptc_fields((55, date), *([(60, time)] if time else []))
    assert metadata_of(plain[:2] + block + plain[2:]).taken == taken


COMMENTS = [
    ("京都の桜", b"UNICODE\0", "utf-16-be", ">"),
    ("京都の桜", b"UNICODE\0", "utf-16-le", "<"),
    ("Garden in Kyoto", b"UNICODE\0", "utf-16-be", "<"),
    ("Garden in Kyoto", b"UNICODE\0", "utf-16-le", ">"),
    ("Garden in Kyoto", b"UNICODE\0", "utf-16", ">"),
    ("Café in Kyōto", b"UNICODE\0", "utf-8", "<"),
    ("京都の桜", b"JIS\0\0\0\0\0", "iso2022_jp", "<"),
    ("in the harbour", b"ASCII\0\0\0", "ascii", "<"),
    ("Grüße", b"\0" * 8, "utf-8", "<"),
]


@pytest.mark.parametrize(("text", "kind", "encoding", "order"), COMMENTS)
def test_comments_in_all_their_encodings(text: str, kind: bytes, encoding: str, order: str) -> None:
    comment = kind + text.encode(encoding)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHIII", 1, 0x8769, 4, 1, 26, 0)
    second = struct.pack(order + "HHHIII", 1, 0x9286, 7, len(comment), 44, 0)
    assert metadata_of(saved(exif=b"Exif\0\0" + start + first + second + comment)).captions == (text,)


def test_a_place_of_zeros_is_none() -> None:
    made = Image.Exif()
    gps = made.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitude], gps[ExifTags.GPS.GPSLongitude] = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    assert metadata_of(saved(exif=made)) == Metadata()


def test_values_that_make_no_sense_are_left_out() -> None:
    made = Image.Exif()
    made[ExifTags.Base.DateTime] = "0000:00:00 00:00:00"
    made[0x4746] = 99
    gps = made.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitude], gps[ExifTags.GPS.GPSLongitude] = (95.0, 0.0, 0.0), (1.0, 0.0, 0.0)
    assert metadata_of(saved(exif=made)) == Metadata()


def test_a_photo_without_metadata_has_none() -> None:
    assert metadata_of(saved()) == Metadata()


FULL = saved(exif=exif(), xmp=XMP)


@pytest.mark.filterwarnings("ignore:.*EXIF data:UserWarning", "ignore:Trunc|Tag data|Metadata:UserWarning")
@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(20, len(FULL) - 400), st.integers(0, 255)), min_size=1, max_size=30))
def test_damaged_metadata_never_fails(flips: list[tuple[int, int]]) -> None:
    content = bytearray(FULL)
    for place, value in flips:
        content[place] = value
    with open_image(FULL) as image:
        image.load()
        start = FULL.index(b"Exif\0\0")
        image.info["exif"] = bytes(content[start : start + len(image.info["exif"])])
        image.info["xmp"] = bytes(content[FULL.index(b"<x:xmp") :])[: len(XMP)]
        image._exif = None  # Pillow keeps what it has parsed
        found = read_metadata(image)
    assert found.rating is None or 0 <= found.rating <= 5
    for text in (*found.captions, *found.tags, found.camera or "x"):
        assert text.encode("utf-8") and "\0" not in text


def test_xml_that_explodes_is_not_expanded() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&a;</x:xmpmeta>'
    assert metadata_of(saved(xmp=bomb)) == Metadata()


def test_all_of_it_reaches_the_library(shelf: Shelf) -> None:
    shelf.photo("a.jpg", exif=exif(), xmp=XMP)
    assert shelf.index().problems == []
    texts = {(source, text) for _, source, text in shelf.captions()}
    assert texts == {
        ("metadata", "Grandma's birthday"),
        ("metadata", "a boat"),
        ("metadata", "in the harbour"),
    }


def test_the_perceptual_hash_survives_rescaling_and_tells_pictures_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hashes = []
    for _ in range(8):
        noise = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
        image = noise.resize((640, 480), Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        image.resize((400, 300)).save(stream, "JPEG", quality=60)
        first = perceptual_hash(np.asarray(image))
        again = perceptual_hash(load(stream.getvalue()).pixels)
        assert 0 <= first < 1 << 64
        assert (first ^ again).bit_count() <= 8
        assert all((first ^ other).bit_count() >= 12 for other in hashes)
        hashes.append(first)


def test_tags_of_one_photo_are_bounded(shelf: Shelf) -> None:
    words = ["x" * (MAX_TAG + 1), *(f"tag {n}" for n in range(MAX_TAGS + 50))]
    shelf.photo("a.png", pnginfo=None).write_bytes(saved(xmp=keywords(*words)))
    report = shelf.index()
    assert report.indexed == 1 and not report.problems
    (warning,) = report.warnings
    assert "a.png: the first 1,000 tags" in warning and "of 1,052" in warning
    assert shelf.index().warnings == []
    with shelf.store.read() as snapshot:
        (count,) = snapshot.connection.execute("SELECT count(*) FROM tags").fetchone()
    assert count == MAX_TAGS


def test_captions_of_one_photo_are_bounded(shelf: Shelf) -> None:
    shelf.photo("a.png")
    told = shelf.photos / "captions.csv"
    lines = [f"a.png,caption {n}" for n in range(MAX_CAPTIONS + 7)]
    told.write_text("\n".join(["path,caption", "a.png," + "y" * (MAX_CAPTION + 1), *lines]))
    (shelf.photos / "a.txt").write_text("beside it")
    report = shelf.index(captions=told)
    (warning,) = [sentence for sentence in report.warnings if "captions" in sentence]
    assert "a.png: the first 1,000 captions" in warning and "of 1,009" in warning
    texts = [text for _, _, text in shelf.captions()]
    assert len(texts) == MAX_CAPTIONS and "caption 0" in texts and "beside it" not in texts
