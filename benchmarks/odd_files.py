"""Sound pictures with odd things in and beside them, and tables of other programs:
what `benchmarks.bad_files` indexes. Each kind is a function that makes one, another each time."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

Chance = random.Random
Files = dict[str, bytes]
"""What follows a stem -> content; the picture comes first."""

NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}
TEXTS = (
    "Grüße aus Köln",
    "京都の桜",
    "مرحبا",
    "a\0b",
    "\ufeff",
    "\u202eabc",
    "x" * 20_000,
    "",
    " ",
    "a; b; c",
    "\ud83d",
)
CAMERAS = (
    *("OLYMPUS DIGITAL CAMERA", "x-default", "Exif JPEG", "hdr", "DCIM\\100MEDIA\\DJI_0042.JPG", "HELLOMOTO"),
    *("<KENOX S1050  / Samsung S1050>", "My beautiful picture", "Type=N, Mode=P, DE=None", "v01.01.01"),
)
DATES = (
    *(
        "0000:00:00 00:00:00",
        "2024:02:30 10:00:00",
        "2024:05:06",
        "2024-05-06T07:08:09.123456+25:00",
        "yesterday",
    ),
    *("    :  :     :  :  ", "2024:05:06 24:61:61", "9999:12:31 23:59:59Z", "20240506", "\0" * 20),
)


def image(chance: Chance, mode: str = "RGB", size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Soft colours; another picture each time."""
    cells = np.random.default_rng(chance.randrange(1 << 32)).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC).convert(mode)


def saved(picture: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def with_xmp(chance: Chance, xmp: bytes) -> Files:
    format = chance.choice(("JPEG", "PNG", "WEBP", "TIFF"))
    if format == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"), zip=chance.random() < 0.5)
        return {".png": saved(image(chance), format, pnginfo=info)}
    if format == "TIFF":
        return {".tif": saved(image(chance), format, tiffinfo={700: xmp})}
    return {"." + format.lower().replace("jpeg", "jpg"): saved(image(chance), format, xmp=xmp[:65_000])}


def describe(attributes: str = "", elements: str = "") -> bytes:
    spaces = " ".join(f'xmlns:{name}="{address}"' for name, address in NAMESPACES.items())
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {spaces}><rdf:Description rdf:about="" {attributes}>'
        f"{elements}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode("utf-8", "replace")


def bag(name: str, entries: list[str], form: str = "Bag") -> str:
    listed = "".join(f"<rdf:li>{entry}</rdf:li>" for entry in entries)
    return f"<{name}><rdf:{form}>{listed}</rdf:{form}></{name}>"


# -- metadata ----------------------------------------------------------------------------------------------


def ratings(chance: Chance) -> Files:
    values = ["3", "-1", "99", "5.0", "1e400", "nan", "three", "", "0x3", "\u0664", "50"]
    names = ["xmp:Rating", "MicrosoftPhoto:Rating", "tiff:Rating"]
    return with_xmp(chance, describe(" ".join(f'{name}="{chance.choice(values)}"' for name in names)))


def broken_xmp(chance: Chance) -> Files:
    return with_xmp(chance, break_xmp(chance))


def break_xmp(chance: Chance) -> bytes:
    sound = describe('xmp:Rating="3"', bag("dc:subject", ["one", "two"]))
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(20)
    )
    return chance.choice(
        [
            sound[: chance.randrange(len(sound))],
            sound.decode().encode("utf-16"),
            entities + b"]>" + sound.replace(b"one", b"&u;"),
            b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + sound.replace(b"one", b"&f;"),
            b"<a>" * 20_000,
            sound.replace(b"one", b"\1\2\3"),
            sound.replace(b"xmlns:dc", b"xmlns:cd"),
            sound + sound,
            sound.replace(b"rdf:li", b"rdf:lo"),
            chance.randbytes(5000),
        ]
    )


