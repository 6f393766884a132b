"""How well copies are told from pictures that differ in little: python -m benchmarks.same_picture FOLDER

Makes copies of the photos of a folder and of documents drawn here, and pictures that differ from them in one
digit, a word, a small object, an edit, a crop or a turn. Says of each kind how many pairs are called the same
picture, and of how many; apart from these, of changes that are too slight to be told for certain. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from virtue.evaluation.rows import photo_paths
from virtue.retrieval.same_picture import MIN_SIDE, look, same_picture

WORDS = (
    "bread", "apples", "cheese", "butter", "rice", "coffee", "tea", "sugar", "flour", "onions", "salt",
)  # fmt: skip
EXIF_TURNS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
Resampling = Image.Resampling


# -- files ------------------------------------------------------------------------------------------------


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format, **options)  # type: ignore[arg-type]
    return content.getvalue()


def decoded(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def scaled(image: Image.Image, scale: float, filter: Resampling = Resampling.LANCZOS) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), filter)


# -- drawn pages ------------------------------------------------------------------------------------------


def receipt(seed: int, digit: str = "", font: int = 24) -> Image.Image:
    """600 x 1000 pixels; `digit` takes the place of one in a price."""
    chance, page = random.Random(seed), Image.new("RGB", (600, 1000), (250, 250, 245))
    draw, letters = ImageDraw.Draw(page), ImageFont.load_default(font)
    draw.text((200, 40), "GROCERY", fill=(30, 30, 30), font=ImageFont.load_default(40))
    for line in range(20):
        price = f"{chance.randint(10, 99)}.{chance.randint(10, 99)}"
        if digit and line == seed % 20:
            price = price[: seed % 2] + digit + price[seed % 2 + 1 :]
        draw.text((40, 130 + line * 36), chance.choice(WORDS), fill=(40, 40, 40), font=letters)
        draw.text((460, 130 + line * 36), price, fill=(40, 40, 40), font=letters)
    return page


def letter(seed: int, changed: bool = False) -> Image.Image:
    """A page of words at 150 dots an inch, of which one may be another."""
    chance, page = random.Random(seed), Image.new("RGB", (1240, 1754), "white")
    draw, letters = ImageDraw.Draw(page), ImageFont.load_default(22)
    for line in range(46):
        words = [chance.choice(WORDS) for _ in range(13)]
        if changed and line == 9 + seed % 30:
            words[4] = WORDS[(WORDS.index(words[4]) + 1) % len(WORDS)]
        draw.text((90, 90 + line * 34), " ".join(words), fill=(30, 30, 30), font=letters)
    return page


def screenshot(seed: int, changed: bool = False, size: tuple[int, int] = (1440, 900)) -> Image.Image:
    """A table of numbers, of which one may have another digit."""
    chance, page = random.Random(seed), Image.new("RGB", size, (245, 246, 248))
    draw, letters = ImageDraw.Draw(page), ImageFont.load_default(14)
    draw.rectangle((0, 0, size[0], 40), fill=(40, 60, 110))
    draw.rectangle((0, 40, 220, size[1]), fill=(230, 232, 238))
    for row in range((size[1] - 60) // 40):
        draw.text((16, 60 + row * 40), chance.choice(WORDS), fill=(60, 60, 70), font=letters)
        for column in range((size[0] - 260) // 165):
            number = str(chance.randint(1000, 9999))
            if changed and (row, column) == (9, 3):
                number = number[0] + str((int(number[1]) + 1 + seed) % 10) + number[2:]
            draw.text((250 + column * 165, 70 + row * 40), number, fill=(40, 40, 40), font=letters)
    return page


# -- copies -----------------------------------------------------------------------------------------------


def wide_gamut() -> bytes:
    """A profile with the primaries of Display P3."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {
        b"rXYZ": (0.5151, 0.2412, -0.0011),
        b"gXYZ": (0.292, 0.6922, 0.0419),
        b"bXYZ": (0.1571, 0.0666, 0.7841),
    }
    for index in range(int.from_bytes(profile[128:132], "big")):
        entry = 132 + 12 * index
        if bytes(profile[entry : entry + 4]) in primaries:
            place = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            for axis, value in enumerate(primaries[bytes(profile[entry : entry + 4])]):
                start = place + 8 + 4 * axis
                profile[start : start + 4] = round(value * 65536).to_bytes(4, "big", signed=True)
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
        .replace(b"sRGB", b"wide")
    )


