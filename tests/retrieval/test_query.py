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
from virtue.retrieval import Part

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
        ({}, "nothing to search for"),
        ("  ", "empty"),
        ({"image": IMAGE, "bbox": (1, 2, 3, 4)}, "'bbox'"),
        ({"image": 7}, "int is no image"),
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
