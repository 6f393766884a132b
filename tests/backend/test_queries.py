"""Queries of a back end: many at once, vectors of its own, filters alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import EXAMPLES, Run
from virtue import Hit, Library
from virtue.errors import InputError, PictureError

CAT = EXAMPLES / "photos" / "cat.jpg"


def same(one: list[Hit], other: list[Hit]) -> bool:
    """Whether hits are the same, but for the last bit of a score."""
    return [(hit.photo_id, hit.region_id, hit.box, hit.path) for hit in one] == [
        (hit.photo_id, hit.region_id, hit.box, hit.path) for hit in other
    ] and np.allclose([hit.score for hit in one], [hit.score for hit in other], atol=1e-6)


def test_many_queries_find_what_each_finds_alone(library: Library) -> None:
    first = library.search("a rocket")[0]
    queries = ["a cat", "a dog", CAT, ["a coin", {"text": "a cat", "weight": -0.5}], first, "a cat"]
    found = library.search_many(iter(queries), top=3)
    assert len(found) == 6
    assert all(same(hits, library.search(query, top=3)) for hits, query in zip(found, queries, strict=True))
    kept = library.search_many(["a cat", "a dog"], where="rating < 4", find="photos")
    assert {hit.rating for hits in kept for hit in hits} == {1, 3}
    assert library.search_many([]) == []


def test_a_bad_query_among_many_is_named_by_its_number(library: Library, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"^query 2: .*none.jpg: there is no such file"):
        library.search_many(["a cat", CAT, tmp_path / "none.jpg"])
    with pytest.raises(InputError, match=r"^query 1: int is not an input"):
        library.search_many(["a cat", 7])
    with pytest.raises(InputError, match=r"^query 0: this library has no region 999"):
        library.search_many([{"region_id": 999}])


def test_a_vector_of_ones_own_is_a_query(library: Library) -> None:
    rows = library.embedder.query(CAT)
    expected = library.search(CAT, find="regions")  # a whole picture is also looked for as a document
    assert same(library.search(rows, find="regions"), expected)
    vector = library.embedder.encode_query("a rocket")
    hits = library.search(vector)
    assert same(hits, library.search(vector * 1e-30)) and same(hits, library.search(vector.astype(float) * 7))
    assert same(hits, library.search({"vector": vector.tolist()}))
    words = library.search("a rocket", find="regions", all_regions=True)
    assert same(library.search(vector, find="regions", all_regions=True), words)
    both = library.search([{"vector": vector, "weight": 2}, "a cat"], without=vector[::-1].copy())
    assert len(both) == 4


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (np.ones(512, np.float32), "the vector has 512 numbers, and those of the model mini have 784"),
        (np.full(784, np.nan), "NaN or infinite"),
        (np.full(784, np.inf), "NaN or infinite"),
        (np.zeros(784), "the vector is zero"),
        (np.array([]), r"an array of shape \(0,\) is no vector"),
        (np.array(["1"] * 784), "a vector is an array of numbers"),
        ({"vector": "words"}, "a vector is an array of numbers"),
        ({"vector": np.ones(784), "text": "a cat"}, "a vector goes alone"),
        (np.ones((4, 4, 3)), "is not a picture"),
    ],
)
def test_what_is_no_vector_is_a_sentence(library: Library, vector: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        library.search(vector)


def test_an_array_of_pixels_is_still_a_picture(library: Library) -> None:
    from PIL import Image

    with Image.open(CAT) as image:
        hits = library.search(np.asarray(image.convert("RGB")), top=1)
    assert Path(hits[0].path).name == "cat.jpg"


def test_hits_tell_of_their_photos(library: Library, described: Path) -> None:
    (cat,) = library.search("a cat", top=1)
    assert (cat.taken, cat.camera, cat.rating) == ("2024-06-01T10:00:00", "Canon X1", 5)
    assert cat.tags == ("animal", "home")
    assert cat.path == str(described / "album" / "cat.jpg")
    assert cat.other_paths == (str(described / "copies" / "again.jpg"),)
    assert cat.as_json() | {
        "taken": "2024-06-01T10:00:00", "camera": "Canon X1", "rating": 5, "tags": ["animal", "home"],
        "other_paths": [str(described / "copies" / "again.jpg")],
    } == cat.as_json()  # fmt: skip


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("path ~ copies/", "again.jpg"),
        ("path ~ album/", "cat.jpg"),
        ("path ~ copies/ or rating > 4", "again.jpg"),
        ("path ~ again.jpg and rating > 4", "again.jpg"),
        ("rating > 4", "cat.jpg"),
        ("not path ~ dog*", "cat.jpg"),
    ],
)
@pytest.mark.parametrize("query", ["a cat", None])
def test_a_filter_on_a_path_shows_the_path_that_fits(
    library: Library, where: str, shown: str, query: str | None
) -> None:
    found = library.search(query, where=[where, "tag = home"] if "path" in where else where)
    paths = {Path(hit.path).name: {Path(path).name for path in hit.other_paths} for hit in found}
    assert paths == {shown: {"cat.jpg", "again.jpg"} - {shown}}


def test_a_filter_alone_browses_newest_first(library: Library, virtue: Run) -> None:
    hits = library.search(where="rating > 0", find="photos")
    assert [Path(hit.path).stem for hit in hits] == ["rocket", "cat", "dog", "coins"]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert {(hit.score, hit.percentile, hit.kind) for hit in hits} == {(0.0, None, "photo")}
    assert [hit.caption for hit in library.search(where="tag = home", find="captions")] == [
        "Chelsea, our tabby cat"
    ]
    small = library.search(where="area < 60 %", find="regions", all_regions=True)
    assert small and all(hit.box.area < 0.6 * hit.width * hit.height for hit in small)
    with pytest.raises(InputError, match="nothing to search for"):
        library.search()
    with pytest.raises(InputError, match="there are no scores"):
        library.search(where="rating > 0", min_score=0.5)
    command = ("search", "--find", "photos", "--where", "size > 2 kB", "-n", 2, "-d", library.folder)
    done = virtue(*command, "--json", "--html", "page.html")
    assert [json.loads(line)["rating"] for line in done.stdout.splitlines()] == [4, 5]
    assert "size &gt; 2 kB" in Path("page.html").read_text()
    assert virtue("search", "--where", "size > 2 GB", "-d", library.folder).returncode == 1


@pytest.mark.parametrize(
    ("spaced", "joined"),
    [
        ("size > 2 MB", "size > 2MB"),
        ("size < 30 k", "size < 30k"),
        ("size in (1 kB, 2 b)", "size in (1kB, 2b)"),
        ("area > 10 %", "area > 10%"),
        ("size < 9 Mb and rating > 1", "size < 9Mb and rating > 1"),
    ],
)
def test_a_unit_may_stand_apart(library: Library, spaced: str, joined: str) -> None:
    from virtue.store.catalogue.filters import parse

    assert parse(spaced) == parse(joined)
    assert library.count(spaced) == library.count(joined)
    with pytest.raises(InputError, match="text of several words goes in quotes"):
        library.count("rating > 2 MB")
