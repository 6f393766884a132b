"""What a program may search for."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from virtue import Box, Point, Query
from virtue.errors import InputError, PromptError
from virtue.pictures import load
from virtue.retrieval import Hit, Part

IMAGE = Image.new("RGB", (40, 30), "red")


def content() -> bytes:
    stream = io.BytesIO()
    IMAGE.save(stream, "PNG")
    return stream.getvalue()


def test_str_is_text_even_if_it_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    IMAGE.save("mug.jpg")
    assert Query.of("mug.jpg").parts[0].text == "mug.jpg"


@pytest.mark.parametrize("image", [Path("mug.jpg"), IMAGE, np.asarray(IMAGE), content(), load(IMAGE)])
def test_what_is_an_image(image: Any) -> None:
    (part,) = Query.of(image).parts
    assert part.image is image
    assert part.text is None


def test_a_dict_holds_an_image_and_what_is_drawn_on_it() -> None:
    mask = np.zeros((30, 40), bool)
    (part,) = Query.of(
        {"image": "mug.jpg", "box": (1, 2, 3, 4), "points": [(1, 2, 1), (3, 4, 0), (5, 6)], "mask": mask}
    ).parts
    assert part.image == Path("mug.jpg")
    assert part.box == Box(1, 2, 3, 4)
    assert part.points == (Point(1, 2), Point(3, 4, positive=False), Point(5, 6))
    assert part.mask is mask
    assert Query.of({"image": IMAGE, "points": np.array([[1, 2, 0]])}).parts[0].points == (
        Point(1, 2, False),
    )


def test_a_list_is_added_up_and_without_is_taken_away() -> None:
    query = Query.of(["a dog", IMAGE, {"image": IMAGE, "text": "blue"}], without=[Path("a.jpg"), "a cat"])
    assert [part.text for part in query.parts] == ["a dog", None, "blue"]
    assert [part.text for part in query.without] == [None, "a cat"]
    assert Query.of("a dog", without="a cat").without[0].text == "a cat"
    assert Query.of(query) is query
    part = Part(text="a dog")
    assert Query.of(part).parts == (part,)


def test_it_reads_as_what_was_asked() -> None:
    query = Query.of(
        [{"image": "a/mug.jpg", "box": (1, 2, 4, 6.5), "points": [(1, 2, 1)], "text": "in blue"}, "a dog"],
        without=IMAGE,
    )
    assert str(query) == 'mug.jpg@1,2,3,4.5 (points) "in blue" + "a dog" - an image'


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (3, "int"),
        (None, "nothing to search for"),
        ([], "nothing to search for"),
        ({}, "nothing is given"),
        ("  ", "empty"),
        ({"image": IMAGE, "bbox": (1, 2, 3, 4)}, "'bbox'"),
        ({"image": 7}, "int is not a valid image"),
        ({"text": 7}, "must be a str"),
        ({"image": IMAGE, "box": (1, 2, 3)}, "not a box"),
        ({"image": IMAGE, "box": (3, 2, 1, 4)}, "no size"),
        ({"image": IMAGE, "points": [(1,)]}, "not a point"),
        ({"image": IMAGE, "points": ["ab"]}, "not a point"),
        ([["a dog"]], "list"),
    ],
)
def test_what_is_no_query(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Query.of(value)


def test_a_prompt_needs_an_image() -> None:
    with pytest.raises(PromptError, match="need an image"):
        Query.of({"text": "a dog", "box": (1, 2, 3, 4)})


# -- weights and hits -------------------------------------------------------------------------------------


def test_a_part_has_a_weight() -> None:
    query = Query.of([{"text": "a dog", "weight": 2}, {"text": "snow", "weight": -0.5}], without="rain")
    assert [(part.text, part.weight) for part in query.wanted] == [("a dog", 2)]
    assert [(part.text, part.weight) for part in query.unwanted] == [("rain", 1), ("snow", 0.5)]
    assert query.is_text
    assert str(query) == '"a dog"::2 - "rain" - "snow"::0.5'


@pytest.mark.parametrize("weight", [0, float("nan"), float("inf")])
def test_weights_are_finite_and_not_nothing(weight: float) -> None:
    with pytest.raises(InputError, match="cannot weigh"):
        Part(text="a dog", weight=weight)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"text": "a dog", "weight": "2"}, "the weight of a query must be a number, not '2'"),
        ({"region_id": "7"}, "the region_id of a query must be a whole number"),
        ({"region_id": 7.5}, "the region_id of a query must be a whole number"),
        ({"region_id": True}, "the region_id of a query must be a whole number"),
        ({"region_id": 7, "text": "at night"}, "goes alone"),
        ({"region_id": 7, "photo_id": 3}, "goes alone"),
        ({"region_id": 7, "box": (1, 2, 3, 4)}, "an image that they are drawn on"),
        ({"weight": 2}, "nothing is given"),
    ],
)
def test_what_does_not_go_together_is_refused(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Query.of(value)


def test_a_hit_is_what_its_kind_says() -> None:
    def part_of(kind: Any) -> Part:
        box = Box(0, 0, 1, 1)
        return Part.of(Hit(1, 0.5, b"/a.jpg", box, 9, 9, kind, "a mug", 7, box, 3))

    assert [(p.region_id, p.photo_id, p.text) for p in map(part_of, ("region", "photo", "caption"))] == [
        (7, None, None), (None, 3, None), (None, None, "a mug"),
    ]  # fmt: skip
    query = Query.of([part_of("region"), part_of("photo")], without=part_of("caption"))
    assert str(query) == 'region 7 + photo 3 - "a mug"'
    assert not query.is_text


def test_more_can_be_left_out_of_a_query() -> None:
    query = Query.of(Query.of("a dog", without="snow"), without=["rain"])
    assert [part.text for part in query.without] == ["snow", "rain"]