def in_wide_gamut(image: Image.Image) -> bytes:
    """The same colours, by other numbers and a profile."""
    profile = wide_gamut()
    there = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), io.BytesIO(profile))
    assert there is not None
    return encoded(there, quality=90, icc_profile=profile)


def turned(orientation: int) -> Callable[[Image.Image], bytes]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda image: encoded(image.transpose(EXIF_TURNS[orientation]), quality=85, exif=exif)


def at(
    scale: float, quality: int, filter: Resampling = Resampling.LANCZOS, **options: object
) -> Callable[[Image.Image], bytes]:
    return lambda image: encoded(scaled(image, scale, filter), quality=quality, **options)


FILTERS = (
    Resampling.NEAREST, Resampling.BOX, Resampling.BILINEAR, Resampling.HAMMING, Resampling.BICUBIC,
    Resampling.LANCZOS,
)  # fmt: skip
COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    **{f"quality {quality}": at(1, quality) for quality in (30, 40, 50, 60, 75, 90, 95)},
    "quality 50, 4:4:4": at(1, 50, subsampling=0),
    "quality 75, progressive": at(1, 75, progressive=True),
    "PNG": lambda image: encoded(image, "PNG"),
    **{f"WebP {q}": lambda image, q=q: encoded(image, "WEBP", quality=q) for q in (30, 50, 80)},
    **{f"AVIF {q}": lambda image, q=q: encoded(image, "AVIF", quality=q, speed=9) for q in (50, 75)},
    **{f"turned by EXIF {each}": turned(each) for each in EXIF_TURNS},
    "sRGB profile": lambda image: encoded(
        image, quality=85, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ),
    "wide gamut, with its profile": in_wide_gamut,
    "wide gamut, profile lost": lambda image: encoded(decoded(in_wide_gamut(image)), quality=90),
    "quality 55, then 50": lambda image: encoded(decoded(encoded(image, quality=55)), quality=50),
    "quality 50, half, quality 50": lambda image: at(0.5, 50)(decoded(encoded(image, quality=50))),
    "half, reducing_gap": lambda image: encoded(
        image.resize((image.width // 2, image.height // 2), Resampling.BICUBIC, reducing_gap=1.1), quality=85
    ),
    **{
        f"{filter.name.lower()} {scale}, quality 85": at(scale, 85, filter)
        for scale in (0.25, 0.33, 0.5, 0.71, 0.93)
        for filter in FILTERS
    },
    **{f"lanczos {scale}, quality {q}": at(scale, q) for scale in (0.33, 0.5, 0.71) for q in (30, 50)},
}  # fmt: skip
NOT_PROMISED = (
    "nearest", "box 0.93", "box 0.71", "0.25", "quality 30", "quality 40", "WebP 30", "profile lost",
)  # fmt: skip
"""Parts of the names of copies that need not be found. A box filter near the full size takes single pixels,
as nearest does."""
SMALL_PRINT = {"screenshot": ("0.33", "0.5", "half", "0.71"), "letter": ("0.33",), "receipt": ("0.33",)}
"""Parts of the names of copies in which the text of a page is under 7 pixels, so that nothing is told."""


def is_promised(kind: str, page: str = "") -> bool:
    return not any(part in kind for part in (*NOT_PROMISED, *SMALL_PRINT.get(page, ())))


# -- others -----------------------------------------------------------------------------------------------


def shifted(image: Image.Image, pixels: int) -> Image.Image:
    """What another shot by a moved camera shows: new at the left, gone at the right."""
    return Image.fromarray(np.roll(np.asarray(image), pixels, axis=1))


def cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((x, y, image.width - x, image.height - y))


def with_object(image: Image.Image, share: float, place: float = 0.3) -> Image.Image:
    """Something of that share of the area, which is drawn in the colours of another part of the photo."""
    side = round((image.width * image.height * share) ** 0.5)
    piece = image.rotate(180).crop(
        (image.width // 5, image.height // 5, image.width // 5 + side, image.height // 5 + side)
    )
    result = image.copy()
    mask = Image.new("L", piece.size)
    ImageDraw.Draw(mask).ellipse((0, 0, side, side), fill=255)
    result.paste(piece, (round(image.width * place), round(image.height * 0.4)), mask)
    return result


def with_text(image: Image.Image, text: str, height: float, color: tuple[int, int, int]) -> Image.Image:
    result = image.copy()
    font = ImageFont.load_default(max(12, image.height * height))
    ImageDraw.Draw(result).text((image.width * 0.6, image.height * 0.9), text, fill=color, font=font)
    return result


def with_red_eye(image: Image.Image) -> Image.Image:
    result = image.copy()
    x, y, size = image.width // 2, image.height // 3, max(8, image.width // 80)
    ImageDraw.Draw(result).ellipse((x, y, x + size, y + size), fill=(170, 30, 40))
    return result


def with_blur(image: Image.Image) -> Image.Image:
    """As faces are made unknown: the middle, a fifth of each side."""
    width, height = image.size
    box = (round(width * 0.4), round(height * 0.4), round(width * 0.6), round(height * 0.6))
    result = image.copy()
    result.paste(result.crop(box).filter(ImageFilter.GaussianBlur(width / 50)), box)
    return result


def noisy(image: Image.Image, sigma: float, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, sigma, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


OTHERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{f"crop of {n:.0%}": lambda image, n=n: cropped(image, n) for n in (0.01, 0.02, 0.05, 0.2)},
    **{f"shift by {n}": lambda image, n=n: shifted(image, n) for n in (1, 2, 3)},
    **{f"turn by {n} degrees": lambda image, n=n: image.rotate(n, Resampling.BICUBIC) for n in (0.3, 1)},
    **{f"brightness {n}": lambda image, n=n: ImageEnhance.Brightness(image).enhance(n) for n in (1.1, 1.25)},
    "blur of 1": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "sharper": lambda image: image.filter(ImageFilter.UnsharpMask(2, 100, 2)),
    "brightness 1.05": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "contrast 1.2": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "colour 1.4": lambda image: ImageEnhance.Color(image).enhance(1.4),
    "mirror": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    **{f"object of {n:.1%}": lambda image, n=n: with_object(image, n) for n in (0.001, 0.005, 0.02, 0.1)},
    "date": lambda image: with_text(image, "2024 05 12", 1 / 35, (255, 150, 30)),
    "watermark": lambda image: Image.blend(image, with_text(image, "SAMPLE", 1 / 12, (255, 255, 255)), 0.4),
    "red eye": with_red_eye,
    "blur of a face": with_blur,
    "moved hand": lambda image: with_object(shifted(image, 1), 0.02),
    "collage": lambda image: _collage(image),
}  # fmt: skip
SLIGHT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blur of 0.5": lambda image: image.filter(ImageFilter.GaussianBlur(0.5)),
    "contrast 1.05": lambda image: ImageEnhance.Contrast(image).enhance(1.05),
    "colour 1.15": lambda image: ImageEnhance.Color(image).enhance(1.15),
}
"""Edits that change no more than copies may, of some pictures at least."""
VERSIONS = ((92, 1.0), (60, 1.0), (75, 0.5), (50, 0.5), (75, 0.33))
"""Qualities and scales at which the other picture is stored."""


def _collage(image: Image.Image) -> Image.Image:
    result, small = image.copy(), scaled(image, 0.5)
    for x in (0, image.width - small.width):
        for y in (0, image.height - small.height):
            result.paste(small, (x, y))
    return result


def is_visible(kind: str, scale: float) -> bool:
    """Whether a smaller copy shows the change."""
    return kind not in ("blur of 1", "sharper") or scale == 1


def is_changed(image: Image.Image, other: Image.Image) -> bool:
    """Whether some part differs by more than 12 levels, or the whole has another shape."""
    if image.size != other.size:
        return True
    change = ImageChops.difference(image, other).filter(ImageFilter.BoxBlur(2))
    return max(high for _, high in change.getextrema()) > 12


def drawn_pairs(count: int, first: int) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    for seed in range(first, first + count):
        for font in (12, 16, 24):
            page = receipt(seed, font=font)
            for digit in "0123456789":
                changed = receipt(seed, digit, font)
                if page.tobytes() != changed.tobytes():
                    yield f"receipt, one digit, font {font}", page, changed
        yield "receipt, another", receipt(seed), receipt(seed + 1000)
        yield "letter, one word", letter(seed), letter(seed, True)
        yield "letter, another", letter(seed), letter(seed + 1000)
        yield "screenshot, one digit", screenshot(seed), screenshot(seed, True)
        large = (3840, 2160)
        yield (
            "screenshot of 3840 x 2160, one digit",
            screenshot(seed, size=large),
            screenshot(seed, True, large),
        )


# -- measuring --------------------------------------------------------------------------------------------


class Pairs:
    """How many pairs of each kind were compared, and how many of them are called the same picture."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.same: Counter[str] = Counter()

    def add(self, kind: str, same: bool) -> None:
        self.count[kind] += 1
        self.same[kind] += same

    def by_kind(self) -> dict[str, list[int]]:
        return {kind: [self.same[kind], count] for kind, count in self.count.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=30, help="photos, spread over the folder")
    parser.add_argument("--pages", type=int, default=6, help="drawn pages of each sort")
    parser.add_argument("--seed", type=int, default=0, help="number of the first page")
    parser.add_argument(
        "--kinds", nargs="+", default=[""], help="those whose names have one of these in them"
    )
    given = parser.parse_args()
    paths = photo_paths(given.folder)
    paths = paths[:: max(1, len(paths) // given.count)]
    pages = {each.__name__: each(given.seed) for each in (receipt, letter, screenshot)}

    def is_wanted(kind: str) -> bool:
        return any(part in kind for part in given.kinds)

    copies, others, slight = Pairs(), Pairs(), Pairs()
    promised: Counter[bool] = Counter()
    errors: list[str] = []
    seconds: list[float] = []

    def compare(pairs: Pairs, kind: str, original: object, content: bytes) -> bool | None:
        """Returns whether both are the same picture; None where one is too small."""
        with Image.open(io.BytesIO(content)) as image:
            if min(image.size) < MIN_SIDE:
                return None
        began = time.process_time()
        same = same_picture(original, content)  # type: ignore[arg-type]
        seconds.append(time.process_time() - began)
        pairs.add(kind, same)
        return same

    def compare_copy(kind: str, original: object, content: bytes, name: str) -> None:
        same = compare(copies, kind, original, content)
        if same is not None and is_promised(kind, name):
            promised[same] += 1
            if not same:
                errors.append(f"{kind}: {name}")

    def compare_other(kind: str, original: object, content: bytes, name: str) -> None:
        if compare(others, kind, original, content):
            errors.append(f"{kind}: {name}")

    for path in [*paths, *pages]:
        name = path if isinstance(path, str) else path.name
        image = pages[path] if isinstance(path, str) else Image.open(path).convert("RGB")
        original = look(encoded(image, "PNG"))
        for kind in filter(is_wanted, COPIES):
            compare_copy(kind, original, COPIES[kind](image), name)
        for kind in filter(is_wanted, OTHERS):
            if isinstance(path, str) and not kind.startswith(("crop", "shift", "turn", "mirror", "date")):
                continue  # what these change of a page with much white may be nothing
            other = OTHERS[kind](image)
            if not is_changed(image, other):
                continue  # more colour in a gray photo, a piece of sky on the sky
            for quality, scale in VERSIONS:
                if is_visible(kind, scale):
                    compare_other(kind, original, at(scale, quality)(other), f"{name}, {quality}, {scale}")
        for kind in filter(is_wanted, SLIGHT):
            compare(slight, kind, original, encoded(SLIGHT[kind](image), quality=90))
        for sigma in (2, 4, 8) if is_wanted("noise") else ():
            one, other = noisy(image, sigma, 1), noisy(image, sigma, 2)
            compare(slight, f"noise of {sigma}", encoded(one, quality=95), encoded(other, quality=95))
            compare_copy(f"quality 75 of noise {sigma}", encoded(one, "PNG"), encoded(one, quality=75), name)
    for kind, page, changed in drawn_pairs(given.pages, given.seed):
        if not is_wanted(kind):
            continue
        original = look(encoded(page, quality=90))
        for quality, scale in VERSIONS:
            compare_other(kind, original, at(scale, quality)(changed), f"{quality}, {scale}")
    print(
        json.dumps(
            {
                "copies": promised.total(),
                "found": promised[True],
                "others": others.count.total(),
                "called_same": others.same.total(),
                "median_ms": round(1000 * float(np.median(seconds)), 1),
                "found_of": copies.by_kind(),
                "called_same_of": others.by_kind(),
                "slight_called_same_of": slight.by_kind(),
                "errors": errors,
            }
        )
    )


if __name__ == "__main__":
    main()
