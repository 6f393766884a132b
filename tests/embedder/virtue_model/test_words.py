"""What the released weights were told, byte for byte, and what may go wrong with texts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.recipe import picture
from tests.embedder.virtue_model.conftest import Make
from virtue.embedder.virtue_model.configuration import Configuration
from virtue.embedder.virtue_model.instructions import PUBLISHED, fill_template, item_kind, query_kinds
from virtue.errors import InputError
from virtue.geometry import Box, Point, Prompt

CORNERS = Prompt(box=Box(10, 20.5, 110.25, 220))
CLICK = Prompt(points=(Point(5, 6, positive=False), Point(200.7, 299.2)))
IMAGE = picture(1, 120, 90)


SEGMENTED = (
    "Find the caption that best describes the segmented object, considering both local details and global "
    "context in the given image."
)
BOXED = (
    "Find the caption that best describes the object in the bounding box, considering both local details and "
    "global context in the given image."
)


@pytest.mark.parametrize(
    ("name", "prompt", "text", "said"),
    [
        ("classification", None, None, "\nRepresent the given image for classification\n"),
        ("question", None, "What?", "\nRepresent the given image with the following question: What?\n"),
        ("image", None, None, "\nRepresent the given image.\n"),
        ("region", CORNERS, None, f"\n{SEGMENTED}\nReferring object bbox: [10.0, 20.5, 110.25, 220.0]"),
        ("scar", CORNERS, None, f" \n{SEGMENTED}\nReferring object bbox: [10.0, 20.5, 110.25, 220.0]"),
        ("box", CORNERS, None, f"\n{BOXED}\nReferring object bbox: (10, 20, 110, 220)"),
        ("point", CLICK, None, f"\n{SEGMENTED}\nReferring object point: (200, 299)"),
        ("similar", None, None, "\nRetrieve an image similar to the given image.\n"),
        ("find-image", None, "A cat", "Retrieve an image that matches: A cat\n"),
        ("mscoco-t2i", None, "A cat", "Find me an everyday image that matches the given caption A cat\n"),
    ],
)
def test_the_published_words(name: str, prompt: Prompt | None, text: str | None, said: str) -> None:
    assert fill_template(PUBLISHED[name], prompt, text, 640, 480) == said


def test_a_text_alone_gets_no_words_and_a_region_its_own() -> None:
    defaults = Configuration.published().defaults
    assert "text" not in defaults  # captions and labels are embedded raw
    assert defaults["region"] == "region"
    assert [item_kind(True, prompt, text) for prompt in (None, CORNERS) for text in (None, "x")] == [
        "image", "image and text", "region", "region and text",
    ]  # fmt: skip
    assert query_kinds("text", "photos")[0] in defaults


def test_braces_of_a_users_own_stay_what_they_are() -> None:
    assert fill_template("say {text} now", None, "{box} and {text}", 4, 4) == "say {box} and {text} now"


def test_a_prompt_by_name_and_in_words(make: Make) -> None:
    instructions = {"numbers": "5 6 {text}", "last": "9"}
    embedder = make(instructions=instructions, defaults={"image": "last"})
    assert embedder.prompts == instructions
    by_name = embedder.encode(["7 8"], prompt_name="numbers")
    assert np.allclose(by_name, embedder.encode(["5 6 7 8"]), atol=1e-6)
    assert np.allclose(by_name, embedder.encode(["7 8"], prompt="5 6 "), atol=1e-6)
    image = embedder.encode(IMAGE)
    assert np.allclose(image, embedder.encode({"image": IMAGE, "text": "9"}), atol=1e-6)
    assert np.allclose(
        embedder.encode(IMAGE, prompt="3 4"), embedder.encode({"image": IMAGE, "text": "3 4"}), atol=1e-6
    )
    with pytest.raises(InputError, match="knows no prompt called 'letters': it knows numbers, last"):
        embedder.encode(["7"], prompt_name="letters")


def test_queries_have_words_of_their_own(make: Make) -> None:
    embedder = make(instructions={"ask": "1 {text}"}, defaults={"query text photos": "ask"})
    assert np.allclose(embedder.query("7", "photos")[0], embedder.encode("1 7"), atol=1e-6)
    assert np.allclose(embedder.query("7", "regions")[0], embedder.encode("7"), atol=1e-6)


def test_bad_items_are_named_and_cost_themselves_alone(make: Make) -> None:
    embedder = make(max_text_tokens=100)
    slim, dot = np.zeros((1, 20_000, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)
    bad = [
        (dot, "1 x 1 pixels"),
        (slim, "20000 x 1 pixels"),
        ({"image": IMAGE, "box": (50, 50, 500, 60)}, "leaves the picture"),
        ({"image": IMAGE, "box": (0, 0, np.nan, 60)}, "nan"),
        ({"image": IMAGE, "points": [(np.nan, 3)]}, "nan"),
        ({"image": IMAGE, "mask": np.ones((3, 3), bool)}, "must agree"),
        ("  ", "empty"),
        ("7 " * 101, "101 tokens long, more than the 100"),
        (np.full((30, 30, 3), np.nan), "is not a picture"),
    ]
    for value, said in bad:
        with pytest.raises(InputError, match=said):
            embedder.encode(value)
        with pytest.raises(InputError, match=f"input 1: .*{said}"):
            embedder.encode(["5", value, IMAGE])
    values = ["5", *(value for value, _ in bad), IMAGE]
    with pytest.warns(UserWarning) as warned:
        vectors = embedder.encode(values, on_error="skip")
    assert len(warned) == len(bad)
    assert np.isnan(vectors[1:-1]).all()
    assert np.abs(vectors[[0, -1]] - np.stack([embedder.encode("5"), embedder.encode(IMAGE)])).max() <= 1e-5
