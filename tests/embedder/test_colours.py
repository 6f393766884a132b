"""The colour part of the bundled model: what pixels and what words say of colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from virtue import Library
from virtue.embedder import Embedder
from virtue.embedder.mini.colour_words import read_colours
from virtue.embedder.mini.colours import TERMS

COLOURS = slice(768, 768 + len(TERMS))


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return Embedder.from_pretrained("mini")


def flat(*rgb: int) -> np.ndarray:
    return np.full((128, 128, 3), rgb, np.uint8)


def shares(row: np.ndarray) -> dict[str, float]:
    """The shares of the terms in a row of a library."""
    return dict(zip(TERMS, (9 * row[COLOURS] ** 2).tolist(), strict=True))


@pytest.mark.parametrize(
    ("rgb", "term"),
    [
        ((15, 15, 15), "black"), ((250, 250, 250), "white"), ((128, 128, 128), "grey"),
        ((200, 20, 30), "red"), ((245, 130, 20), "orange"), ((250, 225, 40), "yellow"),
        ((60, 140, 50), "green"), ((30, 70, 200), "blue"), ((110, 50, 150), "purple"),
        ((245, 150, 190), "pink"), ((110, 70, 40), "brown"), ((20, 25, 60), "blue"),
        ((140, 180, 225), "blue"), ((110, 15, 20), "red"),
    ],
)  # fmt: skip
def test_colours_are_what_people_call_them(mini: Embedder, rgb: tuple[int, int, int], term: str) -> None:
    seen = shares(mini.encode(flat(*rgb)))
    assert max(seen, key=lambda name: seen[name]) == term
    assert seen[term] > 0.6
    assert sum(seen.values()) == pytest.approx(1, abs=1e-3)


def test_a_region_has_the_colours_of_its_own_pixels(mini: Embedder) -> None:
    picture = np.concatenate([flat(200, 20, 30), flat(30, 70, 200)], axis=1)
    left, right, whole = mini.encode(
        [{"image": picture, "box": (0, 0, 128, 128)}, {"image": picture, "box": (128, 0, 256, 128)}, picture]
    )
    assert shares(left)["red"] > 0.7 > 0.1 > shares(left)["blue"]
    assert shares(right)["blue"] > 0.7 > 0.1 > shares(right)["red"]
    assert shares(whole)["red"] == pytest.approx(shares(left)["red"] / 2, abs=0.05)
    mask = np.zeros((128, 256), bool)
    mask[:, 128:] = True
    np.testing.assert_allclose(
        mini.encode({"image": picture, "mask": mask})[COLOURS], right[COLOURS], atol=1e-3
    )


@pytest.mark.parametrize(
    ("text", "rest", "terms"),
    [
        ("a red mug", "a mug", "red"),
        ("a woman in an orange suit", "a woman in a suit", "orange"),
        ("a Red, White and blue flag", "a flag", "white red blue"),
        ("a black-and-white cat", "a cat", "black white"),
        ("a white horse in a green field", "a horse in a field", "white green"),
        ("dark blue cars", "cars", "blue"),
        ("a grey coloured elephant", "an elephant", "grey"),
        ("crimson curtains", "curtains", "red"),
        ("a navy jacket", "a jacket", "blue"),
        ("a car that is red", "a car", "red"),
        ("a cat, black", "a cat", "black"),
        # A colour alone.
        ("red", "", "red"),
        ("something blue", "", "blue"),
        ("photos of red things", "", "red"),
        # Things that are called as a colour is.
        ("an orange", "an orange", ""),
        ("an orange on a table", "an orange on a table", ""),
        ("oranges and a rose", "oranges and a rose", ""),
        ("an orange umbrella", "an umbrella", "orange"),
        ("a field of violet", "a field of violet", ""),
        # Kinds, people, parts of words.
        ("orange juice", "orange juice", ""),
        ("a red panda", "a red panda", ""),
        ("a golden retriever", "a golden retriever", ""),
        ("two black women", "two black women", ""),
        ("a red-haired woman", "a red-haired woman", ""),
        ("blueberries in a greenhouse", "blueberries in a greenhouse", ""),
        ("a dog on  a sofa, asleep", "a dog on  a sofa, asleep", ""),
    ],
)
def test_words_that_name_colours(text: str, rest: str, terms: str) -> None:
    read = read_colours(text)
    assert (read.rest, {TERMS[term] for term in read.terms}) == (rest, set(terms.split()))


def test_long_texts_are_read_in_no_time() -> None:
    for text in ("red " * 25_000, "red" + "," * 99_000 + "x", "a " * 50_000, "red" + " " * 99_000 + "and"):
        read_colours(text)


def test_a_text_without_colours_asks_as_ever(mini: Embedder) -> None:
    assert not mini.encode_query("an orange on a table")[768:].any()
    mug, red = mini.encode_query(["a mug", "a red mug"])
    assert mug @ red == pytest.approx(2**-0.5, abs=1e-4)
    assert red[COLOURS][TERMS.index("red")] == pytest.approx(2**-0.5, abs=1e-4)
    among_captions = mini.encode_query("a red mug", find="captions")
    assert mug @ among_captions == pytest.approx(1.25**-0.5, abs=1e-4)
    assert among_captions @ mini.encode("a red mug") == pytest.approx(1, abs=1e-4)
    both = mini.encode_query("a red and blue mug")
    assert both[COLOURS].nonzero()[0].tolist() == [TERMS.index("red"), TERMS.index("blue")]
    assert np.linalg.norm(both[768:]) == pytest.approx(np.linalg.norm(red[768:]), abs=1e-4)
    assert mini.text_baselines(red[None]) > mini.text_baselines(mug[None]) / 2**0.5
    alone = mini.encode_query("red")
    np.testing.assert_allclose(mini.text_baselines(alone[None]), [0.6 / 3], atol=1e-4)
    assert not alone[:768].any() and alone[COLOURS][TERMS.index("red")] == 1


def test_a_picture_is_asked_with_a_colour(mini: Embedder) -> None:
    plain, red = mini.query(flat(30, 70, 200)), mini.query({"image": flat(30, 70, 200), "text": "a red one"})
    assert not plain[:, 768:].any()
    assert (red[:, COLOURS].argmax(axis=1) == TERMS.index("red")).all()
    np.testing.assert_allclose(red[:, :384], 0, atol=1e-6)


DYES = {"red": (200, 20, 30), "blue": (40, 80, 200), "green": (40, 140, 50), "yellow": (235, 205, 40)}


def test_of_four_dyed_cats_the_one_of_the_colour_comes_first(tmp_path: Path, example_photos: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(example_photos / "cat.jpg") as cat:
        gray = cat.convert("L")
    for place, colour in zip("abcd", DYES.values(), strict=True):
        ImageOps.colorize(gray, "black", "white", colour).save(photos / f"{place}.png")
    with Library(tmp_path / "library") as library:
        library.index(photos)
        for place, name in zip("abcd", DYES, strict=True):
            for words in (f"a {name} cat", name, f"something {name}"):
                assert library.search(words)[0].path.endswith(f"{place}.png"), words
        captions = {"a.txt": "a red cat on a sofa", "b.txt": "something blue"}
        for name, text in captions.items():
            (photos / name).write_text(text)
        library.index()
        for text in captions.values():
            (hit, *_) = library.search(text, find="captions")
            assert (hit.caption, hit.score) == (text, pytest.approx(1, abs=1e-3))
            assert library.search(text)[0].via[0] == "caption"
