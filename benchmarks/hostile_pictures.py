"""Pictures that ask for far more than they are: in pixels, frames, parts, texts or time."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from benchmarks.bad_files import (
    cut,
    flip,
    flip_head,
    lie,
    make_bombs,
    make_originals,
    move,
    saved,
    splice,
)

Chance = random.Random
Picture = tuple[str, str, bytes]
"""What is wrong with it, the ending of its name, and its content."""


def hostile_pictures(chance: Chance, count: int) -> list[Picture]:
    originals = make_originals(chance)
    bombs = make_bombs()
    makes = [*BOMBS, *({ending: content} for ending, content in bombs.items())]
    found: list[Picture] = []
    for number in range(count):
        if number % 3 == 0 and makes:
            make = makes[number // 3 % len(makes)]
            if isinstance(make, dict):
                ((ending, content),) = make.items()
                found.append(("declares 30,000 x 30,000", ending, content))
            else:
                ending, content = make(chance)
                found.append((make.__name__, ending, content))
            continue
        name = chance.choice(sorted(originals))
        harm: Callable[[bytes, Chance], bytes] = chance.choice(
            (flip, flip_head, cut, lie, lie, move, lambda old, chance: splice(old, chance, originals))
        )
        found.append(("damaged", name.split("-")[0], harm(originals[name], chance)))
    return found


def png(*chunks: tuple[bytes, bytes], side: int = 16) -> bytes:
    """A gray PNG with these chunks before its pixels."""
    rows = zlib.compress(bytes(side + 1) * side)
    content = b"\x89PNG\r\n\x1a\n"
    head = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    for kind, data in (head, *chunks, (b"IDAT", rows), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


def zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(megabytes)) + packer.flush()


def text_that_expands(chance: Chance) -> tuple[str, bytes]:
    return "png", png((b"zTXt", b"Comment\0\0" + zeros(500)))


def texts_that_expand(chance: Chance) -> tuple[str, bytes]:
    return "png", png(*[(b"zTXt", b"Comment\0\0" + zeros(1))] * 2000)


def unicode_text_that_expands(chance: Chance) -> tuple[str, bytes]:
    return "png", png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(500)))


def profile_that_expands(chance: Chance) -> tuple[str, bytes]:
    return "png", png((b"iCCP", b"icc\0\0" + zeros(500)))


def many_chunks(chance: Chance) -> tuple[str, bytes]:
    return "png", png(*[(b"tEXt", b"k%d\0v" % n) for n in range(100_000)])


def frames_of_another_size(chance: Chance) -> tuple[str, bytes]:
    control = struct.pack(">IIIIIHHBB", 0, 2**30, 2**30, 0, 0, 1, 1, 0, 0)
    return "png", png((b"acTL", struct.pack(">II", 2**31 - 1, 0)), (b"fcTL", control))


def xmp_of(text: bytes) -> bytes:
    return png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text))


def entities_that_expand(chance: Chance) -> tuple[str, bytes]:
    names = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{names}]>'
    text = f'{head}<x:xmpmeta xmlns:x="a">&e11;</x:xmpmeta>'
    return "png", xmp_of(text.encode())


def entities_from_outside(chance: Chance) -> tuple[str, bytes]:
    text = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x:xmpmeta xmlns:x="a">&e;</x:xmpmeta>'
    return "png", xmp_of(text.encode())


def deep_xmp(chance: Chance) -> tuple[str, bytes]:
    return "png", xmp_of(b'<x:xmpmeta xmlns:x="a">' + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</x:xmpmeta>")


def many_subjects(chance: Chance) -> tuple[str, bytes]:
    items = "".join(f"<rdf:li>{n}</rdf:li>" for n in range(200_000))
    text = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag>{items}</rdf:Bag>'
        "</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    return "png", xmp_of(text.encode())


def many_frames(chance: Chance) -> tuple[str, bytes]:
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    head = b"GIF89a" + struct.pack("<HHBBB", 4000, 4000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return "gif", head + frame * 200_000 + b";"


def large_screen(chance: Chance) -> tuple[str, bytes]:
    content = bytearray(saved(Image.new("L", (16, 16)), "GIF", {}))
    content[6:10] = b"\xff\xff\xff\xff"
    return "gif", bytes(content)


def many_scans(chance: Chance) -> tuple[str, bytes]:
    """A JPEG that goes over all of its pixels thousands of times."""
    side = 9000
    content = saved(Image.new("L", (side, side)), "JPEG", {"progressive": True, "quality": 10})
    start = content.rindex(b"\xff\xda")
    scan = content[start:-2]
    return "jpg", content[:-2] + scan * (3_000_000 // len(scan)) + content[-2:]


def many_markers(chance: Chance) -> tuple[str, bytes]:
    content = saved(Image.new("L", (16, 16)), "JPEG", {})
    return "jpg", content[:2] + b"\xff\xe1\x00\x08Exif\0\0" * 200_000 + content[2:]


def long_profile(chance: Chance) -> tuple[str, bytes]:
    content = saved(Image.new("RGB", (16, 16)), "JPEG", {})
    part = b"\xff\xe2" + struct.pack(">H", 65_533) + b"ICC_PROFILE\0\1\xff" + bytes(65_517)
    return "jpg", content[:2] + part * 200 + content[2:]


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0, more: bytes = b"") -> bytes:
    """A TIFF of these entries (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + directory + struct.pack("<I", following) + more


def basic(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]


def directories_in_a_circle(chance: Chance) -> tuple[str, bytes]:
    return "tif", tiff([*basic(16, 16), (273, 4, 1, 0), (278, 4, 1, 16), (279, 4, 1, 256)], 8, bytes(256))


def many_strips(chance: Chance) -> tuple[str, bytes]:
    return "tif", tiff([*basic(9000, 9000), (273, 4, 10**8, 100), (278, 4, 1, 1), (279, 4, 10**8, 100)])


def tiles_without_end(chance: Chance) -> tuple[str, bytes]:
    entries = [*basic(9000, 9000), (322, 4, 1, 2**31), (323, 4, 1, 2**31), (324, 4, 1, 8), (325, 4, 1, 2**31)]
    return "tif", tiff(entries)


def sub_directory_in_itself(chance: Chance) -> tuple[str, bytes]:
    entries = [
        *basic(16, 16),
        (273, 4, 1, 200),
        (278, 4, 1, 16),
        (279, 4, 1, 256),
        (330, 4, 1, 8),
        (34665, 4, 1, 8),
    ]
    return "tif", tiff(entries, 0, bytes(600))


def deflated_tiff(chance: Chance) -> tuple[str, bytes]:
    return "tif", saved(Image.new("RGB", (9000, 9000)), "TIFF", {"compression": "tiff_deflate"})


def other_size(ending: str, format: str, mark: bytes, skip: int, chance: Chance) -> tuple[str, bytes]:
    """A picture of the ISO base media format that declares another size."""
    content = bytearray(saved(Image.new("RGB", (64, 64)), format, {}))
    place = content.find(mark)
    if place >= 0:
        value = chance.choice((2**31 - 1, 2**32 - 1, 60_000, 30_000, 0))
        content[place + skip : place + skip + 8] = struct.pack(">II", value, value)
    return ending, bytes(content)


def large_avif(chance: Chance) -> tuple[str, bytes]:
    return other_size("avif", "AVIF", b"ispe", 8, chance)


def boxes_in_boxes(chance: Chance) -> tuple[str, bytes]:
    inner = b""
    for _ in range(20_000):
        inner = struct.pack(">I", len(inner) + 8) + b"moov" + inner
        if len(inner) > 200_000:
            break
    brand = chance.choice((b"heic", b"avif", b"mif1"))
    return "heic", struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1heic" + inner


def large_webp(chance: Chance) -> tuple[str, bytes]:
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff\x3f\0" + b"\xff\x3f\0"
    animation = b"ANIM" + struct.pack("<I", 6) + bytes(6)
    frames = b""
    still = saved(Image.new("RGB", (16, 16)), "WEBP", {})[12:]
    for _ in range(5000):
        data = bytes(6) + b"\xff\x3f\0\xff\x3f\0" + b"\1\0\0\0" + still
        frames += b"ANMF" + struct.pack("<I", len(data)) + data
    body = b"WEBP" + extended + animation + frames
    return "webp", b"RIFF" + struct.pack("<I", len(body)) + body


def plain_webp(chance: Chance) -> tuple[str, bytes]:
    return "webp", saved(Image.new("RGB", (16383, 6000)), "WEBP", {"lossless": True, "method": 0})


def large_bmp(chance: Chance) -> tuple[str, bytes]:
    content = bytearray(saved(Image.new("P", (16, 16)), "BMP", {}))
    content[18:26] = struct.pack("<ii", chance.choice((-1, 2**31 - 1, 9000)), chance.choice((-(2**31), 9000)))
    content[30:34] = struct.pack("<I", 1)  # run lengths
    return "bmp", bytes(content)


def long_exif(chance: Chance) -> tuple[str, bytes]:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    exif[0x9C9C] = tuple([65, 0] * 1000)
    content = bytearray(exif.tobytes())
    for _ in range(20):
        content[chance.randrange(6, min(len(content), 200))] = chance.randrange(256)
    return "jpg", saved(Image.new("RGB", (16, 16)), "JPEG", {"exif": bytes(content)})


BOMBS: tuple[Callable[[Chance], tuple[str, bytes]], ...] = (
    text_that_expands, texts_that_expand, unicode_text_that_expands, profile_that_expands, many_chunks,
    frames_of_another_size, entities_that_expand, entities_from_outside, deep_xmp, many_subjects, many_frames,
    large_screen, many_scans, many_markers, long_profile, directories_in_a_circle, many_strips,
    tiles_without_end, sub_directory_in_itself, deflated_tiff, large_avif, large_avif, boxes_in_boxes,
    large_webp, plain_webp, large_bmp, long_exif, long_exif,
)  # fmt: skip
