"""Words are found letter for letter in captions and names, through the search that everyone uses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.retrieval.conftest import Fill, Painted
from virtue import Embedder, Library
from virtue.retrieval import Hit, Query, search
from virtue.store import Store
from virtue.tokens import tokenize

SAID = """
Greek coins from Pompeii
Invoice 4711-Q for the roof
Invoice 4712-Q for the windows
Invoice 4711-R for the door
東京タワーの夜景
京都の金閣寺
東の海
Anna in der Hauptstraße
Anna on the beach with the dog
The dog on the beach
A dog
A dog in the snow
A cat in the snow
Q
7
No 7
Grandma's birthday, 2019
Grandma's birthday, 2020
Grandpa's birthday, 2019
Übung macht den Meister
Café de Flore à Paris
Le petit déjeuner
Der Hund im Schnee
Москва зимой
Αθήνα, Ακρόπολη
서울에서 본 한강
เรือในแม่น้ำเจ้าพระยา
حديقة في دمشق
NOT a drill
Fish AND chips
near the old mill
C++ in 21 days
50% off
the
of the
A
what is it
Lake Titicaca at noon
Mount Kilimanjaro at dawn
Mount Fuji at dawn
Sunset at the lake
Sunrise at the lake
Two glasses of red wine
One glass of white wine
Red car, 1968
Blue car, 1968
Uncle Bob fixing the radio
Aunt Jane and Uncle Bob
Jane Bob Uncle
The Beatles on Abbey Road
The Rolling Stones
Zürich Hauptbahnhof
Bruxelles-Midi
Saint-Malo, marée basse
São Paulo
Łódź, Piotrkowska
Gare du Nord
Covid19 test
x-ray of my left knee
DSC 0042 is the best of the series
Oma's Küche
smörgåsbord
""".strip().splitlines()


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.path).name for hit in hits]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library of the bundled model: photos that all look much the same, each with a caption."""
    folder = tmp_path_factory.mktemp("told")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number, text in enumerate(SAID):
        picture = Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8))
        picture.save(folder / "photos" / f"{chr(97 + number // 26)}{chr(97 + number % 26)}x.png")
        (folder / "photos" / f"{chr(97 + number // 26)}{chr(97 + number % 26)}x.txt").write_text(
            text, "utf-8"
        )
    library = Library(folder / "library")
    library.index(folder / "photos", regions="none", ocr=False)
    return library


def test_every_caption_typed_word_for_word_finds_its_photo_first(told: Library) -> None:
    assert len(SAID) > 60
    for text in SAID:
        first, *_ = told.search(text, top=3)
        assert (first.caption, first.via[0], first.kind) == (text, "caption", "photo")
        assert first.score == pytest.approx(1, abs=2e-3)


def test_every_rare_word_of_a_caption_finds_its_photo_first(told: Library) -> None:
    counts = Counter(token for text in SAID for token in set(tokenize(text)))
    asked = 0
    for text in SAID:
        rare = [word for word in text.split() if any(counts[t] == 1 for t in tokenize(word))]
        for word in rare:
            if word.lower() in ("the", "of", "is", "a", "in"):
                continue
            first, *_ = told.search(word, top=1)
            assert first.caption == text, word
            asked += 1
    assert asked > 90


@pytest.mark.parametrize(
    ("typed", "caption"),
    [
        ("4711-Q", "Invoice 4711-Q for the roof"),
        ("4711 r", "Invoice 4711-R for the door"),
        ("東京", "東京タワーの夜景"),
        ("金閣寺", "京都の金閣寺"),
        ("pompeii", "Greek coins from Pompeii"),
        ("HAUPTSTRASSE", "Anna in der Hauptstraße"),
        ("cafe flore", "Café de Flore à Paris"),
        ("зимой", "Москва зимой"),
        ("ακροπολη", "Αθήνα, Ακρόπολη"),
        ("서울", "서울에서 본 한강"),
        ("แม่น้ำ", "เรือในแม่น้ำเจ้าพระยา"),
        ("دمشق", "حديقة في دمشق"),
        ("fish AND", "Fish AND chips"),
        ('"chips"', "Fish AND chips"),
        ("NOT a drill", "NOT a drill"),
        ("NEAR(mill, 3)", "near the old mill"),
        ("chip* OR chips", "Fish AND chips"),
        ("tokens:kilimanjaro", "Mount Kilimanjaro at dawn"),
        ("smorgasbord", "smörgåsbord"),
        ("0042", "DSC 0042 is the best of the series"),
        ("the photo of Uncle Bob and the radio", "Uncle Bob fixing the radio"),
    ],
)
def test_names_numbers_and_other_languages(told: Library, typed: str, caption: str) -> None:
    first, *_ = told.search(typed, top=5)
    assert (first.caption, first.via[0]) == (caption, "caption")


