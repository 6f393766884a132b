"""Scenes: everything that is said of a picture is true of it, and the rest is chance."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.conftest import ROOT
from tests.training.drawn_cutouts import SHAPES, draw_cutouts
from virtue.errors import InputError
from virtue.training.scenes import (
    ELEMENTS,
    RELATIONS,
    Caption,
    Query,
    Scene,
    SceneObject,
    Scenes,
    draw_grounds,
    read_cutouts,
    read_grounds,
    split,
)

PLACES = {
    "coffee": "on a wooden table",
    "street": "a street of brick houses",
    "pagoda": "A temple garden.",
    "rocket": "at a launch pad by night",
    "dahlia": "among leaves",
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_cutouts(tmp_path_factory.mktemp("training") / "shapes")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    for stem, words in PLACES.items():
        (folder / f"{stem}.jpg").write_bytes((ROOT / "examples" / "photos" / f"{stem}.jpg").read_bytes())
        (folder / f"{stem}.txt").write_text(words)
    return folder


@pytest.fixture(scope="module")
def scenes(shapes: Path, places: Path) -> Scenes:
    return Scenes(read_cutouts(shapes), [*read_grounds(places), *draw_grounds()], seed=3, length=240)


@pytest.fixture(scope="module")
def made(scenes: Scenes) -> list[Scene]:
    return list(scenes)


def middle(mask: np.ndarray) -> tuple[float, float]:
    """The row and column of a mask's middle."""
    along = np.arange(len(mask))
    return float(mask.sum(axis=1) @ along / mask.sum()), float(mask.sum(axis=0) @ along / mask.sum())


def holds(relation: str, one: SceneObject, other: SceneObject) -> bool:
    """Whether a relation is true by the masks, without any margin: written apart from what the scenes use."""
    (y, x), (other_y, other_x) = (middle(thing.mask) for thing in (one, other))
    return {
        "left": x < other_x,
        "right": x > other_x,
        "above": y < other_y,
        "below": y > other_y,
        "front": bool((one.mask & other.whole).any()),
        "behind": bool((other.mask & one.whole).any()),
    }[relation]


def objects_of(scene: Scene, caption: Caption) -> tuple[SceneObject, SceneObject]:
    by_name = {thing.name: thing for thing in scene.objects}
    return by_name[caption.subject], by_name[caption.other]


def differing(one: Caption, other: Caption) -> set[str]:
    same = (
        ("object", one.subject == other.subject and one.other == other.other),
        ("relation", (one.relation, one.phrase) == (other.relation, other.phrase)),
        ("scene", one.scene == other.scene),
    )
    return {element for element, is_same in same if not is_same}


def test_a_scene_says_of_each_object_where_it_is_and_what(made: list[Scene]) -> None:
    for scene in made:
        assert scene.picture.shape == (256, 256, 3) and scene.picture.dtype == np.uint8
        assert 3 <= len(scene.objects) <= 5
        assert len({thing.name for thing in scene.objects}) == len(scene.objects)
        assert sum(thing.mask.astype(int) for thing in scene.objects).max() == 1, "a pixel shows one object"
        for thing in scene.objects:
            ys, xs = thing.mask.nonzero()
            assert thing.box.corners == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert thing.mask.sum() >= 0.35 * thing.whole.sum() and (thing.whole | ~thing.mask).all()
        assert [query.object for query in scene.queries] == list(range(len(scene.objects)))


def test_what_lies_in_the_mask_is_the_cut_out_and_nothing_else(made: list[Scene], shapes: Path) -> None:
    """A shape has one colour: inside its mask it is that, in some light, but for the outline and the blur."""
    for scene in made[:40]:
        for thing in scene.objects:
            inside = thing.mask.copy()
            for shift in range(-4, 5):
                inside &= np.roll(thing.mask, shift, 0) & np.roll(thing.mask, shift, 1)
            if inside.sum() > 30:
                colour = np.array(ImageColor.getrgb(SHAPES[thing.name][0]), float)
                seen = scene.picture[inside].astype(float).mean(axis=0)
                lit = (np.linspace(0.3, 2, 60)[:, None] * colour).clip(0, 255)
                assert np.abs(seen - lit).max(axis=1).min() < 25, thing.name


