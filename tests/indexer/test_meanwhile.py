"""What other processes do to a library in PostgreSQL while one indexes it: none undoes what another did."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.indexer.colours import ColourModel
from virtue.errors import InputError, StoreError
from virtue.indexer import Progress, index, reindex
from virtue.pictures import Picture
from virtue.store import open_store

PHOTOS = 40


class Interrupted(ColourModel):
    """A model that does something else in the middle of its work, once it has seen so many pictures."""

    def __init__(self, fingerprint: str, after: int, meanwhile: Callable[[], object]) -> None:
        super().__init__(fingerprint)
        self._after, self._meanwhile = after, [meanwhile]

    def scenes(self, pictures: Sequence[Picture]) -> list[Picture]:
        if self.pictures >= self._after and self._meanwhile:
            self._meanwhile.pop()()
        return super().scenes(pictures)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return made(tmp_path / "photos", PHOTOS)


def made(folder: Path, count: int) -> Path:
    """A folder of pictures that are all different."""
    folder.mkdir()
    rng = np.random.default_rng(count)
    for number in range(count):
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def index_elsewhere(database: str, folder: Path) -> None:
    with open_store(database) as store:
        assert index(store, ColourModel(), folder, workers=1).indexed == len([*folder.iterdir()])


def forget_elsewhere(database: str, path: Path) -> None:
    with open_store(database) as store, store.write("virtue forget") as writer:
        assert writer.forget([bytes(path)]) == 1


def names(database: str) -> tuple[set[str], set[str]]:
    """The names of the photos that are there, and of those that were forgotten."""
    with open_store(database) as store, store.read() as snapshot:
        assert store.verify() == []
        there = {path for path, state in snapshot.files().items() if not state.missing}
        gone = {photo.path for photo in snapshot.forgotten()}
    return tuple({os.path.basename(os.fsdecode(path)) for path in some} for some in (there, gone))


@pytest.mark.parametrize("with_captions", [False, True])
def test_what_is_forgotten_while_its_photo_is_embedded_stays_forgotten(
    database: str, photos: Path, tmp_path: Path, with_captions: bool
) -> None:
    last = photos / f"{PHOTOS - 1:02}.png"
    lines = tmp_path / "captions.jsonl"
    lines.write_text(
        "\n".join(json.dumps({"path": str(path), "caption": "all is red"}) for path in photos.iterdir())
    )
    with open_store(database, create=True) as store:
        index(store, ColourModel(), photos, workers=1)
        if with_captions:
            model = Interrupted("colours-1", 1, lambda: forget_elsewhere(database, last))
            index(store, model, photos, captions=lines, workers=1)
        else:  # nine photos are timed before
            model = Interrupted("colours-2", 10, lambda: forget_elsewhere(database, last))
            reindex(store, model, workers=1)
        there, gone = names(database)
        assert len(there) == PHOTOS - 1
        assert gone == {last.name}
        index(store, ColourModel(model.fingerprint), last, captions=lines, workers=1)
        assert names(database)[1] == set(), "it was named by itself"


def test_a_folder_that_is_forgotten_while_its_photos_are_embedded_does_not_come_back(
    database: str, photos: Path, tmp_path: Path
) -> None:
    def forget() -> None:
        with open_store(database) as store, store.write("virtue forget") as writer:
            assert writer.forget([bytes(photos)]) == PHOTOS

    with open_store(database, create=True) as store:
        index(store, ColourModel(), [photos, made(tmp_path / "kept", 12)], workers=1)
        reindex(store, Interrupted("colours-2", 10, forget), workers=1)
        with store.read() as snapshot:
            assert {os.path.dirname(path) for path in snapshot.files()} == {bytes(tmp_path / "kept")}
            assert [root.path for root in snapshot.roots()] == [bytes(tmp_path / "kept")]
            assert snapshot.counts().photos == 12


def test_photos_that_another_process_indexes_after_the_walk_are_not_taken_for_missing(
    database: str, photos: Path
) -> None:
    new: list[Path] = []

    def progress(progress: Progress) -> None:
        if progress.stage == "walking" and progress.done == PHOTOS and not new:
            new.append(made(photos / "new", 2))
            index_elsewhere(database, new[0])

    with open_store(database, create=True) as store:
        index(store, ColourModel(), photos, workers=1)
        report = index(store, ColourModel(), photos, workers=1, progress=progress)
        assert (len(new), report.missing) == (1, 0)
        with store.read() as snapshot:
            assert snapshot.missing() == []
        (photos / "00.png").unlink()
        assert index(store, ColourModel(), photos, workers=1).missing == 1


def test_a_reindex_loses_no_photos_that_another_process_indexes_meanwhile(
    database: str, photos: Path
) -> None:
    def meanwhile() -> None:
        index_elsewhere(database, made(photos / "new", 3))

    with open_store(database, create=True) as store:
        index(store, ColourModel(), photos, workers=1)
        with pytest.raises(InputError, match=r"3 photos came, moved or went while .*reindex again"):
            reindex(store, Interrupted("colours-2", 10, meanwhile), workers=1)
        with store.read() as snapshot:
            assert snapshot.counts().photos == PHOTOS + 3
        assert reindex(store, ColourModel("colours-2"), workers=1).reembedded == 3
        with store.read() as snapshot:
            assert snapshot.embedded_photos() == PHOTOS + 3


def test_of_two_reindexes_to_other_models_the_slower_says_so_and_nothing_is_lost(
    database: str, photos: Path
) -> None:
    def meanwhile() -> None:
        with open_store(database) as store:
            reindex(store, ColourModel("colours-3"), workers=1)

    with open_store(database, create=True) as store:
        index(store, ColourModel(), photos, workers=1)
        with pytest.raises(StoreError, match=r"has given the library .* another model: start again"):
            reindex(store, Interrupted("colours-2", 10, meanwhile), workers=1)
        with store.write("test") as slow, store.write("test") as quick:
            late = slow.generation("colours", "colours-4", ColourModel.dim)
            quick.activate(quick.generation("colours", "colours-5", ColourModel.dim))
            with pytest.raises(StoreError, match=r"another model: start again"):
                slow.activate(late)
            with store.read() as snapshot:
                assert [each.fingerprint for each in snapshot.generations()] == ["colours-5"]
