"""A hit as JSON, whatever its file is called."""

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from virtue import Box, Hit
from virtue.geometry import Prompt


def hit(raw_path: bytes = b"/photos/mug.jpg", box: Box | None = None, caption: str | None = None) -> Hit:
    box = box or Box(10, 20, 40, 60)
    return Hit(
        rank=1,
        score=0.1234567891,
        raw_path=raw_path,
        box=box,
        width=640,
        height=480,
        kind="region",
        caption=caption,
        region_id=7,
        region_box=box,
        photo_id=3,
        object="cup",
    )


def test_its_json_has_boxes_as_x_y_w_h() -> None:
    assert hit(caption="a mug").as_json() == {
        "rank": 1,
        "score": 0.123457,
        "percentile": None,
        "sureness": None,
        "path": "/photos/mug.jpg",
        "box": [10, 20, 30, 40],
        "width": 640,
        "height": 480,
        "kind": "region",
        "caption": "a mug",
        "region_id": 7,
        "region_box": [10, 20, 30, 40],
        "object": "cup",
        "photo_id": 3,
        "via": ["picture"],
        "taken": None,
        "camera": None,
        "rating": None,
        "tags": [],
        "other_paths": [],
        "copies": [],
        "name": None,
    }


@given(st.binary(min_size=1).map(lambda name: b"/" + name.replace(b"\0", b"")), st.text())
def test_any_name_and_caption_survive_one_line_of_ascii(name: bytes, caption: str) -> None:
    line = hit(name, caption=caption).json_line()
    assert line.isascii() and "\n" not in line
    read = json.loads(line)
    assert os.fsencode(read["path"]) == name
    assert read["caption"] == caption


def test_a_name_in_no_encoding_is_escaped_byte_by_byte() -> None:
    assert r'"/caf\udce9.jpg"' in hit(b"/caf\xe9.jpg").json_line()


@given(
    st.floats(0, 639).flatmap(lambda x: st.tuples(st.just(x), st.floats(x + 0.01, 640))),
    st.floats(0, 479).flatmap(lambda y: st.tuples(st.just(y), st.floats(y + 0.01, 480))),
)
def test_a_box_that_was_printed_can_be_asked_for(
    across: tuple[float, float], down: tuple[float, float]
) -> None:
    box = Box(across[0], down[0], across[1], down[1])
    text = ",".join(str(value) for value in hit(box=box).as_json()["box"])
    again = Prompt(Box.parse(text)).within(640, 480).box
    assert again is not None
    assert max(abs(a - b) for a, b in zip(again.corners, box.corners, strict=True)) <= 0.0011