def test_each_distractor_swaps_exactly_one_element(made: list[Scene]) -> None:
    for scene in made:
        for query in scene.queries:
            assert query.swaps == ("", *(element for element in ELEMENTS for _ in range(3)))
            assert len({caption.text for caption in query.captions}) == 10
            truth = query.captions[0]
            for caption, swap in zip(query.captions[1:], query.swaps[1:], strict=True):
                assert differing(truth, caption) == {swap}
                assert caption.text == f"{caption.subject} {caption.phrase} {caption.other}, {caption.scene}"
                assert caption.phrase in RELATIONS[caption.relation].phrases


def test_the_truth_holds_by_the_masks_and_no_distractor_does(made: list[Scene]) -> None:
    for scene in made:
        for query in scene.queries:
            truth = query.captions[0]
            assert truth.subject == scene.objects[query.object].name and truth.scene == scene.ground
            one, other = objects_of(scene, truth)
            assert holds(truth.relation, one, other)
            assert all(caption.subject != truth.subject for caption in query.captions[1:4])
            for caption in query.captions[4:7]:
                axis = RELATIONS[caption.relation].axis
                (x, y, w, h), (p, q, v, u) = one.box.xywh, other.box.xywh
                apart = {"x": abs(x + w / 2 - p - v / 2) / (w + v), "y": abs(y + h / 2 - q - u / 2) / (h + u)}
                is_level = axis != "z" and apart[axis] <= 0.15
                assert is_level or not holds(caption.relation, one, other)


def test_all_relations_come_up_with_all_their_phrases(made: list[Scene]) -> None:
    truths = Counter((q.captions[0].relation, q.captions[0].phrase) for scene in made for q in scene.queries)
    assert set(truths) == {(name, phrase) for name, it in RELATIONS.items() for phrase in it.phrases}


def bound_queries(made: list[Scene]) -> list[tuple[Scene, Query]]:
    return [(scene, query) for scene in made for query in scene.queries if query.bound]


def test_half_the_scenes_are_bound_and_the_twin_is_true_of_another_pair(made: list[Scene]) -> None:
    assert [scene.bound for scene in made] == [bool(scene.index % 2) for scene in made]
    for scene, query in bound_queries(made):
        assert query.twin is not None
        truth, twin = query.captions[0], query.captions[query.twin]
        one, _ = objects_of(scene, truth)
        assert twin.other == truth.other and twin.relation != truth.relation
        third = [
            thing
            for thing in scene.objects
            if thing.name not in (truth.subject, truth.other) and holds(twin.relation, one, thing)
        ]
        assert third, "the twin's relation is true of the object and a third one"
        four = [caption.relation for caption in (truth, *query.captions[4:7])]
        axes = Counter(RELATIONS[relation].axis for relation in four)
        assert len(set(four)) == 4 and set(axes.values()) == {2}, "both ends of two axes"