@pytest.mark.parametrize("typed", ["瓢虫", "🦄", "ဗုဒ္ဓ", "!!!"])
def test_words_that_the_model_does_not_know_are_not_alike(told: Library, typed: str) -> None:
    """To the model, texts of unknown words only are all the same."""
    for find in ("auto", "photos"):
        hits = told.search(typed, find=find)  # type: ignore[arg-type]
        assert hits
        assert {hit.via for hit in hits} == {("picture",)}
    assert all(typed in (hit.caption or "") for hit in told.search(typed, find="captions"))


def test_in_a_small_library_most_photos_may_have_the_words(tmp_path: Path) -> None:
    for place, name in enumerate(("IMG_07.jpg", "IMG_0712.jpg", "IMG_08.jpg")):
        Image.new("RGB", (64, 48), (80 * place, 90, 200 - 90 * place)).save(tmp_path / name)
    with Library(tmp_path / "library") as library:
        library.index(tmp_path, ocr=False)
        hits = library.search("IMG_07")
        assert [Path(hit.path).name for hit in hits[:2]] == ["IMG_07.jpg", "IMG_0712.jpg"]
        assert Path(library.search("IMG_08")[0].path).name == "IMG_08.jpg"


def test_an_unknown_word_is_found_where_it_stands(told: Library) -> None:
    for typed, caption in (("เรือ", "เรือในแม่น้ำเจ้าพระยา"), ("🎸", "🎸🎸 Anna")):
        if typed == "🎸":
            (photo,) = told.photos("caption = 'A cat in the snow'")
            told.annotate(photo.photo_id, captions=[caption])
        assert told.search(typed)[0].caption == caption


def test_common_words_do_not_flood(told: Library) -> None:
    """Words that say nothing, and words that are not most of the query, lead to no caption."""
    for query in ("what is the of it in my", "a photo of a zebra on the moon", "the xylophone"):
        found = [hit for hit in told.search(query, top=60) if hit.via[0] != "picture"]
        meant = [hit for hit in told.search(query, find="photos", top=60) if hit.via[0] != "picture"]
        said = {hit.caption for hit in meant} | {"the", "of the", "A", "what is it"}
        assert {hit.caption for hit in found} <= said, query


def test_a_query_that_no_caption_answers_ranks_as_pictures_do(demo_library: Path) -> None:
    queries = ("a bird", "food", "something to drink", "a bicycle", "an old building", "a person", "the moon")
    with Library(demo_library, read_only=True) as library:
        for query in queries:
            assert names(library.search(query)) == names(library.search(query, find="photos")), query


# -- names, filters and what is left out ------------------------------------------------------------------


def test_files_folders_and_tags_are_found_by_their_names(
    fill: Fill, embedder: Embedder, tmp_path: Path
) -> None:
    (tmp_path / "Zoo trip").mkdir()
    store = fill(
        *[Painted(name, "blue") for name in ("IMG_07.png", "IMG_0712.png", "IMG_08.png", "Zoo trip/p.png")],
        Painted(b"caf\xc3\xa9-\xff.png", "blue"),
        Painted("b.png", "blue", tags=("holiday", "Ærø")),
        *[Painted(f"{letter}.png", "blue") for letter in "cdef"],
    )
    for typed, found in (
        ("IMG_07", "IMG_07.png"),
        ("IMG_08.png", "IMG_08.png"),
        ("Zoo trip/p.jpg", "p.png"),
        ("img 0712", "IMG_0712.png"),
        ("zoo", "p.png"),
        ("ZOO TRIP", "p.png"),
        ("cafe", "caf\xe9-\udcff.png"),
        ("holiday", "b.png"),
        ("ærø", "b.png"),
    ):
        first, second, *_ = search(store, embedder, typed)
        assert (names([first]), first.via[0], first.kind) == ([found], "name", "photo"), typed
        assert first.box.corners == (0, 0, 80, 60)
        assert first.score > second.score
    assert names(search(store, embedder, "img 07"))[:2] == ["IMG_07.png", "IMG_0712.png"]
    for typed in ("png", tmp_path.name, "nothing like it"):
        assert {hit.via for hit in search(store, embedder, typed)} == {("picture",)}


