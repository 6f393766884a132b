"""Things as the bundled model sees them: its own detector on example photos, and a made-up one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from virtue.embedder import Embedder, Item, Proposal
from virtue.embedder.mini import FOLDER, Mini
from virtue.embedder.mini.detector import Detections, NanoDet
from virtue.embedder.mini.people import names_people
from virtue.embedder.model import Scene
from virtue.geometry import Box, Prompt
from virtue.pictures import load

NAMES = ("person", "dog", "teapot")


class Told:
    """A detector that finds what it was told; it counts the pictures that it looked at."""

    names = NAMES
    fingerprint = "told"

    def __init__(self, *found: tuple[tuple[float, float, float, float], dict[str, float]]) -> None:
        self.looked = 0
        self.boxes = np.array([box for box, _ in found], np.float64).reshape(-1, 4)
        self.scores = np.zeros((len(found), len(NAMES)), np.float32)
        for row, (_, scores) in zip(self.scores, found, strict=True):
            for name, score in scores.items():
                row[NAMES.index(name)] = score

    def detect(self, pixels: np.ndarray) -> Detections:
        assert pixels.dtype == np.uint8
        assert max(pixels.shape) == 512
        self.looked += 1
        return Detections(self.boxes, self.scores)


def plain(told: Told, width: int = 400, height: int = 200) -> tuple[Embedder, Scene]:
    """A model with that detector, and the scene of a picture with nothing in it but noise."""
    embedder = Embedder(Mini(proposer=told))
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    (scene,) = embedder.scenes([load(noise, side=512)])
    return embedder, scene


def propose(embedder: Embedder, scene: Scene, limit: int = 32) -> list[Proposal]:
    return embedder.model.propose(scene, limit)


def found_in(photo: Path) -> list[Proposal]:
    embedder = Embedder.from_pretrained("mini")
    (scene,) = embedder.scenes([load(photo, side=512)])
    return [each for each in propose(embedder, scene) if each.objectness is not None]


@pytest.mark.parametrize(
    ("photo", "object", "box"),
    [
        ("astronaut.jpg", "person", (14, 14, 364, 507)),
        ("photographer.jpg", "person", (3, 68, 321, 512)),
        ("street.jpg", "bicycle", (136, 399, 256, 474)),
    ],
)
def test_the_surest_thing_of_a_photo(
    example_photos: Path, photo: str, object: str, box: tuple[float, ...]
) -> None:
    first = found_in(example_photos / photo)[0]
    assert first.object == object
    assert first.objectness is not None
    assert 0.5 < first.objectness <= 1
    assert first.box.iou(Box(*box)) > 0.85


def test_what_is_hardly_sure_is_a_thing_without_a_name(example_photos: Path) -> None:
    found = found_in(example_photos / "street.jpg")
    assert {each.object is None for each in found} == {True, False}
    assert all((each.object is None) == (each.objectness < 0.4) for each in found if each.objectness)


def test_things_are_proposed_first_and_the_grid_fills_up() -> None:
    told = Told(
        ((0.1, 0.2, 0.4, 0.9), {"dog": 0.8, "person": 0.3}),
        ((0.5, 0.1, 0.7, 0.5), {"teapot": 0.9}),
        ((0.8, 0.8, 0.9, 0.9), {"dog": 0.25}),
        ((0.0, 0.0, 1.0, 0.99), {"dog": 0.2}),
    )
    embedder, scene = plain(told)
    found = propose(embedder, scene)
    assert [(each.object, each.objectness) for each in found[:3]] == [
        ("teapot", pytest.approx(0.9)),
        ("dog", pytest.approx(0.8)),
        (None, pytest.approx(0.25)),
    ], "what is nearly the whole picture is left to the picture"
    assert found[0].box.corners == pytest.approx((200, 20, 280, 100))
    rest = found[3:]
    assert len(rest) > 3
    assert {(each.object, each.objectness) for each in rest} == {(None, None)}
    assert all(each.box.iou(thing.box) <= 0.6 for each in rest for thing in found[:3])
    assert propose(embedder, scene, 2) == found[:2]
    assert embedder.propose(scene, 4) == [each.box for each in found[:4]]
    assert told.looked == 1, "once a picture"


def test_a_region_means_what_is_seen_in_it() -> None:
    told = Told(((0.1, 0.2, 0.4, 0.9), {"dog": 0.8}), ((0.5, 0.1, 0.9, 0.9), {"teapot": 0.9}))
    embedder, scene = plain(told)
    dog, teapot, aside = Box(40, 40, 160, 180), Box(200, 20, 360, 180), Box(0, 0, 40, 40)
    rows = embedder.embed([Item(scene, Prompt(box)) for box in (dog, teapot, aside)])
    scores = rows @ embedder.encode_query(["a dog", "a teapot"]).T
    assert scores.argmax(axis=0).tolist() == [0, 1]
    assert scores[0, 0] > 0.25
    assert scores[1, 1] > 0.25, "a name that the bundled detector does not know"
    assert abs(scores[2]).max() < 0.2
    half = embedder.embed([Item(scene, Prompt(Box(40, 40, 100, 180)))])[0] @ embedder.encode_query("a dog")
    assert scores[2, 0] < half < scores[0, 0], "as far as it overlaps"


def test_a_vector_depends_on_its_scene_and_prompt_alone() -> None:
    told = Told(((0.1, 0.2, 0.4, 0.9), {"dog": 0.8}))
    embedder, scene = plain(told)
    item = Item(scene, Prompt(Box(40, 40, 160, 180)))
    alone = embedder.embed([item])[0]
    together = embedder.embed([Item(scene), Item(scene, Prompt(Box(0, 0, 50, 50))), item])[2]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_two_persons_are_a_group_too() -> None:
    told = Told(
        ((0.1, 0.2, 0.3, 0.9), {"person": 0.8}),
        ((0.5, 0.1, 0.7, 0.8), {"person": 0.6}),
        ((0.8, 0.8, 0.9, 0.9), {"person": 0.3}),
    )
    embedder, scene = plain(told)
    found = propose(embedder, scene)
    assert [each.object for each in found[:4]] == ["person", "person", "people", None]
    group = found[2]
    assert group.objectness == pytest.approx(0.6), "as sure as that there is a second"
    assert group.box.corners == pytest.approx((40, 20, 280, 180))
    rows = embedder.embed([Item(scene, Prompt(each.box)) for each in found[:3]])
    assert (rows @ embedder.encode_query("friends")).argmax() == 2


def test_one_person_is_no_group() -> None:
    embedder, scene = plain(Told(((0.1, 0.2, 0.3, 0.9), {"person": 0.8})))
    assert [each.object for each in propose(embedder, scene)].count("people") == 0


def test_query_pictures_are_not_searched_for_things() -> None:
    told = Told(((0.1, 0.2, 0.4, 0.9), {"dog": 0.8}))
    embedder, _ = plain(told)
    picture = np.full((300, 300, 3), 90, np.uint8)
    embedder.query(picture, "regions")
    embedder.query({"image": picture, "box": (10, 10, 200, 200)}, "photos")
    assert told.looked == 0
    embedder.query(picture, "captions")
    assert told.looked == 1, "captions are found by what a picture means"


def test_another_detector_is_another_model() -> None:
    own = Mini().fingerprint
    assert Mini(proposer=Told()).fingerprint not in (own, "told")
    assert Mini(proposer=Told()).fingerprint == Mini(proposer=Told()).fingerprint


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (2000, 4), (31, 33)])
def test_pictures_of_any_shape_can_be_looked_at(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = NanoDet(FOLDER).detect(pixels)
    assert found.scores.shape == (len(found.boxes), 80)
    assert ((found.boxes >= 0) & (found.boxes <= 1)).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [("a man", True), ("Two Women at a table", True), ("friends", True), ("a manhole", False), ("", False)],
)
def test_words_for_people(text: str, said: bool) -> None:
    assert names_people(text) == said


def test_who_asks_for_people_means_persons() -> None:
    embedder = Embedder.from_pretrained("mini")
    person = embedder.encode_query("a person")
    for text in ("a man", "a woman", "a girl"):
        meant = embedder.encode_query(text, find="regions")
        assert meant @ person > embedder.encode_query(text, find="captions") @ person + 0.05
        np.testing.assert_array_equal(embedder.encode_query(text, find="captions"), embedder.encode(text))
    for find in ("regions", "captions"):
        np.testing.assert_array_equal(embedder.encode_query("a dog", find=find), embedder.encode("a dog"))
