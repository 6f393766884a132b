"""Counts which rendered words are read: `virtue evaluate rendered-words`.

    apt-get download fonts-dejavu-core fonts-liberation2
    for deb in *.deb; do dpkg -x "$deb" fonts; done

Writes 456 words, eight on each picture of 640 x 480 pixels: dark on light, white on dark, on signs, on crops
of the photos, tilted up to 25 degrees, and small; then four screenshots full of lines. All are indexed by
`virtue index`, and a word counts as read if a caption of its picture holds it as a word.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.front_door import fingerprint_of, indexed, open_outcomes, read_labels
from virtue.evaluation.measures import Measured
from virtue.evaluation.outcomes import digest_of_file
from virtue.evaluation.sample_photos import SEED, crop

SCREENSHOT = "screenshot"
KINDS = ("plain", "dark", "sign", "photo", "tilted", "small")
PICTURES, COLUMNS, ROWS = 57, 2, 4
SIZE = 640, 480
SCREENS, SCREEN_SIZE = 4, (1280, 800)
LARGEST_TILT = 25
"""Degrees."""

Colour = tuple[int, int, int]
INK: Colour = (25, 25, 30)
PAPER: Colour = (245, 244, 238)
SIGNS: tuple[tuple[Colour, Colour], ...] = (
    ((20, 60, 140), (255, 255, 255)),
    ((10, 95, 55), (255, 255, 255)),
    ((185, 25, 30), (255, 245, 220)),
    ((245, 200, 30), (20, 20, 20)),
)
"""Ground and letters."""


@dataclass(frozen=True, slots=True)
class Page:
    """A picture and the words that are on it."""

    kind: str
    picture: Image.Image
    words: list[str]


def pages(photos: Sequence[Path], fonts: Sequence[Path], count: int = PICTURES) -> Iterator[Page]:
    """Draws pictures of eight words each, of all kinds in turn."""
    rng = random.Random(SEED)
    deck = read_labels("rendered_words")
    rng.shuffle(deck)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        paper, ink = _colours(kind, rng)
        if kind == "photo":
            with Image.open(rng.choice(photos)) as image:
                picture = crop(image.convert("RGB"), SIZE, rng)
        else:
            picture = Image.new("RGB", SIZE, paper)
        words = [_in_case(deck[(number * 8 + place) % len(deck)], rng) for place in range(COLUMNS * ROWS)]
        for place, word in enumerate(words):
            height = rng.randint(13, 16) if kind == "small" else rng.randint(24, 40)
            tilt = rng.uniform(-LARGEST_TILT, LARGEST_TILT) if kind == "tilted" else 0
            font = _font(fonts, height, rng)
            column, row = place % COLUMNS, place // COLUMNS
            _write(picture, (column, row), word, font, ink, tilt, outline=kind == "photo", rng=rng)
        yield Page(kind, picture, words)


def screens(fonts: Sequence[Path], count: int = SCREENS) -> Iterator[Page]:
    """Draws screenshots: a bar, a column of entries, and lines of text, light and dark in turn."""
    rng = random.Random(SEED)
    vocabulary = read_labels("rendered_words")
    for number in range(count):
        paper, ink = (PAPER, INK) if number % 2 == 0 else (INK, (225, 228, 232))
        picture = Image.new("RGB", SCREEN_SIZE, paper)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, 0, SCREEN_SIZE[0], 40), fill=(60, 90, 150))
        font = _font(fonts, 16, rng)
        words = rng.sample(vocabulary, 6)
        draw.text((20, 10), "    ".join(words), font=font, fill=(255, 255, 255))
        for line in range(26):
            entry, text = rng.choice(vocabulary), rng.sample(vocabulary, 7)
            top = 60 + 28 * line
            draw.text((20, top), entry, font=font, fill=ink)
            draw.text((240, top), " ".join(text), font=font, fill=ink)
            words += [entry, *text]
        yield Page(SCREENSHOT, picture, words)


def _colours(kind: str, rng: random.Random) -> tuple[Colour, Colour]:
    if kind == "dark":
        return INK, (250, 250, 250)
    if kind == "sign":
        return rng.choice(SIGNS)
    return (PAPER, (255, 255, 255)) if kind == "photo" else (PAPER, INK)


def _in_case(word: str, rng: random.Random) -> str:
    return rng.choice((word, word.capitalize(), word.upper()))


def _font(fonts: Sequence[Path], height: int, rng: random.Random) -> ImageFont.FreeTypeFont:
    """Chooses a font; without any, Pillow's own."""
    font = ImageFont.truetype(rng.choice(fonts), height) if fonts else ImageFont.load_default(height)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow has an own one as a bitmap too
    return font


