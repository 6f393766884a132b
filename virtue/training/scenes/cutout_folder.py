"""A folder of cut-outs: pictures with transparency, each with a caption."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from virtue.errors import InputError, PictureError
from virtue.paths import printable
from virtue.pictures import load_cutout

CUTOUT_SUFFIXES = (".png", ".webp")
MAX_SIDE = 384
"""Pixels that the long side of a cut-out has at most in memory."""
MAX_NAMED = 5
"""Files that a warning names."""
MAX_WORDS = 8
"""Words that a caption may have: more are a story, and not the name of a thing."""
ARTICLES = ("a", "an", "the", "some")


@dataclass(frozen=True, eq=False)
class Cutout:
    """A picture of a thing, of which the rest is transparent.

    Attributes:
        name: what it shows, as in "a frog".
        pixels: (height, width, 4) uint8, RGB and alpha; the colours go on where it is transparent.
    """

    name: str
    pixels: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def levels(self) -> tuple[Image.Image, ...]:
        """The picture at full, half, a quarter ... of its size, with colours multiplied by alpha."""
        image = Image.fromarray(self.pixels).convert("RGBa")
        levels = [image]
        while max(levels[-1].size) > 32:
            width, height = (max(length // 2, 1) for length in levels[-1].size)
            levels.append(image.resize((width, height), Image.Resampling.BOX))
        return tuple(levels)

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of its name, without articles, in lower case."""
        return frozenset(re.findall(r"\w+", self.name.casefold())) - set(ARTICLES)


def tidy_caption(text: str) -> str:
    """Makes a caption a part of a sentence: its first line, without an article's capital, what is in
    parentheses, and a full stop."""
    lines = re.sub(r"\([^()]*\)", "", text).strip().splitlines()
    line = " ".join(lines[0].split()).rstrip(".! ") if lines else ""
    first, _, rest = line.partition(" ")
    return f"{first.lower()} {rest}" if rest and first.lower() in ARTICLES else line


def captioned_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Yields (path, caption) of all pictures below a folder that have a caption in `name.txt`, sorted.

    Raises:
        InputError: there is no such folder, or no such picture in it.
    """
    if not folder.is_dir():
        raise InputError(f"{printable(os.fspath(folder))} is not a folder: name one that exists")
    found = False
    for path in sorted(folder.rglob("*")):
        beside = path.with_suffix(".txt")
        if path.suffix.lower() in suffixes and beside.is_file():
            caption = tidy_caption(beside.read_text("utf-8-sig", "replace"))
            if caption:
                found = True
                yield path, caption
    if not found:
        raise InputError(
            f"{printable(os.fspath(folder))} holds no pictures with captions: give files such as "
            f"name{suffixes[0]}, each with a caption in name.txt beside it"
        )


def read_cutouts(folder: str | os.PathLike[str]) -> list[Cutout]:
    """Reads all `name.png` (or `name.webp`) below a folder that have a caption in `name.txt` beside them.

    One that cannot be used (unreadable, without transparency, with a story for a caption) costs itself: a
    warning counts and names such files.

    Raises:
        InputError: there is no such folder, or nothing in it that can be used.
    """
    cutouts, problems = [], []
    for path, caption in captioned_files(Path(folder), CUTOUT_SUFFIXES):
        if len(caption.split()) > MAX_WORDS:
            problems.append(f"{printable(os.fspath(path))}: its caption has more than {MAX_WORDS} words")
            continue
        try:
            picture = load_cutout(path, side=MAX_SIDE)
        except PictureError as error:
            problems.append(str(error))
            continue
        if picture.alpha is None:
            problems.append(f"{printable(os.fspath(path))}: it has no transparency, so it is no cut-out")
            continue
        cutouts.append(Cutout(caption, np.dstack([picture.pixels, picture.alpha])))
    report_passed_by("cut-outs", problems, len(cutouts))
    return cutouts


def report_passed_by(kind: str, problems: list[str], used: int) -> None:
    """Warns of files that were passed by.

    Raises:
        InputError: all were.
    """
    if not problems:
        return
    some = "; ".join(problems[:MAX_NAMED]) + ("; ..." if len(problems) > MAX_NAMED else "")
    sentence = f"{len(problems)} of {len(problems) + used} {kind} cannot be used: {some}"
    if not used:
        raise InputError(sentence)
    warnings.warn(sentence, stacklevel=3)