def test_filters_hold_for_words_too(fill: Fill, embedder: Embedder) -> None:
    store = fill(
        *[Painted(f"{n}.png", "green", captions=["Pompeii"], tags=(f"album {n}",)) for n in "abc"],
        *[Painted(f"{n}.png", "green") for n in "defghij"],
    )
    assert names(search(store, embedder, "pompeii", where="path = b.png")) == ["b.png"]
    assert search(store, embedder, "pompeii", where="path = b.png")[0].via[0] == "caption"
    hits = search(store, embedder, "pompeii", where="not path = b.png", top=2)
    assert names(hits) == ["a.png", "c.png"]
    assert search(store, embedder, "album", where="tag = 'album c'")[0].via == ("name",)
    assert search(store, embedder, "pompeii", min_score=0.999)[0].score > 0.999
    assert search(store, embedder, "pompeii zebra", min_score=0.999) == []


def test_what_is_left_out_is_not_found_by_its_words(fill: Fill, embedder: Embedder) -> None:
    store = fill(
        Painted("a.png", "green", captions=["Anna and Bob"]),
        Painted("b.png", "green", captions=["Anna and Eve"]),
        *[Painted(f"{n}.png", "green") for n in "cdefghij"],
    )
    assert search(store, embedder, "anna", top=2)[1].via[0] == "caption"
    hits = search(store, embedder, Query.of("anna", without="bob"))
    assert names(hits)[0] == "b.png"
    assert not [hit for hit in hits if Path(hit.path).name == "a.png" and "caption" in hit.via]


def test_a_photo_found_by_several_things_lists_them(fill: Fill, embedder: Embedder) -> None:
    photo = Painted("red.png", "white", [("red", (0, 0, 9, 9))], ["red"])
    store = fill(photo, *[Painted(f"{n}.png", "blue", captions=["a sea"]) for n in "abcdefgh"])
    first, *_ = search(store, embedder, "red")
    assert set(first.via) == {"picture", "caption", "name"}
    assert first.via[0] == "caption"
    assert first.as_json()["via"] == list(first.via)


@pytest.mark.parametrize("find", ["regions", "photos", "captions"])
def test_other_things_are_found_by_meaning_alone(fill: Fill, embedder: Embedder, find: str) -> None:
    store = fill(
        Painted("pompeii.png", captions=["Pompeii in the morning"]), Painted("b.png"), Painted("c.png")
    )
    assert all("name" not in hit.via for hit in search(store, embedder, "pompeii", find=find))  # type: ignore[arg-type]


def test_a_long_text_and_one_without_words_are_searched(store: Store, embedder: Embedder) -> None:
    for typed in ("dog " * 3000, " ".join(f"w{n}" for n in range(2000)), "!?", "犬" * 500):
        assert len(search(store, embedder, typed)) == 2


@pytest.fixture
def store(fill: Fill) -> Store:
    return fill(Painted("a.png", captions=["a dog"]), Painted("b.png"))


def test_what_code_says_and_takes_back_is_found_and_lost_at_once(
    tmp_path: Path, example_photos: Path
) -> None:
    with Library(tmp_path / "library") as library:
        library.index(
            [example_photos / name for name in ("cat.jpg", "dog.jpg", "coins.jpg")], regions="none", ocr=False
        )
        cat = next(hit for hit in library.search("a cat") if Path(hit.path).name == "cat.jpg")
        library.annotate(cat.photo_id, captions=["Xanthippe"], tags=["Zwölf-77"])
        for typed, via in (("xanthippe", "caption"), ("77", "name"), ("zwolf", "name")):
            first, *_ = library.search(typed)
            assert (first.photo_id, first.via[0]) == (cat.photo_id, via)
        library.annotate(cat.photo_id, captions=[], tags=[])
        for typed in ("xanthippe", "77"):
            assert {hit.via for hit in library.search(typed)} == {("picture",)}
        assert library.verify() == []


def test_what_is_taken_from_another_library_is_found_by_its_words(told: Library, tmp_path: Path) -> None:
    told.export_parquet(tmp_path / "told.parquet")
    with Library(tmp_path / "imported") as imported, Library(tmp_path / "merged") as merged:
        imported.import_parquet(tmp_path / "told.parquet")
        merged.merge(told.folder)
        for library in (imported, merged):
            for typed, caption in (("4711-Q", "Invoice 4711-Q for the roof"), ("東京", "東京タワーの夜景")):
                first, *_ = library.search(typed, top=2)
                assert (first.caption, first.via[0]) == (caption, "caption")
            assert library.verify() == []
