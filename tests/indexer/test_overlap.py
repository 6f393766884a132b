"""Decoding, embedding and committing go on beside one another, for a model that works in one thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.indexer.colours import ColourModel
from virtue.indexer import commit_queue, index, model_threads, workers
from virtue.pictures import Picture
from virtue.store import Writer, open_store

BATCH, PHOTOS = 6, 30
TIMEOUT = 60
"""Seconds after which what is waited for will not come any more."""


class Progress:
    """How many photos were decoded, given to the model, and committed; whoever waits is told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._counts: Counter[str] = Counter()

    def add(self, what: str, count: int = 1) -> int:
        with self._changed:
            self._counts[what] += count
            self._changed.notify_all()
            return self._counts[what]

    def reaches(self, what: str, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._counts[what] >= min(count, PHOTOS), TIMEOUT)


def test_a_batch_is_embedded_while_the_next_is_decoded_and_the_last_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits inside its work until the two others have come so far: in turn, they never would."""
    photos, progress = tmp_path / "photos", Progress()
    photos.mkdir()
    for number in range(PHOTOS):
        Image.new("RGB", (80, 60), (number, 0, 0)).save(photos / f"{number:03}.png")
    monkeypatch.setattr(model_threads, "MAX_BATCH", BATCH)
    monkeypatch.setattr(commit_queue, "MAX_PHOTOS", BATCH)
    monkeypatch.setattr(commit_queue, "MAX_SECONDS", 1e9)
    take, commit = workers._Room.take, Writer.commit

    def take_noted(room: workers._Room, pixels: int) -> None:
        take(room, pixels)
        progress.add("decoded")

    def commit_beside(writer: Writer, embedded: Sequence[object], *rest: object) -> None:
        done = progress.add("committing", len(embedded))
        assert not embedded or progress.reaches("embedding", done + BATCH), "nothing is embedded beside"
        commit(writer, embedded, *rest)

    class Waiting(ColourModel):
        def scenes(self, pictures: Sequence[Picture]) -> list[Picture]:
            begun = progress.add("embedding", len(pictures))
            assert progress.reaches("decoded", begun + BATCH), "nothing is decoded beside"
            kept = begun - len(pictures)
            assert progress.reaches("committing", kept - kept % BATCH), "nothing is committed beside"
            return super().scenes(pictures)

    monkeypatch.setattr(workers._Room, "take", take_noted)
    monkeypatch.setattr(Writer, "commit", commit_beside)
    with open_store(tmp_path / "library", create=True) as store:
        report = index(store, Waiting(), photos, workers=1)
        assert (report.indexed, report.problems) == (PHOTOS, [])
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
