import numpy as np
import pytest
from PIL import Image

from virtue.errors import InputError
from virtue.evaluation import rendered_words, written
from virtue.evaluation.front_door import read_labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.effect_noise((640, 480), 60).convert("RGB").save(folder / "noise.png")
    Image.new("RGB", (640, 480), "skyblue").save(folder / "sky.png")
    return folder


def test_pages_hold_456_words_of_all_kinds(folder):
    pages = list(rendered_words.pages(sorted(folder.iterdir()), []))
    assert sum(len(page.words) for page in pages) == 456
    assert {page.kind for page in pages} == set(rendered_words.KINDS)
    assert {page.picture.size for page in pages} == {(640, 480)}
    assert len({word.lower() for page in pages for word in page.words}) > 100
    again = next(rendered_words.pages(sorted(folder.iterdir()), []))
    np.testing.assert_array_equal(np.asarray(again.picture), np.asarray(pages[0].picture))


def test_each_word_leaves_its_mark_in_its_own_cell(folder):
    for page in rendered_words.pages(sorted(folder.iterdir()), [], count=6):
        if page.kind == "photo":
            continue
        pixels = np.asarray(page.picture.convert("L")).astype(int)
        inked = abs(pixels - pixels[0, 0]) > 60
        for row in range(4):
            for column in range(2):
                cell = inked[120 * row : 120 * row + 120, 320 * column : 320 * column + 320]
                assert cell.sum() > 50, (page.kind, row, column)
                assert not cell[:2].any() and not cell[:, :2].any()


def test_screens_are_full_of_words_in_light_and_dark():
    light, dark = rendered_words.screens([], count=2)
    assert len(light.words) == len(dark.words) > 200
    assert np.asarray(light.picture)[-1, -1].min() > 200 > 50 > np.asarray(dark.picture)[-1, -1].max()


def test_rendered_words_are_plain():
    words = read_labels("rendered_words")
    assert len(set(words)) == len(words) >= 100
    assert all(word.isascii() and word.islower() and word.isalpha() and len(word) >= 4 for word in words)


def test_what_is_written_is_labelled_once():
    labels = read_labels("written")
    assert len(labels["queries"]) >= 13
    assert all(query["words"].strip() for query in labels["queries"])
    read = {query["photo"] for query in labels["queries"]}
    assert len(read) == len(labels["queries"])
    assert not read & set(labels["without_text"])
    assert len(set(labels["without_text"])) == len(labels["without_text"]) >= 40


def test_photos_without_text_have_no_captions(folder, tmp_path, monkeypatch):
    labels = {"queries": [{"words": "a cloud", "photo": "sky.png"}], "without_text": ["noise.png", "sky.png"]}
    found = written.evaluate(folder, labels, each=True, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(written, "indexed", None)  # known: nothing is indexed again
        assert written.evaluate(folder, labels, each=True, cache=tmp_path).as_json() == found.as_json()
    assert found.figures["recall@5"].value == found.figures["recall@5"].queries == 1
    misread = found.figures["misread_without_text"]
    assert (misread.value, misread.queries) == (0, 2)
    assert found.facts["each"][0]["place"] in (1, 2)
    assert (found.facts["photos"], found.facts["misread"]) == (2, {})
    with pytest.raises(InputError, match=r"sea\.png"):
        written.evaluate(folder, {"queries": [], "without_text": ["sea.png"]})


def test_words_that_are_read_count_and_others_are_named(folder, tmp_path, monkeypatch):
    drawn = [*rendered_words.pages(sorted(folder.iterdir()), [], count=1)]
    hidden = rendered_words.Page("plain", Image.new("RGB", (640, 480), "white"), ["hidden"])
    monkeypatch.setattr(rendered_words, "pages", lambda *_: [*drawn, hidden])
    monkeypatch.setattr(rendered_words, "screens", lambda _: [])
    found = rendered_words.evaluate([], [], cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(rendered_words, "indexed", None)  # known: nothing is indexed again
        assert rendered_words.evaluate([], [], cache=tmp_path).as_json() == found.as_json()
    missed = found.facts["missed"]
    for figure in (found.figures["read"], found.figures["plain_read"]):
        assert (figure.queries, figure.value) == (9, pytest.approx(1 - len(missed) / 9))
    assert ["plain", "hidden"] in missed and len(missed) <= 1


def test_a_photo_is_found_by_what_is_written_in_it(folder, tmp_path):
    (page,) = rendered_words.pages(sorted(folder.iterdir()), [], count=1)
    for name in ("noise.png", "sky.png"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    page.picture.save(tmp_path / "letters.png")
    labels = {
        "queries": [{"words": word, "photo": "letters.png"} for word in page.words[:2]],
        "without_text": ["noise.png", "sky.png", "letters.png"],
    }
    kept = tmp_path / "kept"
    found = written.evaluate(tmp_path, labels, each=True, cache=kept)
    # The words that were read are not kept: they are read again.
    assert written.evaluate(tmp_path, labels, each=True, cache=kept).as_json() == found.as_json()
    assert (
        page.words[0].lower().encode() not in b"".join(file.read_bytes() for file in kept.iterdir()).lower()
    )
    assert found.figures["recall@1"].value == 1
    assert [row["place"] for row in found.facts["each"]] == [1, 1]
    assert set(found.facts["misread"]) == {"letters.png"}
    assert found.figures["misread_without_text"].value == pytest.approx(1 / 3)
    assert page.words[0].lower() in " ".join(found.facts["misread"]["letters.png"]).lower()
