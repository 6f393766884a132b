"""Draws what ten everyday queries find into one picture: python -m tools.answers_sheet PHOTOS OUT.jpg

PHOTOS is the set that `virtue.evaluation.real_photos` builds. Only photos under licences that let the picture
be shipped are used (`docs/images/LICENCES.md`). All hits are shown as they come, bad ones included.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from virtue.evaluation.front_door import indexed
from virtue.evaluation.rows import photo_paths

QUERIES = ("dog", "beach", "sunset", "red car", "person", "sign", "cat", "food", "mountain", "birthday")
PACKAGES = (
    "admin-lte",
    "creative",
    "kivy",
    "lomiri",
    "material-kit",
    "opencv",
    "skimage",
    "sklearn",
    "uikit",
)
NOT_FREE = ("opencv-messi5.jpg", "opencv-starry_night.jpg")
SHARE_ALIKE = (
    "lomiri-Bridge_by_Sander_Klootwijk.jpg",
    "lomiri-Dragonfly_by_Bolly.jpg",
    "lomiri-Kleiber_by_Lukas_Baubkus.jpg",
    "lomiri-free_by_Peter_Nerlich.jpg",
    "lomiri-greentock_by_Peter_Nerlich.jpg",
)
TOP = 5
CELL = 168, 118
LABEL = 120
QUALITY = 82
SURENESS = {"likely": "#1a7f37", "possible": "#9a6700", "unsure": "#8c959f"}


def shippable(photo: Path) -> bool:
    """Says whether the licence of a photo lets a picture of it be shipped under any terms but its own."""
    return photo.name.startswith(PACKAGES) and photo.name not in NOT_FREE + SHARE_ALIKE


def draw_hit(path: Path, box: list[float], size: tuple[int, int], colour: str) -> Image.Image:
    """Draws a photo, at most `CELL` large, with the box in it that a hit shows."""
    with Image.open(path) as image:
        photo = image.convert("RGB")
    photo.thumbnail((CELL[0] - 8, CELL[1] - 22), Image.Resampling.LANCZOS)
    scale = photo.width / size[0], photo.height / size[1]
    x, y, w, h = box
    corners = (x * scale[0], y * scale[1], (x + w) * scale[0] - 1, (y + h) * scale[1] - 1)
    ImageDraw.Draw(photo).rectangle(corners, outline=colour, width=3)
    return photo


def draw_sheet(photos: Path) -> Image.Image:
    """Draws the sheet: a row for each query, with its first hits in the colours of their sureness."""
    paths = {path.name: path for path in photo_paths(photos) if shippable(path)}
    sheet = Image.new("RGB", (LABEL + TOP * CELL[0], len(QUERIES) * CELL[1]), "white")
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(18), ImageFont.load_default(12)
    with indexed(list(paths.values())) as door:
        for row, query in enumerate(QUERIES):
            top = row * CELL[1]
            draw.text((8, top + 38), query, font=large, fill="black")
            for column, hit in enumerate(door.search(query, top=TOP)):
                colour = SURENESS[hit["sureness"]]
                photo = draw_hit(paths[hit["photo"]], hit["box"], (hit["width"], hit["height"]), colour)
                left = LABEL + column * CELL[0]
                sheet.paste(photo, (left, top + 2))
                said = f"{hit['rank']}  {hit['sureness']}, {'+'.join(hit['via'])}"
                draw.text((left, top + CELL[1] - 18), said, font=small, fill=colour)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    draw_sheet(given.photos).save(given.out, quality=QUALITY)


if __name__ == "__main__":
    main()
