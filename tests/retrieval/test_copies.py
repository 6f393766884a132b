"""What does not fill places: regions that show the same thing, and the same picture in other files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.conftest import Run
from tests.retrieval.conftest import Fill, Painted
from virtue import Library
from virtue.embedder import Embedder
from virtue.retrieval import search


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """A library of the photos of three things, two of them saved again, one of these smaller."""
    folder = tmp_path_factory.mktemp("copied")
    photos = folder / "photos"
    photos.mkdir()
    for name in ("coffee.jpg", "cat.jpg", "dog.jpg"):
        shutil.copy(example_photos / name, photos / name)
    with Image.open(photos / "coffee.jpg") as image:
        image.save(photos / "coffee again.jpg", quality=80)
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(photos / "small coffee.png")
    with Image.open(photos / "cat.jpg") as image:
        image.save(photos / "cat again.png")
    with Library(folder / "library") as library:
        library.index(photos, ocr=False)
    return folder / "library"


THINGS = {"coffee": 2, "cat": 1, "dog": 0}


def thing(path: str) -> str:
    return next(name for name in THINGS if name in Path(path).name)


@pytest.mark.parametrize("find", ["auto", "regions", "photos"])
@pytest.mark.parametrize("query", ["a cup", "an animal", {"image": "coffee.jpg"}])
def test_the_same_picture_takes_one_place(
    copied: Path, example_photos: Path, find: str, query: str | dict[str, object]
) -> None:
    asked = query if isinstance(query, str) else {"image": example_photos / str(query["image"])}
    with Library(copied, read_only=True) as library:
        hits = library.search(asked, find=find)  # type: ignore[arg-type]
        assert sorted(thing(hit.path) for hit in hits) == ["cat", "coffee", "dog"]
        for hit in hits:
            assert len(hit.copies) == len(hit.raw_copies) == THINGS[thing(hit.path)]
            assert {thing(path) for path in hit.copies} <= {thing(hit.path)}
            assert hit.path not in hit.copies
        for place, hit in enumerate(hits):
            assert library.search(asked, find=find, top=1, offset=place)[0].path == hit.path  # type: ignore[arg-type]


@pytest.mark.parametrize("find", ["auto", "regions", "photos"])
def test_like_a_hit_is_no_copy_of_it(copied: Path, find: str) -> None:
    with Library(copied, read_only=True) as library:
        cup = library.search("a cup", top=1)[0]
        more = library.search(cup, find=find)  # type: ignore[arg-type]
        assert sorted(thing(hit.path) for hit in more) == ["cat", "dog"]
        apart = library.search("an animal", without=cup, find=find)  # type: ignore[arg-type]
        assert sorted(thing(hit.path) for hit in apart) == ["cat", "dog"]


def test_what_differs_in_a_word_is_no_copy(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        receipt = Image.new("RGB", (600, 800), "white")
        draw = ImageDraw.Draw(receipt)
        for line in range(18):
            last = f"{12 * line + number}.90" if line == 9 else f"{7 * line}.50"
            draw.text((40, 40 + 40 * line), f"ITEM {line:02}   {last}", fill="black", font_size=28)
        receipt.save(photos / f"receipt {number}.png")
    with Library(tmp_path / "library") as library:
        library.index(photos, ocr=False)
        for query in ("a receipt", photos / "receipt 0.png"):
            hits = library.search(query)
            assert [hit.copies for hit in hits] == [(), (), ()]
            assert [library.search(query, top=1, offset=n)[0].path for n in range(3)] == [
                h.path for h in hits
            ]


def test_what_cannot_be_opened_takes_a_place_of_its_own(copied: Path, tmp_path: Path) -> None:
    photos = copied.parent / "photos"
    photos.rename(tmp_path / "away")
    try:
        with Library(copied, read_only=True) as library:
            assert len(library.search("a cup")) == 6
    finally:
        (tmp_path / "away").rename(photos)


def test_all_regions_are_those_of_one_of_the_copies(copied: Path) -> None:
    with Library(copied, read_only=True) as library:
        hits = library.search("a cup", all_regions=True, top=50)
    assert len({hit.photo_id for hit in hits}) == 3
    assert len(hits) > 3


def test_plain_output_and_json_say_so(virtue: Run, copied: Path) -> None:
    done = virtue("search", "a cup", "-n", "1", "-d", copied)
    (line,) = done.stdout.decode().splitlines()
    assert line.endswith("\t\tand 2 copies")
    cat = virtue("search", "a cat", "-n", "1", "-d", copied).stdout.decode()
    assert cat.endswith("\tand 1 copy\n")


def test_regions_that_show_the_same_thing_count_once(fill: Fill, embedder: Embedder) -> None:
    boxes = [
        ("red", (0, 0, 20, 20)),
        ("red", (2, 2, 20, 20)),  # the same, a little tighter
        ("red", (6, 6, 18, 18)),  # a part of it
        ("red", (40, 0, 60, 20)),  # another
        ("white", (0, 0, 80, 60)),  # around everything
    ]
    store = fill(Painted("two.png", "white", boxes), Painted("one.png", "red", [("red", (0, 0, 10, 10))]))
    hits = search(store, embedder, "red", find="regions", all_regions=True, top=20)
    corners = {hit.box.corners for hit in hits if hit.path.endswith("two.png")}
    assert corners == {(0, 0, 20, 20), (40, 0, 60, 20), (0, 0, 80, 60)}
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    for place in range(len(hits)):
        page = search(store, embedder, "red", find="regions", all_regions=True, top=1, offset=place)
        assert [hit.region_id for hit in page] == [hits[place].region_id]
