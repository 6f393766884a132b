"""Searches on a small library of painted photos, with a model that sees colours and reads words."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.retrieval.conftest import COLOURS, ColourModel, Fill, Painted
from virtue import Box, Embedder
from virtue.embedder.model import Item
from virtue.errors import EmptyLibraryError, InputError, ModelMismatchError, PromptError
from virtue.retrieval import Hit, Query, search
from virtue.retrieval.calibration_queries import CalibrationQueries
from virtue.store import Store, open_store

MUG = Painted("mug.png", "white", [("red", (10, 10, 30, 30)), ("blue", (40, 10, 70, 50))], ["a mug of tea"])
SEA = Painted("sea.png", "blue", [("cyan", (0, 0, 80, 20))])
FIELD = Painted("field.png", "green", [("yellow", (0, 0, 20, 20)), ("red", (50, 30, 54, 34))])
PLAIN = Painted("plain.png", "red")


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.path).name for hit in hits]


@pytest.fixture
def store(fill: Fill) -> Store:
    return fill(MUG, SEA, FIELD, PLAIN)


# -- regions ----------------------------------------------------------------------------------------------


def test_a_text_finds_the_region_not_merely_the_photo(store: Store, embedder: Embedder) -> None:
    hits = search(store, embedder, "yellow", top=1)
    (hit,) = hits
    assert Path(hit.path).name == "field.png"
    assert (hit.rank, hit.kind, hit.via) == (1, "region", ("picture",))
    assert hit.box == hit.region_box == Box(0, 0, 20, 20)
    assert (hit.width, hit.height) == (80, 60)
    assert hit.score == pytest.approx(1, abs=2e-3)
    assert hit.score <= 1


def test_one_region_a_photo_and_the_whole_photo_only_where_it_is_alone(
    store: Store, embedder: Embedder
) -> None:
    hits = search(store, embedder, "red", find="regions", top=10)
    assert sorted(names(hits)[:3]) == ["field.png", "mug.png", "plain.png"]
    assert names(hits)[3:] == ["sea.png"]
    by_name = dict(zip(names(hits), hits, strict=True))
    assert by_name["plain.png"].box == Box(0, 0, 80, 60)
    assert by_name["sea.png"].box == Box(0, 0, 80, 20)
    assert by_name["mug.png"].box == Box(10, 10, 30, 30)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]


def test_all_regions_gives_each_of_them(store: Store, embedder: Embedder) -> None:
    hits = search(store, embedder, "red", top=10, all_regions=True)
    assert len({hit.region_id for hit in hits}) == 6
    assert names(hits).count("mug.png") == 2


def test_a_box_on_a_picture_finds_what_is_in_it(store: Store, embedder: Embedder) -> None:
    image = Painted("query", "green", [("cyan", (5, 5, 25, 25))]).image()
    (hit,) = search(store, embedder, {"image": image, "box": (5, 5, 25, 25)}, top=1)
    assert (Path(hit.path).name, hit.box) == ("sea.png", Box(0, 0, 80, 20))
    mask = np.zeros((60, 80), bool)
    mask[30:, 40:] = True
    assert names(search(store, embedder, {"image": image, "mask": mask}, find="photos", top=1)) == [
        "field.png"
    ]
    with pytest.raises(PromptError, match="leaves the picture"):
        search(store, embedder, {"image": image, "box": (5, 5, 250, 25)})


def test_a_picture_scores_by_the_best_of_the_sizes_it_is_asked_at(store: Store, embedder: Embedder) -> None:
    """Whole, the picture is mostly blue; its middle is yellow."""
    image = Painted("query", "blue", [("yellow", (20, 15, 60, 45))]).image()
    hits = search(store, embedder, image, all_regions=True, top=10)
    assert hits[0].box == Box(0, 0, 20, 20)
    assert hits[0].score == pytest.approx(1, abs=2e-3)


def test_the_caption_of_a_region_hit_is_its_own_or_its_photos(fill: Fill, embedder: Embedder) -> None:
    photo = Painted(
        "a.png", "white", [("red", (0, 0, 9, 9)), ("blue", (9, 9, 20, 20))], ["of the photo"], {2: "its own"}
    )
    store = fill(photo)
    assert [search(store, embedder, text, top=1)[0].caption for text in ("red", "blue")] == [
        "of the photo",
        "its own",
    ]


# -- photos -----------------------------------------------------------------------------------------------


def test_a_photo_scores_as_its_best_region_and_names_it(store: Store, embedder: Embedder) -> None:
    image = Image.new("RGB", (20, 20), "yellow")
    hits = search(store, embedder, image, find="photos", top=10)
    assert names(hits)[0] == "field.png"
    assert sorted(names(hits)) == ["field.png", "mug.png", "plain.png", "sea.png"]
    first = hits[0]
    assert (first.kind, first.via) == ("photo", ("picture",))
    assert first.box == Box(0, 0, 80, 60)
    assert first.region_box == Box(0, 0, 20, 20)
    (region,) = search(store, embedder, image, top=1)
    assert (first.region_id, first.score) == (region.region_id, region.score)


def test_a_caption_that_says_the_same_puts_its_photo_first(fill: Fill, embedder: Embedder) -> None:
    birthday = Painted("cake.png", "green", captions=["2019, a Tuesday", "Grandma's birthday"])
    store = fill(MUG, SEA, FIELD, PLAIN, birthday)
    hits = search(store, embedder, "Grandma's birthday", find="photos", top=3)
    first = hits[0]
    assert Path(first.path).name == "cake.png"
    assert (first.kind, first.caption, first.box) == ("photo", "Grandma's birthday", Box(0, 0, 80, 60))
    assert first.via in (("caption",), ("caption", "picture"))
    assert first.score == pytest.approx(1, abs=2e-3)
    assert len(hits) == 3
    assert {hit.via for hit in hits[1:]} == {("picture",)}


def test_a_photo_found_by_caption_alone_says_so(fill: Fill, embedder: Embedder) -> None:
    told = Painted("told.png", "green", captions=["red"])
    shown = [Painted(f"red{i}.png", "red") for i in range(4)]
    hits = search(fill(told, *shown), embedder, "red", find="photos", top=3)
    (found,) = [hit for hit in hits if Path(hit.path).name == "told.png"]
    assert (found.via, found.caption, found.region_id, found.region_box) == (
        ("caption",),
        "red",
        None,
        None,
    )


def test_of_several_captions_that_say_the_same_the_best_is_shown(fill: Fill, embedder: Embedder) -> None:
    store = fill(Painted("a.png", "green", captions=["red dog", "red", "red cat"]))
    (hit,) = search(store, embedder, "red", find="photos")
    assert hit.caption == "red"
    assert hit.score == pytest.approx(1, abs=2e-3)


def test_a_photo_found_both_ways_says_so(fill: Fill, embedder: Embedder) -> None:
    both = Painted("both.png", "white", [("red", (1, 2, 30, 40))], captions=["red"])
    hits = search(
        fill(both, *[Painted(f"{i}.png", "blue") for i in range(3)]), embedder, "red", find="photos", top=1
    )
    assert (hits[0].via, hits[0].region_box, hits[0].caption) == (
        ("caption", "picture"),
        Box(1, 2, 30, 40),
        "red",
    )


def test_a_caption_of_something_else_takes_no_part(fill: Fill, embedder: Embedder) -> None:
    """Below `text_match` likeness of words counts for nothing: one word of three in common."""
    vague = Painted("vague.png", "green", captions=["dog on grass"])
    shown = Painted("shown.png", "white", [("red", (0, 0, 20, 20))])
    hits = search(fill(vague, shown), embedder, "red dog", find="photos")
    assert names(hits)[0] == "shown.png"
    assert {hit.via for hit in hits} == {("picture",)}


def test_captions_take_no_part_when_a_picture_is_asked(fill: Fill, embedder: Embedder) -> None:
    told = Painted("told.png", "green", captions=["red"])
    image = Image.new("RGB", (9, 9), "red")
    hits = search(fill(told, PLAIN), embedder, {"image": image, "text": "red"}, find="photos")
    assert names(hits)[0] == "plain.png"
    assert {hit.via for hit in hits} == {("picture",)}


# -- auto -------------------------------------------------------------------------------------------------


def test_each_photo_is_judged_by_whatever_fits_best(fill: Fill, embedder: Embedder) -> None:
    region = Painted("region.png", "white", [("red", (1, 2, 30, 40)), ("blue", (40, 20, 60, 50))])
    told = Painted("told.png", "green", [("blue", (0, 0, 40, 40))], ["red"])
    spoken = Painted("spoken.png", "green", [("blue", (0, 0, 40, 40))], region_captions={1: "red"})
    store = fill(region, told, spoken, PLAIN, SEA)
    hits = {Path(hit.path).name: hit for hit in search(store, embedder, "red")}
    assert len(hits) == 5
    seen = {name: (hit.kind, hit.box, hit.region_box, hit.via) for name, hit in hits.items()}
    full = Box(0, 0, 80, 60)
    assert seen["region.png"] == ("region", Box(1, 2, 30, 40), Box(1, 2, 30, 40), ("picture",))
    assert seen["plain.png"] == ("photo", full, full, ("picture",))
    assert seen["told.png"] == ("photo", full, None, ("caption",))
    assert seen["spoken.png"] == ("region", Box(0, 0, 40, 40), Box(0, 0, 40, 40), ("caption",))
    assert [hits[name].score for name in hits if name != "sea.png"] == pytest.approx([1] * 4, abs=2e-3)


def test_the_full_image_counts_unless_something_is_marked(fill: Fill, embedder: Embedder) -> None:
    photo = Painted("a.png", "green", [("blue", (0, 0, 40, 40)), ("red", (50, 30, 60, 40))])
    store = fill(photo, Painted("b.png", "green", [("white", (0, 0, 4, 4))]))
    with store.read() as snapshot:
        full = snapshot.locate(None, 1)
        assert full is not None
    whole = photo.image()
    for query in ({"photo_id": 1}, whole, "green"):
        found = search(store, embedder, query)[0]
        assert (found.kind, found.box) == ("photo", Box(0, 0, 80, 60))
    for marked in ({"image": whole, "box": (0, 50, 10, 60)}, {"image": whole, "points": [(5, 55, 1)]}):
        assert {hit.kind for hit in search(store, embedder, marked)} == {"region"}
        assert search(store, embedder, marked) == search(store, embedder, marked, find="regions")
    region = search(store, embedder, "blue", find="regions", top=1)[0]
    assert {hit.kind for hit in search(store, embedder, region)} == {"region"}


def test_all_regions_are_regions(store: Store, embedder: Embedder) -> None:
    assert search(store, embedder, "red", all_regions=True) == search(
        store, embedder, "red", find="regions", all_regions=True
    )


# -- captions ---------------------------------------------------------------------------------------------


def test_captions_come_with_the_place_they_speak_of(fill: Fill, embedder: Embedder) -> None:
    photo = Painted("a.png", "white", [("red", (0, 0, 9, 9))], ["blue sky"], {1: "red"})
    hits = search(fill(photo, PLAIN), embedder, Image.new("RGB", (9, 9), "red"), find="captions")
    assert [(hit.kind, hit.caption, hit.via) for hit in hits] == [
        ("caption", "red", ("caption",)),
        ("caption", "blue sky", ("caption",)),
    ]
    assert hits[0].box == hits[0].region_box == Box(0, 0, 9, 9)
    assert hits[0].region_id is not None
    assert (hits[1].box, hits[1].region_box, hits[1].region_id) == (Box(0, 0, 80, 60), None, None)


def test_the_same_caption_twice_of_one_photo_counts_once(fill: Fill, embedder: Embedder) -> None:
    store = fill(Painted("a.png", captions=["red", "red"]), Painted("b.png", captions=["red"]))
    hits = search(store, embedder, "red", find="captions")
    assert sorted(names(hits)) == ["a.png", "b.png"]


# -- several parts ----------------------------------------------------------------------------------------


def test_texts_are_added_up(fill: Fill, embedder: Embedder) -> None:
    """Red and green light is yellow."""
    store = fill(*[Painted(f"{colour}.png", colour) for colour in COLOURS])
    (hit,) = search(store, embedder, ["red", "green"], top=1)
    assert Path(hit.path).name == "yellow.png"
    assert hit.score == pytest.approx(1, abs=2e-3)


def test_an_image_and_a_text_in_one_are_one_question(fill: Fill, embedder: Embedder) -> None:
    store = fill(*[Painted(f"{colour}.png", colour) for colour in COLOURS])
    image = Image.new("RGB", (9, 9), "red")
    (composed,) = search(store, embedder, {"image": image, "text": "blue green"}, top=1)
    assert Path(composed.path).name == "white.png"
    assert composed.score == pytest.approx(1, abs=2e-3)
    # Added up as two, the image weighs as much as the whole text, which this model would not do.
    (added,) = search(store, embedder, [image, "blue green"], top=1)
    assert Path(added.path).name == "white.png"
    assert added.score == pytest.approx((1 + 2**0.5) / 6**0.5, abs=2e-3)


def test_what_is_left_out_falls_behind(fill: Fill, embedder: Embedder) -> None:
    tea = Painted("tea.png", captions=["mug tea"])
    coffee = Painted("coffee.png", captions=["mug coffee"])
    store = fill(tea, coffee)
    for unwanted, first in (("tea", "coffee.png"), ("coffee", "tea.png")):
        hits = search(store, embedder, Query.of("mug", without=unwanted), find="captions")
        assert names(hits)[0] == first
        assert hits[0].score > hits[1].score + 0.2
    hits = search(store, embedder, Query.of("mug", without=["tea", "coffee", "milk"]), find="captions")
    assert hits[0].score == pytest.approx(hits[1].score)


def test_what_query_and_left_out_share_counts_half(fill: Fill, embedder: Embedder) -> None:
    """A pot and a mug, without tea and a mug: the mug still counts, by half of what the pot does."""
    store = fill(Painted("a.png", captions=["mug", "pot", "tea"]))
    expected = {"pot": (2 / 3) ** 0.5, "mug": (1 / 6) ** 0.5, "tea": -((1 / 6) ** 0.5)}
    for asked, unwanted in (
        ("pot mug", "tea mug"),
        ("pot mug", ["tea mug", "tea mug"]),
        (["pot mug", "pot mug"], "tea mug"),
    ):
        hits = search(store, embedder, Query.of(asked, without=unwanted), find="captions")
        assert {hit.caption: hit.score for hit in hits} == pytest.approx(expected, abs=2e-3)


def test_what_is_asked_at_fewer_sizes_joins_the_others_with_its_plainest(
    fill: Fill, embedder: Embedder
) -> None:
    sizes = {"two": ["red", "green"], "three": ["blue", "blue", "dog"]}

    class Sizes(ColourModel):
        def query(self, item: Item, picture: Any) -> np.ndarray:
            return self.embed([Item(text=text) for text in sizes[item.text or ""]])

    store = fill(Painted("a.png", captions=["red blue", "green blue", "red dog", "green dog"]))
    for asked in (["two", "three"], ["three", "two"]):
        hits = search(store, Embedder(Sizes()), asked, find="captions")
        expected = {"red blue": 1, "green blue": 1, "red dog": 1, "green dog": 0.5}
        assert {hit.caption: hit.score for hit in hits} == pytest.approx(expected, abs=2e-3)


def test_a_query_that_cancels_itself_out_is_said(store: Store, embedder: Embedder) -> None:
    red = ColourModel().embed([Item(text="red")])[0]

    class Opposite(ColourModel):
        def embed(self, items: Any) -> np.ndarray:
            return np.stack([-red if item.text == "not red" else red for item in items])

    with pytest.raises(InputError, match="cancel"):
        search(store, Embedder(Opposite()), ["red", "not red"])


def test_parts_weigh_what_is_said(fill: Fill, embedder: Embedder) -> None:
    store = fill(Painted("a.png", captions=["mug", "tea"]))
    parts = [{"text": "mug", "weight": 3}, {"text": "tea", "weight": 4}]
    hits = search(store, embedder, parts, find="captions")
    assert {hit.caption: hit.score for hit in hits} == pytest.approx({"mug": 0.6, "tea": 0.8}, abs=2e-3)
    (alone,) = search(store, embedder, {"text": "mug", "weight": 9}, find="captions", top=1)
    assert alone.score == pytest.approx(1, abs=2e-3)


def test_a_negative_weight_leaves_out(fill: Fill, embedder: Embedder) -> None:
    store = fill(Painted("a.png", captions=["mug tea", "mug milk"]))
    for weight in (0.25, 1.0, 2.0):
        unwanted = {"text": "tea", "weight": weight}
        negative = {"text": "tea", "weight": -weight}
        one = search(store, embedder, Query.of("mug", without=unwanted), find="captions")
        other = search(store, embedder, ["mug", negative], find="captions")
        assert one == other
        # mug - weight / 2 tea, against (mug + tea) / sqrt 2
        expected = (1 - weight / 2) / (1 + weight**2 / 4) ** 0.5 / 2**0.5
        assert {h.caption: h.score for h in one}["mug tea"] == pytest.approx(expected, abs=2e-3)


# -- more like these, less like those ---------------------------------------------------------------------


def test_a_hit_finds_its_like_and_not_itself(store: Store, embedder: Embedder) -> None:
    hits = search(store, embedder, "red", top=3)
    mug = next(hit for hit in hits if Path(hit.path).name == "mug.png")
    for asked in (mug, {"region_id": mug.region_id}):
        more = search(store, embedder, asked, top=10)
        assert sorted(names(more)) == ["field.png", "plain.png", "sea.png"]
        assert names(more)[2] == "sea.png"
        assert more[0].score == pytest.approx(1, abs=2e-3)
        every = search(store, embedder, asked, top=10, all_regions=True)
        assert "mug.png" not in names(every)


def test_the_file_of_a_hit_may_be_gone(store: Store, embedder: Embedder) -> None:
    (hit,) = search(store, embedder, "red", top=1)
    Path(hit.path).unlink()
    with store.write("test") as writer:
        writer.commit(missing=[hit.raw_path])
    assert search(store, embedder, hit, top=1)[0].score == pytest.approx(1, abs=2e-3)


def test_a_photo_is_asked_with_as_a_whole(fill: Fill, embedder: Embedder) -> None:
    """Mostly green, though it was found by its red corner."""
    corner = Painted("corner.png", "green", [("red", (0, 0, 9, 9))])
    store = fill(corner, Painted("green.png", "green"), PLAIN)
    (hit,) = search(store, embedder, "red", find="photos", top=5)[:1]
    assert search(store, embedder, hit, find="photos", top=1)[0].raw_path != hit.raw_path
    photo = next(h for h in search(store, embedder, "red", find="photos") if "corner" in h.path)
    assert names(search(store, embedder, photo, find="photos")) == ["green.png", "plain.png"]
    region = {"region_id": photo.region_id}
    assert names(search(store, embedder, region, find="photos")) == ["plain.png", "green.png"]


def test_a_caption_is_asked_with_as_a_text(fill: Fill, embedder: Embedder) -> None:
    store = fill(Painted("a.png", captions=["mug tea"]), Painted("b.png", captions=["mug"]))
    hit = search(store, embedder, "tea", find="captions", top=1)[0]
    assert search(store, embedder, hit, find="captions") == search(
        store, embedder, "mug tea", find="captions"
    )


def test_less_like_those(fill: Fill, embedder: Embedder) -> None:
    store = fill(*[Painted(f"{colour}.png", colour) for colour in COLOURS])
    first, *_ = search(store, embedder, "red")
    blue, *_ = search(store, embedder, "blue")
    both = search(store, embedder, [first, blue], top=10)
    assert not {"red.png", "blue.png"} & set(names(both))
    less = search(store, embedder, "white", top=10)
    without = search(store, embedder, Query.of("white", without=[blue, first]), top=10)
    assert names(less)[0] == "white.png"
    assert names(without)[:2] == ["white.png", "green.png"]
    assert not {"red.png", "blue.png"} & set(names(without))


def test_hits_beside_words_together_weigh_three_quarters(fill: Fill, embedder: Embedder) -> None:
    store = fill(*[Painted(f"{c}{n}.png", c) for c in ("red", "blue") for n in range(3)], MUG)
    reds = [hit for hit in search(store, embedder, "red", top=10) if "red" in hit.path][:2]
    for like in (reds, [*reds, {"region_id": reds[0].region_id, "weight": 5}]):
        hits = search(store, embedder, ["blue", *like], top=10)
        scores = {Path(hit.path).name[:-5]: hit.score for hit in hits}
        assert scores["red"] == pytest.approx(0.75 / (1 + 0.75**2) ** 0.5, abs=2e-3)
        assert scores["blue"] == pytest.approx(1 / (1 + 0.75**2) ** 0.5, abs=2e-3)


@pytest.mark.parametrize("asked", [{"region_id": 99}, {"photo_id": 99}])
def test_what_the_library_does_not_have_is_said(store: Store, embedder: Embedder, asked: Any) -> None:
    with pytest.raises(
        InputError, match=r"this library has no (region|photo) 99: take the (region|photo)_id of a hit"
    ):
        search(store, embedder, asked)
    with pytest.raises(InputError, match="has no"):
        search(store, embedder, Query.of("red", without=asked))


# -- order and number -------------------------------------------------------------------------------------


@pytest.mark.parametrize("find", ["auto", "regions", "photos", "captions"])
def test_any_page_is_a_part_of_the_same_ranking(zoo: Store, embedder: Embedder, find: Any) -> None:
    for query in ("red", "tea", "blue mug", Image.new("RGB", (9, 9), "red")):
        hits = search(zoo, embedder, query, find=find, top=100)
        for offset, top in ((0, 1), (0, 3), (1, 1), (2, 7), (9, 5), (11, 100), (1000, 3)):
            assert search(zoo, embedder, query, find=find, top=top, offset=offset) == hits[offset:][:top]
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


def test_the_region_that_is_shown_changes_neither_score_nor_rank(fill: Fill, embedder: Embedder) -> None:
    """Of the first photo a larger region is shown, which scores less than the best of the second."""
    both = [("red", (0, 0, 8, 8)), ("red", (20, 0, 80, 60))]
    mixed = Painted("mixed.png", "blue", [*both, ("yellow", (20, 0, 80, 20))])
    small = Painted("small.png", "blue", [("red", (30, 30, 40, 40)), ("yellow", (30, 30, 40, 33))])
    store = fill(mixed, small)
    every = search(store, embedder, "red", all_regions=True)
    for find in ("auto", "regions"):
        first, second = search(store, embedder, "red", find=find)  # type: ignore[arg-type]
        assert names([first, second]) == ["mixed.png", "small.png"]
        assert (first.box, first.region_id) == (Box(20, 0, 80, 60), 3)
        assert next(hit.score for hit in every if hit.region_id == 3) < second.score < first.score
        assert [first.score, second.score] == [hit.score for hit in every][:2]


@pytest.mark.parametrize("find", ["regions", "photos", "captions"])
@pytest.mark.parametrize("top", [1, 7, 30, 31, 1000])
def test_as_many_hits_as_asked_for_if_the_library_has_them(
    fill: Fill, embedder: Embedder, find: Any, top: int
) -> None:
    """One photo has so many regions that look alike that a first scan finds no other."""
    many = Painted("many.png", "white", [("red", (i, 0, i + 5, 5)) for i in range(60)], ["red"] * 60)
    store = fill(many, *[Painted(f"{i}.png", list(COLOURS)[i % 6], captions=[f"{i}"]) for i in range(30)])
    hits = search(store, embedder, "red", find=find, top=top)
    assert len(hits) == min(top, 31)
    assert len(set(names(hits))) == len(hits)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.lists(st.sampled_from([*COLOURS, "dog", "tea", "mug"]), min_size=1, max_size=3).map(" ".join),
    find=st.sampled_from(["regions", "photos", "captions"]),
    top=st.integers(1, 12),
    floor=st.none() | st.floats(-1, 1),
    every=st.booleans(),
)
def test_scores_never_rise_and_more_hits_only_add(
    zoo: Store, embedder: Embedder, query: str, find: Any, top: int, floor: float | None, every: bool
) -> None:
    hits = search(zoo, embedder, query, find=find, top=top, all_regions=every, min_score=floor)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.001 <= score <= 1 for score in scores)
    if floor is not None:
        assert all(score >= floor for score in scores)
    all_hits = search(zoo, embedder, query, find=find, top=1000, all_regions=every)
    kept = [hit.score for hit in all_hits if floor is None or hit.score >= floor]
    assert scores == pytest.approx(kept[:top], abs=1e-6)


@pytest.fixture
def zoo(fill: Fill) -> Store:
    rng = np.random.default_rng(5)
    words = [*COLOURS, "dog", "tea", "mug", "sea"]
    photos = []
    for place in range(20):
        corners = rng.integers(0, 40, (rng.integers(0, 6), 2))
        boxes = [
            (str(rng.choice(list(COLOURS))), (int(x), int(y), int(x) + 15, int(y) + 15)) for x, y in corners
        ]
        captions = [" ".join(rng.choice(words, 2)) for _ in range(rng.integers(0, 3))]
        photos.append(Painted(f"{place}.png", str(rng.choice(list(COLOURS))), boxes, captions))
    return fill(*photos)


def test_min_score_may_leave_nothing(store: Store, embedder: Embedder) -> None:
    assert search(store, embedder, "dog", min_score=0.5) == []


# -- what scores mean -------------------------------------------------------------------------------------


def measured(store: Store, embedder: Embedder) -> Store:
    with store.write("test") as writer:
        writer.refresh_calibration(CalibrationQueries(embedder))
    return store


def test_without_a_distribution_there_is_no_percentile(store: Store, embedder: Embedder) -> None:
    assert {hit.percentile for hit in search(store, embedder, "red")} == {None}
    with pytest.raises(InputError, match=r"needs to know how the pictures .* score") as caught:
        search(store, embedder, "red", min_score="auto")
    assert caught.value.hint == "virtue index"


@pytest.mark.parametrize("find", ["regions", "photos", "captions"])
@pytest.mark.parametrize("query", ["red tea", Image.new("RGB", (20, 20), "red")])
def test_percentiles_fall_with_scores_and_come_from_the_kind_of_query(
    zoo: Store, embedder: Embedder, find: Any, query: Any
) -> None:
    hits = search(measured(zoo, embedder), embedder, query, find=find, top=30)
    for via in (("picture",), ("caption",)):
        alike = [hit for hit in hits if hit.via == via]
        percentiles = [hit.percentile for hit in alike]
        assert percentiles == sorted(percentiles, reverse=True)
    asked = "text" if isinstance(query, str) else "image"
    vectors = 1 if asked == "text" or find == "captions" else 2
    with zoo.read() as snapshot:
        for hit in hits:
            looked_for = "captions" if hit.via[0] == "caption" else find
            usual = snapshot.score_distribution(looked_for, asked)
            assert usual is not None
            expected = 100 * usual.share_below(hit.score, 2 if asked == "image" else 1)
            assert hit.percentile == pytest.approx(expected, abs=1e-4), vectors


def test_a_photo_found_both_ways_has_the_percentile_of_what_scored(fill: Fill, embedder: Embedder) -> None:
    both = Painted("both.png", "white", [("red", (1, 2, 30, 40))], captions=["red dog"])
    store = measured(fill(both, PLAIN, SEA, FIELD), embedder)
    hits = search(store, embedder, "red", find="photos", top=3)
    (found,) = [hit for hit in hits if hit.via == ("picture", "caption")]
    with store.read() as snapshot:
        usual = snapshot.score_distribution("photos", "text")
    assert usual is not None
    assert found.score == pytest.approx(1, abs=2e-3)  # by the picture: the caption has 0.7
    assert found.percentile == pytest.approx(100 * usual.share_below(found.score), abs=1e-4)


def test_auto_keeps_the_hits_that_fit(fill: Fill, embedder: Embedder) -> None:
    reds = [Painted(f"red{i}.png", "red") for i in range(3)]
    others = [Painted(f"{i}.png", ["blue", "green", "cyan"][i % 3]) for i in range(30)]
    store = measured(fill(*reds, *others), embedder)
    for find in ("regions", "photos"):
        hits = search(store, embedder, "red", find=find, min_score="auto")
        assert sorted(names(hits)) == ["red0.png", "red1.png", "red2.png"]
        assert len(search(store, embedder, "red", find=find, min_score="auto", top=2)) == 2


def test_auto_keeps_captions_that_match_beside_pictures_that_fit(fill: Fill, embedder: Embedder) -> None:
    told = Painted("told.png", "green", captions=["yellow dog"])
    shown = Painted("shown.png", "yellow")
    others = [Painted(f"{i}.png", "blue") for i in range(30)]
    store = measured(fill(told, shown, *others), embedder)
    hits = search(store, embedder, "yellow", find="photos", min_score="auto")
    assert names(hits) == ["shown.png", "told.png"]
    assert [hit.via[0] for hit in hits] == ["picture", "caption"]


def test_auto_leaves_none_that_a_number_would_not(zoo: Store, embedder: Embedder) -> None:
    measured(zoo, embedder)
    for query in ("red", "tea", "blue mug", "sea dog"):
        for find in ("regions", "photos", "captions"):
            everything = search(zoo, embedder, query, find=find, top=100)
            left = search(zoo, embedder, query, find=find, top=100, min_score="auto")
            assert [hit.photo_id for hit in left if hit.via[0] == "picture"] == [
                hit.photo_id for hit in everything if hit.via[0] == "picture"
            ][: sum(hit.via[0] == "picture" for hit in left)]


# -- what can be wrong ------------------------------------------------------------------------------------


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path, embedder: Embedder) -> None:
    with open_store(tmp_path / "empty", create=True) as store:
        with pytest.raises(EmptyLibraryError, match="nothing is indexed") as caught:
            search(store, embedder, "red")
        assert caught.value.hint == "virtue index FOLDER"
        with store.write("test") as writer:
            writer.generation(embedder.name, embedder.fingerprint, embedder.dim)
        with pytest.raises(EmptyLibraryError, match="nothing is indexed"):
            search(store, embedder, "red")


def test_a_library_without_captions_says_where_they_come_from(fill: Fill, embedder: Embedder) -> None:
    with pytest.raises(EmptyLibraryError, match=r"photo\.txt.*metadata.*file of captions") as caught:
        search(fill(SEA), embedder, "red", find="captions")
    assert caught.value.hint == "virtue index --captions FILE"


def test_a_library_of_another_model_says_what_helps(store: Store) -> None:
    newer, other = ColourModel(), ColourModel()
    newer.fingerprint = "colours-2"
    with pytest.raises(
        ModelMismatchError, match=r"another version of the model 'colours': reindex it"
    ) as caught:
        search(store, Embedder(newer), "red")
    assert caught.value.hint == "virtue reindex"
    other.fingerprint, other.name = "clip-1", "clip"
    with pytest.raises(ModelMismatchError, match=r"'colours', not of 'clip'") as caught:
        search(store, Embedder(other), "red")
    assert caught.value.hint == "virtue reindex --model clip"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"find": "cats"}, "auto, regions, photos, captions"),
        ({"top": 0}, "at least 1"),
        ({"offset": -1}, "offset must be at least 0, not -1"),
        ({"min_score": float("nan")}, "number"),
    ],
)
def test_options_are_checked(store: Store, embedder: Embedder, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        search(store, embedder, "red", **options)


def test_one_version_of_the_library_answers(fill: Fill, embedder: Embedder) -> None:
    """Photos are forgotten while searches run: each gives all that there was before or after."""
    store = fill(*[Painted(f"{i}.png", "red", [("red", (0, 0, 9, 9))]) for i in range(8)])
    folder = Path(search(store, embedder, "red", top=1)[0].path).parent
    counts: list[int] = []

    def forget() -> None:
        with open_store(store.folder) as other, other.write("test") as writer:
            for i in range(8):
                writer.forget([bytes(folder) + f"/{i}.png".encode()])

    thread = threading.Thread(target=forget)
    thread.start()
    while thread.is_alive():
        try:
            counts.append(len(search(store, embedder, "red", top=100, all_regions=True)))
        except EmptyLibraryError:
            counts.append(0)
    thread.join()
    assert counts == sorted(counts, reverse=True)
    with pytest.raises(EmptyLibraryError):
        search(store, embedder, "red")
