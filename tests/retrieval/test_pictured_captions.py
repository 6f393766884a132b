"""From a region to what was said of regions that look like it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from virtue import Box, Library, Region

FACE = (165, 40, 285, 190)
"""x0, y0, x1, y1 of the face in astronaut.jpg."""


@pytest.fixture
def named(demo_library: Path, tmp_path: Path) -> Library:
    """A library in which a face has a name that means nothing to the model."""
    library = Library(shutil.copytree(demo_library, tmp_path / "library"))
    (astronaut,) = library.photos("path ~ *astronaut.jpg")
    face = Region(Box(*FACE), captions=("Zyta Qo",))
    library.annotate(astronaut.photo_id, regions=[face], captions=["drawer 12"])
    return library


def test_a_box_around_a_face_finds_its_name(named: Library, example_photos: Path, tmp_path: Path) -> None:
    hits = named.search({"image": example_photos / "astronaut.jpg", "box": FACE}, find="captions")
    assert (hits[0].caption, hits[0].via, hits[0].sureness) == ("Zyta Qo", ("picture",), "likely")
    assert hits[0].box.corners == FACE and hits[0].score <= 1
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    with Image.open(example_photos / "astronaut.jpg") as image:
        image.crop(FACE).save(tmp_path / "face.png")
    cut_out = named.search(tmp_path / "face.png", find="captions")
    assert "Zyta Qo" in [hit.caption for hit in cut_out[:2]]


def test_a_picture_finds_what_was_said_of_the_photo_that_it_is(named: Library, example_photos: Path) -> None:
    hits = named.search(example_photos / "astronaut.jpg", find="captions")
    assert ("drawer 12", ("picture",)) in [(hit.caption, hit.via) for hit in hits[:3]]
    assert len({(hit.photo_id, hit.region_id, hit.caption) for hit in hits}) == len(hits)


def test_what_looks_like_nothing_that_has_a_name_finds_captions_by_what_they_mean(
    named: Library, example_photos: Path
) -> None:
    hits = named.search({"image": example_photos / "coffee.jpg", "box": (160, 60, 420, 330)}, find="captions")
    assert "Zyta Qo" not in [hit.caption for hit in hits if hit.via == ("picture",)]
