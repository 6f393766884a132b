"""Words of a command line: which are pictures, which are text, whose is the box."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from virtue import Box, Point
from virtue.errors import InputError, PromptError
from virtue.retrieval import Part, parse_arguments

NUMBERS = st.floats(0, 5000, allow_nan=False).map(lambda number: round(number, 2))
SIZES = st.floats(0.01, 5000, allow_nan=False).map(lambda number: round(number, 2))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two pictures, a picture that has an @ in its name, and a folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("mug.jpg", "cat.png", "odd", "odd@1,2,3,4", "plain"):
        Image.new("RGB", (40, 30)).save(name, "PNG")
    Path("photos").mkdir()
    return tmp_path


def test_words_are_joined_to_one_text() -> None:
    (part,) = parse_arguments(["a", "red", "mug on a desk"]).parts
    assert (part.text, part.image) == ("a red mug on a desk", None)


def test_texts_by_option_are_texts_of_their_own_whatever_they_look_like() -> None:
    query = parse_arguments(["a dog"], texts=["mug.jpg", "no/such/path.png"])
    assert [part.text for part in query.parts] == ["a dog", "mug.jpg", "no/such/path.png"]
    assert query.is_text


def test_an_existing_file_is_an_image_whatever_its_name() -> None:
    for name in ("mug.jpg", "plain", "./plain", "odd@1,2,3,4"):
        (part,) = parse_arguments([name]).parts
        assert (part.image, part.box, part.text) == (Path(name), None, None)
        assert parse_arguments(images=[name]).parts[0].image == Path(name)


def test_one_image_and_words_are_one_question() -> None:
    (part,) = parse_arguments(["mug.jpg", "but", "at night"], texts=["and blue"]).parts
    assert (part.image, part.text) == (Path("mug.jpg"), "but at night and blue")


def test_several_images_and_words_are_added_up() -> None:
    query = parse_arguments(["mug.jpg", "a dog"], images=["cat.png"])
    assert [part.image for part in query.parts] == [Path("mug.jpg"), Path("cat.png"), None]
    assert query.parts[2].text == "a dog"
    assert not query.is_text


def test_prompts_belong_to_the_only_image() -> None:
    (part,) = parse_arguments(
        ["mug.jpg", "in blue"],
        box="1,2,3,4",
        points=["5,6"],
        not_points=[Point(7, 8, positive=False)],
        mask="cat.png",
    ).parts
    assert part.box == Box(1, 2, 4, 6)
    assert part.points == (Point(5, 6), Point(7, 8, positive=False))
    assert part.mask == Path("cat.png")
    assert part.text == "in blue"


@given(NUMBERS, NUMBERS, SIZES, SIZES)
def test_a_box_behind_the_name_is_the_box_of_that_image(x: float, y: float, w: float, h: float) -> None:
    words = [f"mug.jpg@{x},{y},{w},{h}", "cat.png"]
    for query in (parse_arguments(words), parse_arguments(images=words)):
        first, second = query.parts
        assert (first.image, second.image) == (Path("mug.jpg"), Path("cat.png"))
        assert first.box == Box.from_xywh(x, y, w, h)
        assert second.box is None


def test_a_box_behind_the_name_goes_with_points_but_not_with_another_box() -> None:
    (part,) = parse_arguments(["mug.jpg@1,2,3,4"], points=["2,3"]).parts
    assert (part.box, part.points) == (Box(1, 2, 4, 6), (Point(2, 3),))
    with pytest.raises(PromptError, match="two boxes"):
        parse_arguments(["mug.jpg@1,2,3,4"], box="1,2,3,4")


def test_what_is_left_out_is_told_apart_likewise() -> None:
    query = parse_arguments(["a dog"], without=["a beach", "mug.jpg@1,2,3,4"])
    text, image = query.without
    assert (text.text, text.image) == ("a beach", None)
    assert (image.image, image.box) == (Path("mug.jpg"), Box(1, 2, 4, 6))
    assert str(query) == '"a dog" - "a beach" - mug.jpg@1,2,3,4'


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ([], {}, "nothing to search for"),
        ([""], {}, "nothing to search for|empty"),
        ([], {"texts": [" "]}, "empty"),
        ([], {"without": ["a dog"]}, "not only what to leave out"),
        (["gone.jpg"], {}, "gone.jpg: there is no such file.*--text gone.jpg"),
        (["photos/of dogs"], {}, "there is no such file.*--text 'photos/of dogs'"),
        (["/nowhere/dog"], {}, "/nowhere/dog: there is no such file"),
        (["gone.jpg@1,2,3,4"], {}, "gone.jpg: there is no such file"),
        (["mug.jpg@1,2,3"], {}, "not a box"),
        (["mug.jpg@1,2,0,4"], {}, "no size"),
        (["./photos"], {}, "virtue index ./photos"),
        (["dog::1e999"], {}, "cannot weigh inf"),
        (["dog::0e5"], {}, "cannot weigh 0"),
        (["\ud800 dog"], {}, "half a character"),
        (["dog " * 30_000], {}, "120,000 characters: give at most 100,000"),
        (["dog"], {"like": ["@2"]}, "@2 is a hit of the last search, and none is known"),
        (["dog"], {"like": ["@0"]}, "'@0' is no hit"),
        ([], {"images": ["photos"]}, "virtue index photos"),
        ([], {"images": ["gone"]}, "gone: there is no such file"),
        (["a dog"], {"without": ["./photos"]}, "virtue index ./photos"),
        (["a dog"], {"box": "1,2,3,4"}, "--box needs a picture"),
        (["a dog"], {"not_points": ["1,2"]}, "--not-point needs a picture"),
        (["mug.jpg", "cat.png"], {"box": "1,2,3,4"}, "photo.jpg@x,y,w,h"),
        (["mug.jpg"], {"box": "1,2,3"}, "not a box"),
        (["mug.jpg"], {"points": ["1"]}, "not a point"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: list[str], options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        parse_arguments(arguments, **options)
    assert "\n" not in str(raised.value)


def test_a_folders_plain_name_is_a_word() -> None:
    (part,) = parse_arguments(["photos", "of", "dogs"]).parts
    assert part.text == "photos of dogs"


@pytest.mark.parametrize(
    "word", ["AC/DC", "cats and/or dogs", "invoice 2023/000981", "https://example.org/a?b=c"]
)
def test_a_slash_makes_no_path_of_words(word: str) -> None:
    (part,) = parse_arguments([word]).parts
    assert part.text == word


@pytest.mark.parametrize(("word", "weight"), [("dog::1e-1", 0.1), ("dog::2E+0", 2.0), ("dog::.5e1", 5.0)])
def test_a_weight_may_have_an_exponent(word: str, weight: float) -> None:
    (part,) = parse_arguments([word]).parts
    assert (part.text, part.weight) == ("dog", weight)


def test_words_in_another_encoding_are_read() -> None:
    (part,) = parse_arguments([os.fsdecode("café €".encode("cp1252"))]).parts
    assert part.text == "café €"
    (part,) = parse_arguments(texts=[os.fsdecode(b"\x81")]).parts
    assert part.text == "\ufffd"


def test_a_hit_of_the_last_search_is_what_it_was() -> None:
    kept = {1: Part(region_id=70), 2: Part(photo_id=8)}
    query = parse_arguments(["dog"], like=["@1", "@2::0.5"], unlike=["@2"], recall=kept.__getitem__)
    assert [(part.region_id, part.photo_id, part.weight) for part in query.parts[1:]] == [
        (70, None, 1.0),
        (None, 8, 0.5),
    ]
    assert query.without[0].photo_id == 8


def test_a_pipe_and_a_link_to_nowhere_are_no_pictures() -> None:
    os.mkfifo("pipe.jpg")
    os.symlink("nowhere", "link.jpg")
    with pytest.raises(InputError, match=r"pipe\.jpg: not a regular file"):
        parse_arguments(["pipe.jpg"])
    with pytest.raises(InputError, match=r"link\.jpg: a link that leads nowhere"):
        parse_arguments(["link.jpg"])


def test_names_in_no_encoding_are_images() -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (8, 8)).save(name)
    (part,) = parse_arguments([name]).parts
    assert os.fsencode(part.image) == b"caf\xe9.png"
    assert str(part).isascii()


@given(st.lists(st.text(), max_size=4))
def test_any_words_make_a_query_or_one_sentence(words: list[str]) -> None:
    try:
        query = parse_arguments(words)
    except InputError as error:
        assert str(error)
    else:
        assert query.is_text
        assert query.parts[0].text == " ".join(words)


# -- weights and hits -------------------------------------------------------------------------------------


def test_a_number_behind_two_colons_is_a_weight_and_makes_a_part() -> None:
    query = parse_arguments(["a", "dog", "snow::0.5", "mug.jpg@1,2,3,4::2", "rain::-.25"])
    assert [(part.text, part.weight) for part in query.parts] == [
        (None, 2), ("a dog", 1), ("snow", 0.5), ("rain", -0.25),
    ]  # fmt: skip
    assert query.parts[0].box == Box.parse("1,2,3,4")
    assert str(query) == 'mug.jpg@1,2,3,4::2 + "a dog" + "snow"::0.5 - "rain"::0.25'


def test_weighed_words_are_not_part_of_what_is_asked_of_the_image() -> None:
    first, second = parse_arguments(["mug.jpg", "at night", "snow::0.5"]).parts
    assert (first.image, first.text) == (Path("mug.jpg"), "at night")
    assert (second.text, second.weight) == ("snow", 0.5)
    assert [part.text for part in parse_arguments(["mug.jpg::1", "at night"]).parts] == [None, "at night"]


def test_images_by_option_and_what_is_left_out_have_weights_too() -> None:
    query = parse_arguments(images=["mug.jpg::3"], without=["rain::2", "cat.png::0.5"])
    assert (query.parts[0].image, query.parts[0].weight) == (Path("mug.jpg"), 3)
    assert [(part.text, part.weight) for part in query.without] == [("rain", 2), (None, 0.5)]


def test_a_file_that_is_called_so_is_that_file() -> None:
    Image.new("RGB", (40, 30)).save("mug::2", "PNG")
    for query in (parse_arguments(["mug::2"]), parse_arguments(images=["mug::2"])):
        assert (query.parts[0].image, query.parts[0].weight) == (Path("mug::2"), 1)


@pytest.mark.parametrize("word", ["std::vector", "::2", "a dog:: 2", "12::30pm", "a::2b", "ratio 1:2"])
def test_other_colons_are_text(word: str) -> None:
    assert [(part.text, part.weight) for part in parse_arguments([word]).parts] == [(word, 1)]


def test_a_text_by_option_is_taken_as_it_is() -> None:
    assert parse_arguments(texts=["snow::0.5"]).parts[0].text == "snow::0.5"


def test_a_weight_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="cannot weigh 0"):
        parse_arguments(["a dog", "snow::0"])
    with pytest.raises(InputError, match="nothing to search for"):
        parse_arguments(["snow::-1"])
    with pytest.raises(InputError, match="need positive weights"):
        parse_arguments(["a dog"], without=["snow::-1"])


@given(
    st.text(st.characters(exclude_characters="/.@\0", exclude_categories=["Cs"]), min_size=1).filter(
        lambda text: text.strip() and not os.path.lexists(text)
    ),
    st.floats(0.001, 1000),
)
def test_any_text_can_be_weighed(text: str, weight: float) -> None:
    (part,) = parse_arguments([f"{text}::{weight:.6f}"]).parts
    assert part.text == text
    assert part.weight == pytest.approx(weight, abs=1e-5)


def test_hits_are_named_by_their_region() -> None:
    query = parse_arguments(["a dog"], like=["12", "7::2"], unlike=["3"])
    assert [(part.text, part.region_id, part.weight) for part in query.parts] == [
        ("a dog", None, 1), (None, 12, 1), (None, 7, 2),
    ]  # fmt: skip
    assert [part.region_id for part in query.without] == [3]
    assert not query.is_text
    with pytest.raises(
        InputError, match=r"'dog.jpg' is no hit: give @2 for the second one of your last search"
    ):
        parse_arguments(like=["dog.jpg"])
