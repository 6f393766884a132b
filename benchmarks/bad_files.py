"""Indexes files that are broken in every way, or odd: `python -m benchmarks.bad_files`.

    python -m benchmarks.bad_files [--files 2000] [--seed 1]

Half are pictures of every format with flipped bits, cut off, with headers that lie or parts in the wrong
place; bombs of 30,000 x 30,000 pixels; empty files, folders called x.jpg, links that lead nowhere, names in
no encoding. The others are sound, with odd metadata, texts, profiles, modes, names and sidecars
(`benchmarks.odd_files`), and one in forty is a table of annotations or captions, indexed by a command of its
own. Prints one JSON object. A fault is: `virtue index` ends with another status than 0 (or, for a table that
it refuses by name, 2), a decoder that dies or hangs, or a file that is neither indexed nor named with a
reason. The exit status is 1 if there was a fault, or if all processes together held more than 1.5 GB at any
moment.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.odd_files import KINDS, TABLES, image
from benchmarks.watched import watch
from virtue.store import open_store

BOMB = 30_000
MEMORY_MB = 1500
LOST = ("reading it ended the decoder", "reading it took more than")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, library = Path(scratch) / "photos", Path(scratch) / "library"
        folder.mkdir()
        chance, tables = random.Random(options.seed), options.files // 40
        kinds = make_files(os.fsencode(folder), options.files // 2, chance)
        odd = make_odd_files(os.fsencode(folder), options.files - len(kinds) - tables, chance)
        command = [sys.executable, "-m", "virtue", "index", str(folder), "--database", str(library)]
        done = watch([*command, "--quiet"])
        with open_store(library, create=True) as store, store.read() as snapshot:
            files = snapshot.files()
        again = watch([*command, "--json"])
        table_kinds, refused, table_faults = index_tables(Path(scratch), tables, chance)
    kinds |= odd
    problems = {path: state.problem for path, state in files.items() if state.problem}
    indexed = [path for path, state in files.items() if state.hash]
    forgotten = [path for path in kinds if path not in files]
    lost = {path: reason for path, reason in problems.items() if reason.startswith(LOST)}
    crashes = [run.stderr[-2000:] for run in (done, again) if run.status != 0] + table_faults
    unsound = Counter(f"{odd[path]}: {plain(problems[path])}" for path in odd if path in problems)
    figures = {
        "benchmark": "bad_files",
        "files": len(kinds) + tables,
        "indexed": len(indexed),
        "named_with_a_reason": len(problems),
        "neither": len(forgotten),
        "odd": len(odd),
        "odd_and_named": dict(unsound.most_common()),
        "tables": tables,
        "tables_refused_by_name": refused,
        "crashes": len(crashes),
        "decoders_lost": len(lost),
        "peak_mb": round(done.peak_mb),
        "seconds": round(done.seconds, 1),
        "seconds_again": round(again.seconds, 2),
        "kinds": dict(Counter([*kinds.values(), *table_kinds]).most_common()),
        "reasons": dict(Counter(map(plain, problems.values())).most_common(12)),
        "what": [*crashes, *map(repr, forgotten[:20]), *map(repr, list(lost.items())[:20])],
        "seed": options.seed,
    }
    print(json.dumps(figures, indent=2))
    return int(bool(crashes or forgotten or lost or done.peak_mb > MEMORY_MB))


def plain(reason: str) -> str:
    return reason.split("(")[0].strip()


def make_files(folder: bytes, count: int, chance: random.Random) -> dict[bytes, str]:
    """Path -> what is wrong with it."""
    originals, bombs = make_originals(chance), make_bombs()
    kinds: dict[bytes, str] = {}
    broken: list[tuple[str, Callable[[bytes, random.Random], bytes]]] = [
        ("bits flipped", flip),
        ("bits flipped near the beginning", flip_head),
        ("cut off", cut),
        ("a header that lies", lie),
        ("a part moved", move),
        ("a part of another file", lambda content, chance: splice(content, chance, originals)),
    ]
    for number in range(count):
        suffix = chance.choice(sorted(originals))
        name = random_name(chance) if number % 10 == 9 else b"%05d" % number
        path = os.path.join(folder, name + b"." + suffix.split("-")[0].encode())
        odd = number % 40
        if odd == 0:
            kinds[path], _ = "empty", write(path, b"")
        elif odd == 1:
            os.mkdir(path)
            kinds[path] = "folder"
        elif odd == 2:
            os.symlink(b"nowhere", path)
            kinds[path] = "link that leads nowhere"
        elif odd == 3:
            suffix = chance.choice(sorted(bombs))
            path = os.path.join(folder, name + b"." + suffix.encode())
            kinds[path], _ = "bomb", write(path, bombs[suffix])
        elif odd == 4:
            kinds[path], _ = "zeros", write(path, bytes(chance.randrange(1, 100_000)))
        elif odd == 5:
            kinds[path], _ = "noise", write(path, chance.randbytes(chance.randrange(1, 100_000)))
        else:
            what, harm = broken[number % len(broken)]
            kinds[path], _ = what, write(path, harm(originals[suffix], chance))
    return kinds


def make_odd_files(folder: bytes, count: int, chance: random.Random) -> dict[bytes, str]:
    """Path of a picture -> what is odd about it; what lies beside it has no entry of its own."""
    kinds: dict[bytes, str] = {}
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        stem = os.path.join(folder, b"odd%05d" % number)
        made = KINDS[kind](chance)
        for end, content in made.items():
            write(stem + os.fsencode(end), content)
        kinds[stem + os.fsencode(next(iter(made)))] = kind
    return kinds


def index_tables(scratch: Path, count: int, chance: random.Random) -> tuple[list[str], int, list[str]]:
    """Indexes three photos with tables, one after the other; returns their kinds, how many were refused by
    name, and what went wrong."""
    photos, used, refused, faults = scratch / "three", [], 0, []
    photos.mkdir()
    for name in "abc":
        image(chance).save(photos / f"{name}.jpg")
    for number in range(count):
        kind = list(TABLES)[number % len(TABLES)]
        option, make = TABLES[kind]
        table = scratch / f"table{number}"
        table.write_bytes(make(chance))
        words = [
            "index",
            photos,
            "--database",
            scratch / "tables",
            option,
            table,
            "--regions",
            "none",
            "--no-ocr",
        ]
        done = watch([sys.executable, "-m", "virtue", *map(str, words)])
        used.append(kind)
        refused += done.status == 2
        is_named = done.status == 2 and table.name in done.stderr
        if not (done.status == 0 or is_named) or "Traceback" in done.stderr or "a mistake in" in done.stderr:
            faults.append(f"{kind}: status {done.status}: {done.stderr[-2000:]}")
    return used, refused, faults


def write(path: bytes, content: bytes) -> int:
    with open(path, "wb") as stream:
        return stream.write(content)


def random_name(chance: random.Random) -> bytes:
    """Any bytes that a file name may hold."""
    letters = [byte for byte in range(1, 256) if byte != ord("/")]
    name = bytes(chance.choices(letters, k=chance.randrange(4, 30)))
    return b"n" + name  # a leading dot would hide it


def make_originals(chance: random.Random) -> dict[str, bytes]:
    """Pictures of every format and kind by their suffix."""
    grain = np.random.default_rng(chance.randrange(1 << 32))
    noise = Image.fromarray(grain.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = noise.resize((640, 480), Image.Resampling.BICUBIC)
    deep = Image.fromarray((np.asarray(image.convert("L")).astype(np.uint16)) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    made: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "jpg": (image, "JPEG", {"exif": exif}),
        "jpg-progressive": (image, "JPEG", {"progressive": True}),
        "jpg-cmyk": (image.convert("CMYK"), "JPEG", {}),
        "png": (image, "PNG", {}),
        "png-palette": (image.quantize(), "PNG", {"transparency": 3}),
        "png-deep": (deep, "PNG", {}),
        "png-alpha": (image.convert("RGBA"), "PNG", {"exif": exif}),
        "webp": (image, "WEBP", {"exif": exif}),
        "webp-lossless": (image, "WEBP", {"lossless": True}),
        "gif": (image.quantize(), "GIF", {"save_all": True, "append_images": [image.quantize()]}),
        "bmp": (image, "BMP", {}),
        "tif": (image, "TIFF", {"exif": exif}),
        "tif-lzw": (image, "TIFF", {"compression": "tiff_lzw"}),
        "tif-deep": (deep, "TIFF", {"compression": "tiff_deflate"}),
        "tif-jpeg": (image, "TIFF", {"compression": "jpeg"}),
        "avif": (image, "AVIF", {"exif": exif}),
    }
    originals = {name: saved(*how) for name, how in made.items()}
    heic = Path(__file__).parent.parent / "tests" / "data" / "turned.heic"
    return originals | {"heic": heic.read_bytes()} | make_raw_and_jxl(image)


def make_raw_and_jxl(image: Image.Image) -> dict[str, bytes]:
    """What the extra `formats` reads; harmed like all else."""
    import imagecodecs

    from tests.raw_files import make_dng

    pixels, thumbnail = np.asarray(image), image.resize((160, 120))
    jpeg = saved(image, "JPEG", {})
    return {
        "dng": make_dng(image),
        "nef": make_dng(image, thumbnail=thumbnail, orientation=6),
        "cr2": make_dng(image.crop((0, 0, 641, 481)), taken=None),
        "jxl": imagecodecs.jpegxl_encode(pixels, level=90),
        "jxl-lossless": imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True),
        "jxl-deep": imagecodecs.jpegxl_encode(pixels.astype(np.uint16) * 257, lossless=True),
        "jxl-jpeg": imagecodecs.jpegxl_encode_jpeg(jpeg, usecontainer=True),
    }


def saved(image: Image.Image, format: str, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def make_bombs() -> dict[str, bytes]:
    """Small files that declare, and where that can be had, hold 30,000 x 30,000 pixels."""
    side = struct.pack(">II", BOMB, BOMB)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + BOMB // 8)) for _ in range(BOMB)) + packer.flush()
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", side + b"\1\0\0\0\0"), (b"IDAT", rows), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    small = Image.new("L", (16, 16))
    jpeg = bytearray(saved(small, "JPEG", {}))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", BOMB, BOMB)
    gif = bytearray(saved(small, "GIF", {}))
    gif[6:10] = struct.pack("<HH", BOMB, BOMB)
    bmp = bytearray(saved(small, "BMP", {}))
    bmp[18:26] = struct.pack("<ii", BOMB, BOMB)
    tiff = saved(Image.new("1", (BOMB, BOMB)), "TIFF", {"compression": "group4"})
    return {"png": png, "jpg": bytes(jpeg), "gif": bytes(gif), "bmp": bytes(bmp), "tif": tiff}


def flip(content: bytes, chance: random.Random, end: int | None = None) -> bytes:
    harmed = bytearray(content)
    for _ in range(chance.choice([1, 2, 5, 20, 100])):
        harmed[chance.randrange(min(end or len(harmed), len(harmed)))] ^= 1 << chance.randrange(8)
    return bytes(harmed)


def flip_head(content: bytes, chance: random.Random) -> bytes:
    return flip(content, chance, end=200)


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(1, len(content))]


def lie(content: bytes, chance: random.Random) -> bytes:
    """Other numbers where sizes and offsets are."""
    harmed = bytearray(content)
    for _ in range(chance.choice([1, 2, 4])):
        place = chance.randrange(4, min(len(harmed) - 4, 400))
        value = chance.choice([0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(1 << 32)])
        width = chance.choice([2, 4])
        order = chance.choice(["big", "little"])
        harmed[place : place + width] = (value % (1 << (8 * width))).to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(harmed)


def move(content: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(content)) for _ in range(2))
    rest, piece = content[:start] + content[end:], content[start:end]
    place = chance.randrange(len(rest) + 1)
    return rest[:place] + piece + rest[place:]


def splice(content: bytes, chance: random.Random, originals: dict[str, bytes]) -> bytes:
    other = originals[chance.choice(sorted(originals))]
    return content[: chance.randrange(1, len(content))] + other[chance.randrange(len(other)) :]


if __name__ == "__main__":
    sys.exit(main())
