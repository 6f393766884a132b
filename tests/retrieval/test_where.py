"""Searches among what fits a filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.retrieval.conftest import Fill, Painted
from virtue import Box, Embedder, Library
from virtue.errors import EmptyLibraryError, InputError
from virtue.retrieval import Hit, search
from virtue.store import Store, open_store

# Regions of 8, 25, 20 and 8 per cent of their photos.
MUG = Painted("mug.png", "white", [("red", (10, 10, 30, 30)), ("blue", (40, 10, 70, 50))], ["a mug of tea"])
SEA = Painted(
    "sea.png", "blue", [("cyan", (0, 0, 80, 12)), ("red", (0, 20, 20, 40))], ["the sea"], {2: "red"}
)
PLAIN = Painted("plain.png", "red", size=(160, 120))


@pytest.fixture
def store(fill: Fill) -> Store:
    return fill(MUG, SEA, PLAIN)


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.path).name for hit in hits]


@pytest.mark.parametrize("find", ["regions", "photos"])
@pytest.mark.parametrize("query", ["red", Image.new("RGB", (9, 9), "red")], ids=["words", "picture"])
def test_only_photos_that_fit_are_found(store: Store, embedder: Embedder, find: Any, query: Any) -> None:
    def found(where: Any) -> set[str]:
        return set(names(search(store, embedder, query, find=find, where=where)))

    assert found(None) == {"mug.png", "sea.png", "plain.png"}
    assert found("path = sea.png") == {"sea.png"}
    assert found("not path = sea.png") == {"mug.png", "plain.png"}
    assert found("width > 100") == {"plain.png"}
    assert found(["width < 100", "caption ~ *sea"]) == {"sea.png"}
    assert found("rating = 5") == set()


def test_a_region_is_the_best_of_those_that_fit(store: Store, embedder: Embedder) -> None:
    query = Image.new("RGB", (9, 9), "red")
    small, large = ("area < 10%", Box(10, 10, 30, 30)), ("area > 10%", Box(40, 10, 70, 50))
    for where, box in (small, large):
        (hit,) = search(store, embedder, query, find="regions", where=f"path = mug.png and {where}")
        assert hit.box == box
        hits = search(store, embedder, query, where=f"path = mug.png and {where}", all_regions=True)
        assert [hit.box for hit in hits] == [box]


def test_the_larger_region_that_words_prefer_must_fit_too(fill: Fill, embedder: Embedder) -> None:
    photo = Painted("two.png", "white", [("red", (0, 0, 10, 10)), ("red", (20, 0, 60, 40))])
    store = fill(photo)
    assert search(store, embedder, "red", top=1)[0].box == Box(20, 0, 60, 40)
    (hit,) = search(store, embedder, "red", top=1, where="area < 10%")
    assert hit.box == Box(0, 0, 10, 10)


def test_a_photo_is_found_by_its_best_region_that_fits(store: Store, embedder: Embedder) -> None:
    (hit,) = search(
        store, embedder, "red", find="photos", where="path = mug.png and area > 10% and area < 90%"
    )
    assert (hit.region_box, hit.box) == (Box(40, 10, 70, 50), Box(0, 0, 80, 60))
    assert hit.score < search(store, embedder, "red", find="photos", where="path = mug.png")[0].score


def test_a_photo_is_found_by_a_caption_only_if_that_fits(fill: Fill, embedder: Embedder) -> None:
    told = Painted("told.png", "green", [("blue", (0, 0, 40, 40))], ["red"])
    store = fill(told, PLAIN)
    (hit,) = search(store, embedder, "red", find="photos", where="path = told.png")
    assert (hit.via, hit.caption) == (("caption",), "red")
    (hit,) = search(store, embedder, "red", find="photos", where="path = told.png and area < 50%")
    assert hit.via == ("picture",)
    (hit,) = search(store, embedder, "red", find="photos", where="caption = red")
    assert hit.via == ("caption",)


def test_captions_fit_by_themselves_and_by_their_region(store: Store, embedder: Embedder) -> None:
    def found(where: str) -> set[str | None]:
        return {hit.caption for hit in search(store, embedder, "red", find="captions", where=where)}

    assert found("width = 80") == {"red", "a mug of tea", "the sea"}
    assert found("path ~ sea*") == {"red", "the sea"}
    assert found("caption ~ *sea*") == {"the sea"}
    assert found("area < 50%") == {"red"}
    assert found("area = 100%") == {"a mug of tea", "the sea"}


def test_as_many_as_asked_for_if_so_many_fit(fill: Fill, embedder: Embedder) -> None:
    store = fill(*[Painted(f"{n}.png", "red" if n % 2 else "blue") for n in range(30)])
    hits = search(store, embedder, "red", top=12, where="path ~ *[02468].png")
    assert len(hits) == 12
    assert {int(Path(name).stem) % 2 for name in names(hits)} == {0}
    assert len(search(store, embedder, "red", top=100, where="path ~ *[02468].png")) == 15


def test_what_is_no_filter_is_said_even_where_nothing_is_indexed(
    store: Store, embedder: Embedder, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="there is no field 'ratng'; the fields are area"):
        search(store, embedder, "red", where="ratng >= 4")
    with pytest.raises(InputError, match="expected a field, found the end"):
        search(store, embedder, "red", where="")
    with open_store(tmp_path / "empty", create=True) as empty:
        with pytest.raises(InputError, match="no field"):
            search(empty, embedder, "red", where="ratng >= 4")
        with pytest.raises(EmptyLibraryError, match="index a folder of photos"):
            search(empty, embedder, "red", where="rating >= 4")


def test_a_library_says_whether_anything_fits(store: Store, embedder: Embedder) -> None:
    with Library(store.folder, embedder=embedder) as library:
        assert library.search("red", where="rating = 5") == []
        assert [hit.kind for hit in library.search("red", where="width > 100")] == ["photo"]
        assert library.fits("width > 100")
        assert library.fits("path = mug.png and area > 95%", find="photos")
        assert library.fits("path = mug.png and area > 95%")
        assert not library.fits("path = mug.png and area > 95%", find="regions")
        assert not library.fits("width > 100", find="captions")
        assert library.fits("area = 100% and caption ~ *tea", find="photos")
        assert not library.fits(["width > 100", "height < 100"])
