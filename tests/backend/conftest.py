"""A library as a back end has it: photos that say when they were taken, by what, and how good they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import EXAMPLES
from virtue import Library

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmp:Rating="{rating}"><dc:subject><rdf:Bag>{tags}</rdf:Bag></dc:subject></rdf:Description></rdf:RDF>'
    "</x:xmpmeta>"
)
FACTS = {
    "cat": ("2024:06:01 10:00:00", "Canon", 5, ("animal", "home")),
    "dog": ("2023:01:02 03:04:05", "Nikon", 3, ("animal",)),
    "coins": ("2022:12:31 23:59:59", "Canon", 1, ()),
    "rocket": ("2025:05:05 05:05:05", "Leica", 4, ("night",)),
}
"""When each was taken, by what, its rating and its tags."""


def write_photo(path: Path, name: str) -> None:
    """Saves an example photo with what FACTS say of it, and its caption beside it."""
    taken, camera, rating, tags = FACTS[name]
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = camera, "X1"
    exif.get_ifd(0x8769)[0x9003] = taken
    xmp = XMP.format(rating=rating, tags="".join(f"<rdf:li>{tag}</rdf:li>" for tag in tags))
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(EXAMPLES / "photos" / f"{name}.jpg") as image:
        image.save(path, exif=exif, xmp=xmp.encode(), quality=90)
    shutil.copy(EXAMPLES / "photos" / f"{name}.txt", path.with_suffix(".txt"))


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, `album` (the four of FACTS) and `copies` (the cat once more), and `library`."""
    place = tmp_path_factory.mktemp("described")
    for name in FACTS:
        write_photo(place / "album" / f"{name}.jpg", name)
    (place / "copies").mkdir()
    shutil.copy(place / "album" / "cat.jpg", place / "copies" / "again.jpg")
    with Library(place / "library") as library:
        library.index([place / "album", place / "copies"], regions=4, ocr=False)
    return place


@pytest.fixture
def library(described: Path, tmp_path: Path) -> Iterator[Library]:
    """A copy of that library, to change as one likes; its photos stay where they are."""
    with Library(shutil.copytree(described / "library", tmp_path / "library")) as opened:
        yield opened
