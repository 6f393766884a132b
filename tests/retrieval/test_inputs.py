"""One reader stands behind `Embedder` and `search`: what one takes or refuses, so does the other."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.retrieval.conftest import Fill, Painted
from virtue import Box, Point, Query
from virtue.embedder import Embedder
from virtue.errors import InputError, PromptError, UnreadableError
from virtue.pictures import load
from virtue.retrieval import search
from virtue.retrieval.query_vectors import encode_query

IMAGE = Image.new("RGB", (40, 30), "red")
IMAGE.paste("blue", (0, 0, 20, 30))
PIXELS = np.asarray(IMAGE)
MASK = np.zeros((30, 40), bool)
MASK[5:20, 5:15] = True


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    IMAGE.save(tmp_path / "photo.png")
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    return tmp_path


def on_image(**drawn: Any) -> dict[str, Any]:
    return {"image": PIXELS, **drawn}


ACCEPTED: dict[str, Callable[[Path], Any]] = {
    "text": lambda files: "red dog",
    "text that names a file": lambda files: str(files / "photo.png"),
    "path": lambda files: files / "photo.png",
    "bytes": lambda files: png(IMAGE),
    "Pillow image": lambda files: IMAGE,
    "array": lambda files: PIXELS,
    "picture": lambda files: load(IMAGE),
    "path as str": lambda files: {"image": str(files / "photo.png")},
    "image and text": lambda files: on_image(text="dog"),
    "None stands for nothing": lambda files: on_image(text=None, box=None, points=None, mask=None),
    "box": lambda files: on_image(box=(0, 0, 20, 30)),
    "box as array": lambda files: on_image(box=np.array([0, 0, 20, 30])),
    "relative box": lambda files: on_image(box=Box.relative(0, 0, 0.5, 1)),
    "point": lambda files: on_image(points=Point(3, 4)),
    "points": lambda files: on_image(points=[(3, 4), (5, 6, 0), Point(7, 8)]),
    "points as array": lambda files: on_image(points=np.array([[3.0, 4.0, 1.0], [5.0, 6.0, 0.0]])),
    "labels that are bool": lambda files: on_image(points=[(3, 4, True), (5, 6, False)]),
    "mask": lambda files: on_image(mask=MASK),
    "mask as path str": lambda files: on_image(mask=str(files / "mask.png")),
    "mask as bytes": lambda files: on_image(mask=png(Image.fromarray(MASK))),
    "all at once": lambda files: on_image(box=(0, 0, 20, 30), points=[(3, 4)], mask=MASK, text="dog"),
}

REFUSED: dict[str, tuple[Any, type[InputError], str]] = {
    "number": (3.5, InputError, "float is not an input"),
    "other key": (on_image(bbox=(0, 0, 1, 1)), InputError, "unknown key 'bbox'"),
    "empty dict": ({}, InputError, "nothing is given"),
    "address of a picture": ("https://example.org/dog.JPG", InputError, "gets nothing from the net"),
    "image by address": ({"image": "http://example.org/dog"}, InputError, "gets nothing from the net"),
    "mask by address": (on_image(mask="data:image/png;base64,AA"), InputError, "gets nothing from the net"),
    "text that is none": ({"text": 3}, InputError, "must be a str, not int"),
    "image that is none": ({"image": 7}, InputError, "int is not a valid image"),
    "no such file": (Path("nowhere.jpg"), UnreadableError, "nowhere.jpg"),
    "prompt without image": ({"text": "dog", "box": (0, 0, 1, 1)}, PromptError, "need an image"),
    "box that leaves": (on_image(box=(0, 0, 41, 30)), PromptError, "leaves the picture"),
    "box without size": (on_image(box=(5, 5, 5, 9)), PromptError, "has no size"),
    "box of three": (on_image(box=(1, 2, 3)), PromptError, "not a box"),
    "box as str": (on_image(box="0011"), PromptError, "not a box"),
    "no points": (on_image(points=[]), PromptError, "not a list of points"),
    "points as str": (on_image(points="12"), PromptError, "not a list of points"),
    "one point bare": (on_image(points=(4, 3)), PromptError, "not a point"),
    "point as str": (on_image(points=["12"]), PromptError, "not a point"),
    "point of one": (on_image(points=[(1,)]), PromptError, "not a point"),
    "label 2": (on_image(points=[(4, 3, 2)]), PromptError, "not a point"),
    "label 0.5": (on_image(points=[(4, 3, 0.5)]), PromptError, "not a point"),
    "label as str": (on_image(points=[(4, 3, "1")]), PromptError, "not a point"),
    "point outside": (on_image(points=[(40, 3)]), PromptError, "outside the picture"),
    "only negative points": (on_image(points=[(4, 3, 0)]), PromptError, "only negative"),
    "mask that is none": (on_image(mask=7), InputError, "int is not a valid mask"),
    "mask of another size": (on_image(mask=MASK.T), PromptError, "must agree"),
    "empty mask": (on_image(mask=np.zeros((30, 40), bool)), PromptError, "mask is empty"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_accepted_gives_the_same_vectors(
    case: str, files: Path, fill: Fill, embedder: Embedder
) -> None:
    value = ACCEPTED[case](files)
    store = fill(Painted("a.png"))
    with store.read() as snapshot:
        vectors = encode_query(embedder, Query.of(value), "regions", snapshot).vectors
    np.testing.assert_array_equal(vectors, embedder.query(value))
    np.testing.assert_array_equal(vectors[0], embedder.encode_query(value))
    np.testing.assert_array_equal(vectors[0], embedder.encode(value))
    (hit,) = search(store, embedder, value)
    assert hit.score <= 1


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_in_the_same_words(case: str, fill: Fill, embedder: Embedder) -> None:
    value, error, words = REFUSED[case]
    store = fill(Painted("a.png"))
    faces: list[Callable[[], object]] = [
        lambda: embedder.encode(value),
        lambda: embedder.encode_query(value),
        lambda: embedder.query(value),
        lambda: search(store, embedder, value),
    ]
    for face in faces:
        with pytest.raises(error, match=words) as raised:
            face()
        assert type(raised.value) is error


@pytest.mark.parametrize("value", ["", "  ", on_image(text="")], ids=["empty", "blank", "beside an image"])
def test_no_words_find_nothing(value: Any, fill: Fill, embedder: Embedder) -> None:
    with pytest.raises(InputError, match="the text is empty"):
        search(fill(Painted("a.png")), embedder, value)


def test_what_is_of_a_library_has_no_vector_without_it(embedder: Embedder) -> None:
    (part,) = Query.of({"region_id": 7}).parts
    with pytest.raises(InputError, match="search that library"):
        embedder.encode(part)