def comments(chance: Chance) -> Files:
    text, order = chance.choice(TEXTS[:6]), chance.choice("<>")
    kind, encoding = chance.choice(
        [
            (b"ASCII\0\0\0", "ascii"),
            (b"UNICODE\0", "utf-16-le"),
            (b"UNICODE\0", "utf-16-be"),
            (b"UNICODE\0", "utf-16"),
            (b"UNICODE\0", "utf-8"),
            (b"JIS\0\0\0\0\0", "iso2022_jp"),
            (bytes(8), "latin-1"),
            (b"\xff" * 8, "utf-8"),
            (b"", "utf-8"),
        ]
    )
    content = kind + text.encode(encoding, "replace")
    content = content[: len(content) - chance.randrange(2)]
    details = struct.pack(order + "HHHIII", 1, 0x9286, 7, len(content), 44, 0) + content
    return {".jpg": saved(image(chance), exif=b"Exif\0\0" + ifd(order, [(0x8769, 4, 1, 26)]) + details)}


def ifd(order: str, entries: list[tuple[int, int, int, int]]) -> bytes:
    """A TIFF header with one directory: (tag, type, count, value or offset)."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    packed = b"".join(struct.pack(order + "HHII", *entry) for entry in sorted(entries))
    return start + struct.pack(order + "H", len(entries)) + packed + bytes(4)


def exif_of_any_type(chance: Chance) -> Files:
    known = [
        0x010E,
        0x010F,
        0x0110,
        0x0112,
        0x0132,
        0x4746,
        0x8769,
        0x8825,
        0x9C9B,
        0x9C9C,
        0x9C9E,
        0x9286,
        0x9003,
    ]
    entries = [
        (
            tag,
            chance.randrange(14),
            chance.choice([0, 1, 2, 7, 1000, 0xFFFFFFFF]),
            chance.randrange(1 << 32) >> chance.randrange(32),
        )
        for tag in chance.sample(known, chance.randrange(1, len(known)))
    ]
    content = b"Exif\0\0" + ifd(chance.choice("<>"), entries) + chance.randbytes(chance.randrange(2000))
    format = chance.choice(("JPEG", "PNG", "WEBP"))
    return {"." + format.lower().replace("jpeg", "jpg"): saved(image(chance), format, exif=content)}


def described(chance: Chance) -> Files:
    """What cameras write, in the places of descriptions and tags; Windows' texts, some of an odd length."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = chance.choice(CAMERAS)
    for tag in (ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPKeywords):
        # Together less than the 64 kB that a JPEG may have of them.
        written = chance.choice(CAMERAS + TEXTS[:10]).encode("utf-16-le", "surrogatepass")[:20_000]
        exif[tag] = written[: len(written) - chance.randrange(2)]
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = (
        chance.choice(("", " ", "Canon")),
        chance.choice(CAMERAS),
    )
    return {".jpg": saved(image(chance), exif=exif)}


def places(chance: Chance) -> Files:
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    values: list[Any] = [(0.0, 0.0, 0.0), (91.0, 0.0, 0.0), (47.0, 99.0, 1e9), (47.5,), (1.0, 2.0, 3.0, 4.0)]
    gps[ExifTags.GPS.GPSLatitude], gps[ExifTags.GPS.GPSLongitude] = (
        chance.choice(values),
        chance.choice(values),
    )
    if chance.random() < 0.8:
        gps[ExifTags.GPS.GPSLatitudeRef] = chance.choice(("N", "S", "s", "X", "", "\0"))
        gps[ExifTags.GPS.GPSLongitudeRef] = chance.choice(("E", "W", "w", "0"))
    content = exif.tobytes()
    if chance.random() < 0.3:
        content = content.replace(struct.pack("<II", 0, 1), struct.pack("<II", 1, 0))  # divided by zero
    return {".jpg": saved(image(chance), exif=content)}


def dates(chance: Chance) -> Files:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = chance.choice(DATES)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = chance.choice(DATES)
    details[ExifTags.Base.OffsetTimeOriginal] = chance.choice(("+09:00", "Z", "+99:99", "", "local"))
    xmp = describe(
        f'photoshop:DateCreated="{chance.choice(DATES[:9])}" xmp:CreateDate="{chance.choice(DATES[:9])}"'
    )
    return {".jpg": saved(image(chance), exif=exif, xmp=xmp)}


