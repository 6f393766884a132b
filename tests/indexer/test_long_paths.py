"""Paths that are longer than an index of PostgreSQL holds: a folder library takes them, a database tells of
them, and has all else."""

from __future__ import annotations

import json
import os
import random
import string
from pathlib import Path

import pytest
from PIL import Image

from tests.indexer.colours import ColourModel
from virtue import Library
from virtue.errors import InputError, StoreError
from virtue.indexer import Report, index, reindex
from virtue.store import open_store

LONGEST = 2600
CHOSEN = random.Random(7)  # what repeats itself would be compressed, and fit


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo, one at a path of 2,600 bytes, and one at a longer path."""
    top = tmp_path / "photos"
    top.mkdir()
    Image.new("RGB", (80, 60), (255, 0, 0)).save(top / "short.png")
    place = top
    while (left := LONGEST - len(bytes(place / ".png"))) > 250:
        place /= random_name(min(250, left - 2))
    place.mkdir(parents=True)
    Image.new("RGB", (80, 60), (0, 255, 0)).save(place / (random_name(left) + ".png"))
    place = place / random_name(250) / random_name(250)
    place.mkdir(parents=True)
    Image.new("RGB", (80, 60), (0, 0, 255)).save(place / "long.png")
    (place / "drawing.psd").touch()
    (place / "folder.jpg").mkdir()
    line = {"path": "short.png", "caption": "all is red"}
    (top / "captions.jsonl").write_text(json.dumps(line))
    return top


def random_name(length: int) -> str:
    return "".join(CHOSEN.choices(string.ascii_letters, k=length))


def index_all(place: Path | str, photos: Path, captions: Path | None = None) -> Report:
    with open_store(place, create=True) as store:
        return index(store, ColourModel(), photos, captions=captions, workers=1)


def lengths_of(place: Path | str) -> list[int]:
    """How long the paths of the photos are that a library has."""
    with open_store(place) as store, store.read() as snapshot:
        (generation,) = snapshot.generations()
        return sorted(len(path) for path, state in snapshot.files(generation).items() if state.hash)


def test_it_costs_that_photo_alone_and_is_told_each_time(database: str, photos: Path) -> None:
    for report in (
        index_all(database, photos),
        index_all(database, photos, photos / "captions.jsonl"),
    ):
        names = [os.path.basename(path) for path, _ in report.problems]
        assert sorted(names) == [b"folder.jpg", b"long.png"]
        assert {reason for _, reason in report.problems} == {
            "its path is longer than this library takes (2,600 bytes): give folders shorter names"
        }
    assert lengths_of(database) == [len(bytes(photos / "short.png")), LONGEST]
    with open_store(database) as store:
        assert reindex(store, ColourModel("colours-2"), workers=1).reembedded == 2


def test_a_folder_library_takes_it_and_a_merge_leaves_it_out(
    database: str, tmp_path: Path, photos: Path
) -> None:
    library = tmp_path / "library"
    assert index_all(library, photos).indexed == 3
    with Library(database) as target:
        summary = target.merge(library)
    assert (summary.photos, summary.left_out) == (2, 1)
    assert lengths_of(database) == [len(bytes(photos / "short.png")), LONGEST]


def test_a_folder_whose_own_path_is_too_long_is_refused_in_a_sentence(database: str, photos: Path) -> None:
    (long,) = photos.rglob("long.png")
    with pytest.raises(StoreError, match="takes no path longer than 2,600 bytes: give folders"):
        index_all(database, long.parent)
    assert index_all(database, photos).indexed == 2


def test_moved_to_a_path_that_is_too_long_is_refused_and_changes_nothing(
    database: str, photos: Path, tmp_path: Path
) -> None:
    index_all(database, photos)
    before = lengths_of(database)
    longer = photos.rename(tmp_path / "photographs")  # which would be compressed, and fit
    with Library(database) as library, pytest.raises(InputError, match="path longer than 2,600 bytes"):
        library.move(photos, longer)
    assert lengths_of(database) == before
