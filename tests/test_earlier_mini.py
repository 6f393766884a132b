"""A library of an earlier version of the bundled model: searched by the new one, and brought over to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, Run
from virtue import Library
from virtue.errors import ModelMismatchError
from virtue.store.records import Photo

BEFORE = ROOT / "tests" / "data" / "before" / "library"
NOTICE = (
    "a library of an earlier version of the model mini is searched without colours and boxes that fit things "
    "until it is reindexed: virtue reindex"
)


@pytest.fixture
def old(tmp_path: Path, example_photos: Path) -> Path:
    """The library of before, with its photos where they are on this machine."""
    folder = Path(shutil.copytree(BEFORE, tmp_path / "old"))
    photos = tmp_path / "photos"
    with Library(folder) as library:
        for photo in library.photos():
            photos.mkdir(exist_ok=True)
            name = Path(photo.paths[0]).stem
            for file in (f"{name}.jpg", f"{name}.txt"):
                shutil.copyfile(example_photos / file, photos / file)
        library.move("/photos", photos)
    return folder


def lines(done: Any) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_is_searched_by_words_pictures_and_boxes_and_says_what_is_missing(
    virtue: Run, old: Path, example_photos: Path
) -> None:
    cat = example_photos / "cat.jpg"
    for query in (["a cat"], [cat], [f"{cat}@100,50,150,150"], ["a cat", "--find", "captions"]):
        done = virtue("search", *query, "--json", "-d", old)
        assert Path(lines(done)[0]["path"]).name == "cat.jpg", query
        assert done.stderr.decode().splitlines() == [f"virtue: warning: {NOTICE}"]
    assert virtue("search", "a red cat", "--json", "-d", old).returncode == 0


def test_a_program_is_warned_once(old: Path) -> None:
    with Library(old) as library:
        with pytest.warns(UserWarning) as caught:
            one = library.search("a cat")
            assert library.search_many(["a cat", "a dog"])[0] == one
        assert [str(each.message) for each in caught] == [NOTICE]


def test_nothing_is_added_to_it_and_searching_goes_on(virtue: Run, old: Path) -> None:
    photos = old.parent / "photos"
    done = virtue("index", photos, "-d", old)
    assert done.returncode == 2
    assert "vectors of another version of the model 'mini'" in done.stderr.decode()
    assert "virtue reindex" in done.stderr.decode()
    with Library(old) as library:
        with pytest.raises(ModelMismatchError, match="another version of the model 'mini'") as caught:
            library.index(photos)
        assert caught.value.hint == "virtue reindex"
        with pytest.warns(UserWarning, match="earlier version"):
            assert library.search("a cat")


def test_reindex_brings_it_over_with_what_its_user_gave(virtue: Run, old: Path) -> None:
    def known(photos: list[Photo]) -> dict[int, Any]:
        given = {
            photo.photo_id: [
                (region.box, region.category, region.captions, region.mask) for region in photo.regions
            ]
            for photo in photos
        }
        assert sum(map(len, given.values())) == 3
        return {photo.photo_id: (photo.paths, photo.captions, given[photo.photo_id]) for photo in photos}

    with Library(old) as library:
        before = known(library.photos())
    done = virtue("reindex", "--json", "-d", old)
    assert done.returncode == 0, done.stderr.decode()
    with Library(old) as library:
        assert known(library.photos()) == before
        for _, captions, regions in before.values():
            for caption in [*captions, *(caption for region in regions for caption in region[2])]:
                (hit, *_) = library.search(caption, find="captions")
                assert (hit.caption, hit.score) == (caption, pytest.approx(1, abs=1e-3))
        for block in library.vectors("regions"):
            parts = np.split(block.vectors.astype(np.float32), [384, 768], axis=1)
            assert parts[2].shape[1] == 16
            for part, length in zip(parts, (2 / 3, 2 / 3, 1 / 3), strict=True):
                np.testing.assert_allclose(np.linalg.norm(part, axis=1), length, atol=1e-3)
        assert library.verify() == []
    done = virtue("search", "an orange suit", "--json", "-d", old)
    assert Path(lines(done)[0]["path"]).name == "astronaut.jpg"
    assert done.stderr == b""
    assert virtue("index", "-d", old).returncode == 0
