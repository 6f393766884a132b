"""Words beside pictures: in a model where the two do not compare, each has its say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.embedder.towers.builders import picture, save
from virtue import Library
from virtue.embedder.towers.two_towers import CROSS_MODAL_WEIGHT
from virtue.vector_math import unit_rows

SHOWN = picture(60, 60, seed=9)
WITHOUT, LIKED = 0.5, 0.75
"""What is taken away of what is left out, and the weight of hits beside words, as docs/search.md says."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Three photos, one row each, and the caption of one, with a small CLIP."""
    place = tmp_path_factory.mktemp("modalities")
    (place / "photos").mkdir()
    for seed in range(3):
        Image.fromarray(picture(60, 60, seed=seed)).save(place / "photos" / f"{seed}.png")
    (place / "photos" / "1.txt").write_text("a red mug")
    with Library(place / "library", embedder=str(save("clip", place / "clip"))) as library:
        library.index(place / "photos", regions="none", ocr=False)
        yield library


def check(
    library: Library, query: object, wanted: np.ndarray, without: object = (), find: str = "regions"
) -> None:
    """Hits are scored by their dot products with this vector."""
    hits = library.search(query, without=without, find=find)  # type: ignore[arg-type]
    assert hits  # a photo that is asked for by its id is not among them
    for hit in hits:
        row = library.embedder.encode(hit.caption if find == "captions" else Path(hit.path))
        assert hit.score == pytest.approx(float(unit_rows(wanted) @ row), abs=3e-3)


def test_words_beside_a_picture_count_four_times_where_pictures_are_looked_for(library: Library) -> None:
    assert CROSS_MODAL_WEIGHT == 4
    image, text, other = library.embedder.encode([SHOWN, "a dog", "a blue cat"])
    for query in ({"image": SHOWN, "text": "a dog"}, [{"image": SHOWN}, "a dog"]):
        check(library, query, image + 4 * text)
        check(library, query, 4 * image + text, find="captions")
    check(library, [{"image": SHOWN}, {"text": "a dog", "weight": 0.5}], image + 2 * text)
    check(library, ["a dog", "a blue cat"], text + other)


def test_so_they_do_in_what_is_left_out(library: Library) -> None:
    image, text, other = library.embedder.encode([SHOWN, "a dog", "a blue cat"])
    check(library, {"image": SHOWN}, image - 4 * WITHOUT * text, without="a dog")
    check(library, "a dog", text - WITHOUT / 4 * image, without={"image": SHOWN})
    check(library, "a dog", text - WITHOUT * other, without="a blue cat")


def test_so_they_do_beside_hits(library: Library) -> None:
    [hit] = library.search({"image": picture(60, 60, seed=1)}, top=1)
    row, text = library.embedder.encode([picture(60, 60, seed=1), "a dog"])
    check(library, ["a dog", {"region_id": hit.region_id}], 4 * text + LIKED * row)


def test_mini_whose_words_lie_among_its_pictures_weighs_both_alike(tmp_path: Path) -> None:
    from virtue import Embedder

    assert Embedder.from_pretrained("mini").cross_modal_weight == 1
