"""Cut-outs for tests, drawn here: shapes with a caption each."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw


def polygon(corners: int, dent: float = 1.0, turn: float = -90) -> list[tuple[float, float]]:
    """A regular polygon; with a dent, every other corner lies nearer to the middle."""
    radii = [1.0, dent] if dent < 1 else [1.0]
    count = corners * len(radii)
    return [
        (
            64 + 60 * radii[place % len(radii)] * math.cos(math.radians(turn + 360 * place / count)),
            64 + 60 * radii[place % len(radii)] * math.sin(math.radians(turn + 360 * place / count)),
        )
        for place in range(count)
    ]


SHAPES: dict[str, tuple[str, Sequence[tuple[float, float]]]] = {
    "a circle": ("red", polygon(48)),
    "a triangle": ("blue", polygon(3)),
    "a square": ("green", polygon(4, turn=45)),
    "a star": ("gold", polygon(5, 0.5)),
    "a hexagon": ("purple", polygon(6)),
    "a cross": ("black", [
        (44, 4), (84, 4), (84, 44), (124, 44), (124, 84), (84, 84), (84, 124), (44, 124), (44, 84), (4, 84),
        (4, 44), (44, 44),
    ]),
    "an arrow": ("orange", [(4, 44), (70, 44), (70, 14), (124, 64), (70, 114), (70, 84), (4, 84)]),
    "a house": ("brown", [(64, 4), (120, 56), (120, 124), (8, 124), (8, 56)]),
    "a sun": ("yellow", polygon(12, 0.7)),
    "a kite": ("teal", [(64, 4), (108, 48), (64, 124), (20, 48)]),
    "a bar": ("gray", [(30, 4), (98, 4), (98, 124), (30, 124)]),
    "a flag": ("crimson", [(20, 8), (112, 8), (90, 40), (112, 72), (44, 72), (44, 124), (20, 124)]),
}  # fmt: skip


def draw_cutouts(folder: Path) -> Path:
    """Writes a PNG with transparency and its caption for each shape."""
    folder.mkdir()
    for caption, (colour, corners) in SHAPES.items():
        image = Image.new("RGBA", (128, 128))
        ImageDraw.Draw(image).polygon(list(corners), fill=colour, outline="white")
        stem = caption.split()[-1]
        image.save(folder / f"{stem}.png")
        (folder / f"{stem}.txt").write_text(f"{caption.capitalize()}.\nA second line.\n")
    return folder