def iptc(chance: Chance) -> Files:
    fields = [(25, b"word %d" % n) for n in range(chance.choice((0, 3, 1500)))]
    fields += [
        (120, chance.choice(TEXTS[:6]).encode(chance.choice(("utf-8", "latin-1", "utf-16")), "replace"))
    ]
    fields += [(55, b"20240230"), (60, b"250000+9999"), (5, bytes(range(256))), (chance.randrange(256), b"")]
    records = b"".join(
        b"\x1c\x02" + bytes([n]) + struct.pack(">H", len(value)) + value for n, value in fields
    )
    records = records[: chance.choice((len(records), chance.randrange(1, len(records))))]
    block = (
        b"Photoshop 3.0\08BIM\x04\x04\0\0"
        + struct.pack(">I", len(records))
        + records
        + bytes(len(records) % 2)
    )
    content = saved(image(chance))
    return {".jpg": content[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + content[2:]}


def trees(chance: Chance) -> Files:
    between = chance.choice("|/")
    paths = [
        between.join(chance.choices("abcdefghij", k=chance.randrange(1, 40)))
        for _ in range(chance.choice((1, 40, 900)))
    ]
    name = chance.choice(("lr:hierarchicalSubject", "digiKam:TagsList"))
    return with_xmp(
        chance,
        describe("", bag(name, [*paths, between, "", between * 3], chance.choice(("Bag", "Seq", "Alt")))),
    )


def orientations(chance: Chance) -> Files:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = chance.choice((0, 5, 6, 8, 9, 255, 65535))
    xmp = describe(f'tiff:Orientation="{chance.choice((0, 6, 8, 9, "left"))}"')
    options = chance.choice(({"exif": exif}, {"xmp": xmp}, {"exif": exif, "xmp": xmp}))
    return {".jpg": saved(image(chance), **options)}


# -- pictures ----------------------------------------------------------------------------------------------


def png_texts(chance: Chance) -> Files:
    info = PngInfo()
    for number in range(chance.choice((1, 3, 800))):
        info.add_text(f"key {number}", "y" * chance.choice((1, 3000)), zip=chance.random() < 0.5)
    if chance.random() < 0.5:
        info.add_itxt("workflow", "x" * chance.choice((1_500_000, 3_000_000)), zip=True)
    content = saved(image(chance), "PNG", pnginfo=info)
    if chance.random() < 0.2:  # a text that cannot be unpacked
        place = content.index(b"Xt")
        content = content[: place + 20] + b"\xff" * 4 + content[place + 24 :]
    return {".png": content}


def profiles(chance: Chance) -> Files:
    kind, format = chance.randrange(5), chance.choice(("PNG", "JPEG", "TIFF", "WEBP"))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if kind == 0:
        profile += bytes(range(256)) * (6000 if format == "PNG" else 100)
    elif kind == 1:
        profile = profile[: chance.randrange(1, len(profile))]
    elif kind == 2:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    elif kind == 3:  # linear: the curve of each channel is the straight line
        place = profile.index(b"para") if b"para" in profile else profile.index(b"curv")
        profile = profile[:place] + b"curv" + bytes(8) + profile[place + 12 :]
    content = saved(image(chance), format, icc_profile=profile)
    return {{"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp"}[format]: content}


def bmp_alpha(chance: Chance) -> Files:
    w, h = 160, 120
    alpha = chance.choice((0, 0, 255, 128))
    pixels = np.dstack([np.asarray(image(chance))[:, :, ::-1], np.full((h, w), alpha, np.uint8)]).tobytes()
    size = chance.choice((40, 108, 124))
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, chance.choice((0, 0xFF000000)))
    compression = 0 if size == 40 else chance.choice((0, 3))
    head = struct.pack(
        "<IiiHHIIiiII", size, w, chance.choice((h, -h)), 1, 32, compression, len(pixels), 0, 0, 0, 0
    )
    head += (masks + bytes(124))[: size - 40]
    return {".bmp": b"BM" + struct.pack("<IHHI", 14 + size + len(pixels), 0, 0, 14 + size) + head + pixels}