def _write(
    picture: Image.Image,
    cell: tuple[int, int],
    word: str,
    font: ImageFont.FreeTypeFont,
    ink: Colour,
    tilt: float,
    outline: bool,
    rng: random.Random,
) -> None:
    """Writes a word somewhere in a cell of the picture."""
    stroke = 2 if outline else 0
    left, top, right, bottom = (round(edge) for edge in font.getbbox(word, stroke_width=stroke))
    letters = Image.new("RGBA", (right - left + 4, bottom - top + 4), (*ink, 0))
    ImageDraw.Draw(letters).text(
        (2 - left, 2 - top), word, font=font, fill=ink, stroke_width=stroke, stroke_fill=INK
    )
    letters = letters.rotate(tilt, Image.Resampling.BICUBIC, expand=True)
    width, height = SIZE[0] // COLUMNS, SIZE[1] // ROWS
    scale = min((width - 16) / letters.width, (height - 8) / letters.height, 1)
    letters = letters.resize(
        (int(letters.width * scale), int(letters.height * scale)), Image.Resampling.LANCZOS
    )
    x = cell[0] * width + rng.randint(8, width - letters.width - 8)
    y = cell[1] * height + rng.randint(4, height - letters.height - 4)
    picture.paste(letters, (x, y), letters)


def evaluate(
    photos: Sequence[Path],
    fonts: Sequence[Path],
    count: int = PICTURES,
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes the share of words that are read, in all but screenshots and of each kind, and names the
    others.

    Args:
        cache: a folder where what was read is kept; None: nowhere.
        tell: called with how many pictures are done, and of how many.
    """
    drawn = [*pages(photos, fonts, count), *screens(fonts)]
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch, f"{number:03}.png") for number in range(len(drawn))]
        for page, path in zip(drawn, paths, strict=True):
            page.picture.save(path)

        def read(todo: list[int]) -> Iterator[list[bool]]:
            with indexed([paths[number] for number in todo]) as door:
                captions = door.captions()
            for number in todo:
                there = set(re.findall(r"\w+", " ".join(captions.get(paths[number].name, ())).lower()))
                yield [word.lower() in there for word in drawn[number].words]

        fingerprint = fingerprint_of("mini")
        keys = [(digest_of_file(path), page.words) for path, page in zip(paths, drawn, strict=True)]
        found = open_outcomes(cache, "rendered_words", fingerprint).fill(keys, read, tell)
    written: dict[str, list[tuple[float, str]]] = {}
    missed = []
    for page, path, reads in zip(drawn, paths, found, strict=True):
        for word, is_read in zip(page.words, reads, strict=True):
            written.setdefault(page.kind, []).append((is_read, path.name))
            if not is_read:
                missed.append([page.kind, word])
    on_pages = [word for kind, words in written.items() if kind != SCREENSHOT for word in words]
    parts = {"read": on_pages, **{f"{kind}_read": words for kind, words in written.items()}}
    figures = {name: Measured.of(*zip(*words, strict=True)) for name, words in parts.items() if words}
    return Findings("rendered_words", figures, {"missed": missed, "fingerprint": fingerprint})