def test_bound_queries_give_nothing_away_to_who_sees_no_picture(made: list[Scene]) -> None:
    """What is learnt of candidates and boxes on one half of the queries is at chance on the other."""
    found = bound_queries(made)
    by_truth = Counter(query.captions[0].relation for _, query in found)
    assert set(by_truth) == set(RELATIONS) and max(by_truth.values()) <= 3 * min(by_truth.values())

    def features(scene: Scene, query: Query, caption: Caption) -> tuple[object, ...]:
        x, y, w, h = scene.objects[query.object].box.xywh
        return caption.relation, int((x + w / 2) // 86), int((y + h / 2) // 86)

    for blind in (lambda s, q, c: c.relation, features):
        wins: Counter[object] = Counter()
        right = 0
        for number, (scene, query) in enumerate(found):
            assert query.twin is not None
            truth, twin = (blind(scene, query, query.captions[place]) for place in (0, query.twin))
            if number < len(found) // 2:
                wins[truth] += 1
                wins[twin] -= 1
            else:
                right += 2 * (wins[truth] > wins[twin]) + (wins[truth] == wins[twin])
        share = right / 2 / (len(found) - len(found) // 2)
        assert abs(share - 0.5) < 0.2, share  # 60 queries: three standard errors


def test_a_scene_depends_on_seed_and_number_alone(shapes: Path, scenes: Scenes, made: list[Scene]) -> None:
    again = Scenes(
        read_cutouts(shapes)[::-1], [g for f in scenes.families for g in f][::-1], seed=3, length=9
    )
    assert [again[7].queries, again[-1].queries] == [made[7].queries, made[8].queries]
    assert (again[7].picture == made[7].picture).all()
    assert (again[7].objects[0].mask == made[7].objects[0].mask).all()
    other = Scenes(scenes.cutouts, draw_grounds(), seed=4)
    assert other[7].queries != made[7].queries
    with pytest.raises(IndexError):
        again[9]


def test_a_device_composes_the_same_pictures(shapes: Path) -> None:
    ways = [Scenes(read_cutouts(shapes), draw_grounds(), length=70, seed=9, size=96, device=device)
            for device in (None, "cpu")]  # fmt: skip
    for one, other in zip(*ways, strict=True):
        assert abs(one.picture.astype(int) - other.picture).max() <= 1
        assert one.queries == other.queries and one.ground == other.ground
        for mine, theirs in zip(one.objects, other.objects, strict=True):
            assert (mine.mask == theirs.mask).all() and mine.box == theirs.box
    several = ways[1].__getitems__([69, 3])
    assert [scene.index for scene in several] == [69, 3]
    assert (several[1].picture == ways[1][3].picture).all()
    with pytest.raises(InputError, match="nowhere"):
        Scenes(read_cutouts(shapes), draw_grounds(), device="nowhere")


def test_grounds_are_photos_and_patterns_in_equal_shares(made: list[Scene]) -> None:
    drawn = {ground.name for ground in draw_grounds()}
    photos = {
        "on a wooden table",
        "against a street of brick houses",
        "against a temple garden",
        "at a launch pad by night",
        "among leaves",
    }
    counts = Counter(scene.ground in drawn for scene in made)
    assert {scene.ground for scene in made} - drawn == photos
    assert min(counts.values()) > 80
    for scene in made:
        for query in scene.queries:
            kind = drawn if scene.ground in drawn else photos
            assert {caption.scene for caption in query.captions} <= kind, "swaps do not betray the family"


def test_splits_keep_names_apart(shapes: Path) -> None:
    cutouts, grounds = read_cutouts(shapes), draw_grounds()
    for things in (cutouts, grounds):
        train, test = ({thing.name for thing in split(things, part, 0.3)} for part in ("train", "test"))
        assert train and test and not train & test and train | test == {thing.name for thing in things}
    assert abs(len(split(grounds, "test")) / len(grounds) - 0.2) < 0.05
    assert set(split(grounds[::2], "test")) <= set(split(grounds, "test")), "whatever else there is"


def test_what_cannot_be_used_is_named(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_cutouts(tmp_path / "none")
    with pytest.raises(InputError, match=r"no pictures with captions: give files such as name\.png"):
        read_cutouts(tmp_path)
    for name, words in {
        "opaque": "a card",
        "broken": "a vase",
        "long": "a story of nine words is no name here",
    }.items():
        Image.new("RGB", (40, 40), "red").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(words)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="3 of 3 cut-outs cannot be used"):
        read_cutouts(tmp_path)
    for path in shapes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.warns(
        UserWarning, match=r"3 of 15 cut-outs .*broken.*long.*more than 8 words.*no transparency"
    ):
        cutouts = read_cutouts(tmp_path)
    assert {cutout.name for cutout in cutouts} == set(SHAPES)
    with pytest.raises(InputError, match="4 different names, and scenes need at least 8"):
        Scenes(cutouts[:4], draw_grounds())
    with pytest.raises(InputError, match="2 different captions, and scenes need at least 4"):
        Scenes(cutouts, draw_grounds()[:2])
    with pytest.raises(InputError, match="at least three objects"):
        Scenes(cutouts, draw_grounds(), objects=(2, 2))