def tiffs(chance: Chance) -> Files:
    if chance.random() < 0.5:
        mode = chance.choice(("F", "I", "I;16", "1", "LAB", "CMYK", "LA", "PA"))
        picture = (
            Image.merge(mode, image(chance).split()) if mode == "LAB" else image(chance, "L").convert(mode)
        )
        return {
            ".tif": saved(
                picture, "TIFF", compression=chance.choice((None, "tiff_lzw", "tiff_adobe_deflate"))
            )
        }
    w, h, bits, order = 160, 120, chance.choice((8, 16)), chance.choice("<>")
    planes = np.asarray(image(chance)).transpose(2, 0, 1).astype(f"{order}u{bits // 8}") * (
        257 if bits == 16 else 1
    )
    pixels = planes.astype(f"{order}u{bits // 8}").tobytes()
    end = 8 + 2 + 10 * 12 + 4
    extra = struct.pack(order + "3H", bits, bits, bits) + struct.pack(
        order + "6I", *(end + 30 + n * len(pixels) // 3 for n in range(3)), *[len(pixels) // 3] * 3
    )
    shorts = {256: w, 257: h, 259: 1, 262: 2, 277: 3, 278: h, 284: 2}
    entries = [(tag, 3, 1, value if order == "<" else value << 16) for tag, value in shorts.items()]
    entries += [(258, 3, 3, end), (273, 4, 3, end + 6), (279, 4, 3, end + 18)]
    return {".tif": ifd(order, entries) + extra + pixels}


def animations(chance: Chance) -> Files:
    frames = [image(chance) for _ in range(chance.choice((2, 20)))]
    format, suffix = chance.choice((("GIF", ".gif"), ("PNG", ".png"), ("WEBP", ".webp"), ("MPO", ".jpg")))
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    content = saved(
        frames[0], format, **options, **({} if format == "MPO" else {"duration": chance.choice((0, 40))})
    )
    return {suffix: content + chance.choice((b"", b"\0" * 5000, chance.randbytes(5000)))}


def names(chance: Chance) -> Files:
    """Names that are hard to read, print or pass on."""
    odd = chance.choice(
        ("\n", "\x1b[31m", "\u202e", "'", '"', "$(id)", "*", "\\", "%00", "-", " ", "é", "e\u0301", "😀" * 40)
    )
    return {odd + chance.choice((".JPG", ".Jpeg", ".jpe", ".jfif")): saved(image(chance))}


# -- what lies beside a picture ----------------------------------------------------------------------------


def text_files(chance: Chance) -> Files:
    text = chance.choice((*TEXTS, "0 0.5 0.5 0.1 0.1\n1 0.1 0.2 0.3 0.4\n", "word " * 40_000))
    encoding = chance.choice(("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"))
    suffix = chance.choice((".txt", ".TXT", ".jpg.txt", ".jpg.TXT"))
    return {".jpg": saved(image(chance)), suffix: text.encode(encoding, "replace")}


def sidecars(chance: Chance) -> Files:
    """What photo programs and Google Takeout write beside a picture."""
    sound = describe(
        'xmp:Rating="4"', bag("dc:subject", ["one", "two"]) + bag("lr:hierarchicalSubject", ["a|b|c"])
    )
    xmp = chance.choice((sound, sound, break_xmp(chance)))
    takeout: Any = {
        "title": "a.jpg",
        "description": chance.choice((*TEXTS[:10], None, 7, ["x"])),
        "photoTakenTime": chance.choice(({"timestamp": "1600000000"}, {"timestamp": "1e99"}, "now", None)),
        "geoData": chance.choice(
            ({"latitude": 0.0, "longitude": 0.0}, {"latitude": "47", "longitude": 1e9}, [], None)
        ),
        "people": chance.choice(([{"name": "Ada"}], [{"name": None}], {}, "Ada")),
    }
    content = json.dumps(chance.choice((takeout, [takeout], {}, 7))).encode()
    content = chance.choice((content, content[: chance.randrange(len(content))], b"[" * 50_000))
    suffix, beside = chance.choice(
        (
            (".xmp", xmp),
            (".jpg.xmp", xmp),
            (".XMP", xmp),
            (".jpg.json", content),
            (".jpg.supplemental-metadata.json", content),
        )
    )
    return {".jpg": saved(image(chance)), suffix: beside}


KINDS: dict[str, Callable[[Chance], Files]] = {
    "ratings of several programs": ratings,
    "XMP that is broken": broken_xmp,
    "comments in all encodings": comments,
    "EXIF of any types": exif_of_any_type,
    "what cameras write": described,
    "places that are none": places,
    "dates that are none": dates,
    "IPTC that is broken": iptc,
    "tags of a tree": trees,
    "orientations that are none": orientations,
    "PNG with long texts": png_texts,
    "odd colour profiles": profiles,
    "BMP with alpha": bmp_alpha,
    "TIFF of odd modes and planes": tiffs,
    "animations": animations,
    "odd names": names,
    "text files beside": text_files,
    "sidecars": sidecars,
}


# -- tables of other programs ------------------------------------------------------------------------------


def coco(chance: Chance) -> bytes:
    ring = [10, 20, 110, 20, 110, 100, 10, 100]
    paths = [
        "a.jpg",
        "images\\a.jpg",
        "C:\\data\\b.jpg",
        "/somewhere/b.jpg",
        "deep/er/c.jpg",
        "A.JPG",
        "none.jpg",
        "",
        None,
    ]
    images = [
        {
            "id": chance.choice((1, 2, 3, "1", None)),
            "file_name": chance.choice(paths),
            "width": 160,
            "height": chance.choice((120, 0, "120")),
        }
        for _ in range(chance.choice((0, 1, 5, 60)))
    ]
    boxes: list[Any] = [
        [10, 20, 100, 80],
        [-0.4, 0, 160.4, 120],
        [10, 20, 0, 0],
        [],
        [1, 2],
        None,
        [1e30, 0, 1, 1],
        "box",
    ]
    outlines: list[Any] = [
        [ring],
        [[]],
        ring,
        [[10, 20, 110, 100]],
        [ring, [1, 1, 2, 2]],
        {"size": [120, 160], "counts": "0"},
        None,
    ]
    annotations = [
        {
            "id": chance.choice((number, 1)),
            "image_id": chance.choice((1, 2, 3, 99, "1")),
            "category_id": chance.choice((1, 7, None)),
            "bbox": chance.choice(boxes),
            "segmentation": chance.choice(outlines),
            **chance.choice(({}, {"caption": chance.choice(TEXTS[:10])}, {"iscrowd": 1})),
        }
        for number in range(chance.choice((0, 1, 30)))
    ]
    table: Any = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "mug"}]}
    for key in chance.sample(sorted(table), chance.choice((0, 0, 0, 1))):
        table[key] = chance.choice(([], {}, None, [None]))
    content = json.dumps(table).encode()
    return chance.choice(
        (content, content, content, b"\xef\xbb\xbf" + content, content[: len(content) // 2], b"")
    )


def captions(chance: Chance) -> bytes:
    between = chance.choice(",;\t|")
    header = chance.choice(
        (
            ["path", "caption"],
            ["Path", "Caption", "x", "y", "w", "h"],
            ["file", "text"],
            ["caption", "path", "more"],
        )
    )
    values = [
        "a.jpg",
        "images\\b.jpg",
        "Grüße aus Köln",
        "1,5",
        "-3",
        '"',
        'a "quoted" word',
        "",
        "none.jpg",
        "京都",
    ]
    rows = [header, *([chance.choice(values) for _ in header] for _ in range(chance.choice((0, 1, 40))))]
    text = chance.choice(("\n", "\r\n", "\r")).join(between.join(row) for row in rows)
    if chance.random() < 0.3:
        lines: list[Any] = [
            {"path": "a.jpg", "caption": "red"},
            {"path": 7},
            [],
            None,
            {"path": "b.jpg", "caption": "x", "x": "1"},
        ]
        text = "\n".join(json.dumps(chance.choice(lines)) for _ in range(5))
    encoding = chance.choice(("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be"))
    before = chance.choice(("", f"sep={between}\n", "\n\n"))
    return (before + text).encode(encoding, "replace")


TABLES: dict[str, tuple[str, Callable[[Chance], bytes]]] = {
    "COCO of other programs": ("--annotations", coco),
    "captions of other programs": ("--captions", captions),
}
"""Kind -> the option that takes such a table, and what makes one."""
