"""Varied pictures to learn from, made by laying cut-out objects on crops of photographs.

Packages that supply them:

- objects: npm `@lobehub/fluent-emoji-3d` (3,391 rendered objects, MIT) and Debian
  `tuxpaint-stamps-default` (cut-out photographs, GPL-2: to learn from, never to ship), of which the
  evaluation keeps every other one for itself (`virtue.evaluation.sample_photos`);
- grounds: Debian `plasma-workspace-wallpapers`, `gnome-backgrounds`, `ukui-wallpapers`. The wallpapers of
  MATE and Lomiri, and the samples of OpenCV and scikit-image, belong to the evaluation.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageEnhance

from virtue.evaluation.sample_photos import crop, paste, plain_ground, stamps

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LARGEST_GROUND = 2560
SMALLEST_FILE = 30_000
SHAPES = ((512, 384), (512, 344), (384, 512), (512, 512), (320, 240), (240, 320))
"""(width, height) of the pictures made: most at the model's size, some smaller than it."""


def read_grounds(folders: Sequence[Path]) -> list[Image.Image]:
    """Every photograph below the folders, in RGB, shrunk to at most 2,560 pixels."""
    grounds = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if (
                path.is_symlink()
                or path.suffix.lower() not in SUFFIXES
                or path.stat().st_size < SMALLEST_FILE
            ):
                continue  # links name other sizes of the same picture, small files are previews
            with Image.open(path) as image:
                image.draft("RGB", (LARGEST_GROUND, LARGEST_GROUND))
                ground = image.convert("RGB")
            ground.thumbnail((LARGEST_GROUND, LARGEST_GROUND))
            grounds.append(ground)
    return grounds


def object_paths(emoji: Path, tuxpaint: Path) -> list[Path]:
    """Cut-outs: all emoji, and the half of the stamps that the evaluation leaves. The stamps are
    repeated, so that photographs are about a third of what is dealt."""
    rendered = sorted(emoji.rglob("*.webp"))
    photographed = stamps(tuxpaint, 1)
    if not rendered or not photographed:
        raise SystemExit(f"no objects below {emoji} or no stamps below {tuxpaint}; see the docstring")
    return rendered + photographed * (len(rendered) // (2 * len(photographed)))


def make(
    grounds: Sequence[Image.Image], objects: Sequence[Path], count: int, seed: int
) -> Iterator[Image.Image]:
    """`count` RGB pictures: a crop of a ground with no object up to four, in shifted light."""
    rng = random.Random(seed)
    for _ in range(count):
        shape = rng.choice(SHAPES)
        picture = plain_ground(shape, rng) if rng.random() < 0.15 else crop(rng.choice(grounds), shape, rng)
        for path in rng.sample(objects, rng.choice((0, 1, 1, 2, 3, 4))):
            with Image.open(path) as image:
                cutout = image.convert("RGBA")
            if rng.random() < 0.5:
                cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            paste(picture, cutout, rng.uniform(0.15, 0.7), rng)
        for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            picture = change(picture).enhance(rng.uniform(0.7, 1.3))
        yield picture
