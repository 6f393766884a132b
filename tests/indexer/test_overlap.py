"""Decoding, embedding and committing go on beside one another, for a model that works in one thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.indexer.colours import ColourModel
from virtue.indexer import commit_queue, index, model_threads, workers
from virtue.pictures import Picture
from virtue.store import Store, Writer

BATCH, BATCHES = 6, 5
TIMEOUT = 60
"""Seconds after which what is waited for will not come any more."""


class Progress:
    """How many pictures were decoded, batches embedded and commits begun; whoever waits is told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.decoded = self.batches = self.commits = 0

    def add(self, what: str) -> int:
        with self._changed:
            setattr(self, what, getattr(self, what) + 1)
            self._changed.notify_all()
            return int(getattr(self, what))

    def reaches(self, what: str, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: getattr(self, what) >= count, TIMEOUT)


def test_a_batch_is_embedded_while_the_next_is_decoded_and_the_last_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits inside its work until the two others are at theirs: in turn, that would never happen."""
    photos, progress = tmp_path / "photos", Progress()
    photos.mkdir()
    for number in range(BATCH * BATCHES):
        Image.new("RGB", (80, 60), (number, 0, 0)).save(photos / f"{number:03}.png")
    monkeypatch.setattr(model_threads, "MAX_BATCH", BATCH)
    monkeypatch.setattr(commit_queue, "MAX_PHOTOS", BATCH)
    monkeypatch.setattr(commit_queue, "MAX_SECONDS", 1e9)
    monkeypatch.setattr(workers, "TICK", 1e6)  # or a slow machine makes smaller batches
    take, commit = workers._Room.take, Writer.commit

    def take_noted(room: workers._Room, pixels: int) -> None:
        take(room, pixels)
        progress.add("decoded")

    def commit_beside(writer: Writer, embedded: Sequence[object], *rest: object) -> None:
        if embedded:
            number = progress.add("commits")
            if number < BATCHES:
                assert progress.reaches("batches", number + 1), "no batch is embedded beside a commit"
        commit(writer, embedded, *rest)

    class Waiting(ColourModel):
        def scenes(self, pictures: Sequence[Picture]) -> list[Picture]:
            number = progress.add("batches")
            assert len(pictures) == BATCH
            assert progress.reaches("decoded", BATCH * min(number + 1, BATCHES)), "nothing is decoded beside"
            assert progress.reaches("commits", number - 1), "nothing is committed beside"
            return super().scenes(pictures)

    monkeypatch.setattr(workers._Room, "take", take_noted)
    monkeypatch.setattr(Writer, "commit", commit_beside)
    with Store.open(tmp_path / "library", create=True) as store:
        report = index(store, Waiting(), photos, workers=1)
        assert (report.indexed, report.problems) == (BATCH * BATCHES, [])
        assert (progress.batches, progress.commits) == (BATCHES, BATCHES)
        assert store.verify() == []


def test_what_waits_is_bounded_by_count_and_by_pixels() -> None:
    room = workers._Room(2, 4, 100)
    for pixels in (60, 60, 60):
        assert not takes(room, pixels) or room._waiting <= 2
    assert (room._waiting, room._waiting_pixels) == (2, 120)
    room.give_back(60)
    room.give_back(60)
    small = workers._Room(2, 4, 100)
    assert [takes(small, 10) for _ in range(5)] == [True, True, True, True, False]
    small.open()
    assert takes(small, 10)


def takes(room: workers._Room, pixels: int) -> bool:
    """Whether there is room for so many pixels now."""
    if not room._has_room():
        return False
    room.take(pixels)
    return True
