"""A picture of the library that is searched for comes first, as a whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from virtue import Library


def again(image: Image.Image) -> Image.Image:
    return image


def shrunk(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 2 // 3, image.height * 2 // 3))


@pytest.mark.parametrize(
    ("change", "quality", "least"), [(again, 100, 0.97), (again, 60, 0.8), (shrunk, 90, 0.8)]
)
def test_a_copy_finds_its_picture_first(
    change: Callable[[Image.Image], Image.Image],
    quality: int,
    least: float,
    demo_library: Path,
    example_photos: Path,
) -> None:
    photos = sorted(example_photos.glob("*.jpg"))[:6]
    with Library(demo_library) as library:
        for photo in photos:
            content = io.BytesIO()
            with Image.open(photo) as image:
                change(image.convert("RGB")).save(content, "JPEG", quality=quality)
            for find in ("auto", "photos"):
                hit = library.search(content.getvalue(), find=find, top=1)[0]
                assert Path(hit.path).name == photo.name
                assert (hit.kind, hit.box.corners) == ("photo", (0, 0, hit.width, hit.height))
                assert hit.score >= least, photo


def test_the_same_file_scores_1(demo_library: Path, example_photos: Path) -> None:
    with Library(demo_library) as library:
        hits = library.search(example_photos / "cat.jpg", top=3)
        assert Path(hits[0].path).name == "cat.jpg"
        assert hits[0].score == pytest.approx(1, abs=1e-3)
        assert hits[1].score < 0.8
        assert hits == library.search(example_photos / "cat.jpg", top=30)[:3]


def test_a_detail_is_not_the_picture(demo_library: Path, example_photos: Path) -> None:
    with Image.open(example_photos / "cat.jpg") as image:
        detail = image.crop((100, 100, 220, 220))
    with Library(demo_library) as library:
        hits = library.search(detail)
        assert max(hit.score for hit in hits) < 0.75
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
