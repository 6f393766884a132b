import io
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from virtue.embedder.inputs import LoadedInput, ModelInput, is_single, load_input
from virtue.geometry import Box, Point
from virtue.pictures import Picture

PIXELS = np.zeros((30, 40, 3), np.uint8)


def content() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    return stream.getvalue()


def read(value: Any, side: int) -> LoadedInput:
    return load_input(ModelInput.of(value), side)


def test_a_str_is_always_a_text(tmp_path):
    (tmp_path / "a.png").write_bytes(content())
    assert read(str(tmp_path / "a.png"), 512).text == str(tmp_path / "a.png")


def test_every_kind_of_image_is_read_alike(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(content())
    for value in (
        path,
        content(),
        Image.fromarray(PIXELS),
        PIXELS,
        Picture(PIXELS, 40, 30),
        {"image": str(path)},
    ):
        request = read(value, 512)
        assert request.text is None
        assert request.picture is not None
        assert (request.picture.width, request.picture.height) == (40, 30)
        np.testing.assert_array_equal(request.picture.pixels, PIXELS)


def test_prompts_are_in_pixels_of_the_original_and_checked():
    mask = np.zeros((30, 40), bool)
    mask[3:9, 5:20] = True
    points = [(4, 5), (6, 7, 0), Point(8, 9)]
    request = read({"image": PIXELS, "box": Box.relative(0, 0, 0.5, 1), "points": points, "mask": mask}, 16)
    assert request.picture is not None
    assert request.prompt is not None
    assert max(request.picture.pixels.shape) == 16
    assert request.prompt.box == Box(0, 0, 20, 30)
    assert request.prompt.points == (Point(4, 5), Point(6, 7, False), Point(8, 9))
    assert request.prompt.mask is not None
    assert request.prompt.mask.sum() == 90


def test_what_is_one_input_and_what_is_several():
    assert all(
        is_single(value)
        for value in ("a", b"a", PIXELS, {"text": "a"}, pathlib.Path("a"), Picture(PIXELS, 1, 1))
    )
    assert not any(is_single(value) for value in (["a"], ("a", "b"), [], np.array(["a", "b"])))
