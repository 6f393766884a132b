"""`similar` without a path, on every store: the same groups, and never all photos at once."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from tests.store.builders import DIM, file, filled, name, photo
from virtue.errors import StoreError
from virtue.retrieval import library_duplicates, pair_file
from virtue.retrieval.similar import similar
from virtue.retrieval.similar_group import Similar
from virtue.store import PhotoInfo, Snapshot, Store, open_store
from virtue.store.records import Copy

PHOTOS, AT_ONCE = 150, 10


def groups(store: Store) -> list[list[Similar]]:
    return [*similar(store, lambda: pytest.fail("no model is needed"))]


def test_groups_are_the_same_on_every_store_and_are_looked_up_some_at_a_time(
    place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have the same vectors, so that the hashes decide; there are no files, so that no pixels do. Every
    seventh photo lies at two paths: it begins a group of its own."""
    monkeypatch.setattr(library_duplicates, "AT_ONCE", AT_ONCE)
    rng = np.random.default_rng(3)
    centres = rng.integers(0, 2**63, 30).tolist()
    hashes = [
        centres[n % 30] ^ sum(1 << int(bit) for bit in rng.choice(64, n % 7, replace=False))
        for n in range(PHOTOS)
    ]
    sizes = rng.integers(1, 5, PHOTOS).tolist()
    asked: list[int] = []
    copies = Snapshot.copies

    def look_up(snapshot: Snapshot, photos: Collection[int]) -> dict[int, list[Copy]]:
        asked.append(len(photos))
        return copies(snapshot, photos)

    monkeypatch.setattr(Snapshot, "copies", look_up)
    with open_store(place, create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            infos = [PhotoInfo(name(n), sizes[n], 9, phash=hashes[n]) for n in range(PHOTOS)]
            files = [file(b"/%03d.jpg" % n, n) for n in range(PHOTOS)]
            files += [file(b"/%03d again.jpg" % n, n) for n in range(0, PHOTOS, 7)]
            writer.commit([photo(n, seed=7, info=info) for n, info in enumerate(infos)], files)
        found = [[(line.raw_path, line.tier, line.distance) for line in group] for group in groups(store)]

    left = sorted(range(PHOTOS), key=lambda n: (-sizes[n], n))
    expected, most = [], 0
    while left:
        first, *left = left
        bits = {n: (hashes[first] ^ hashes[n]).bit_count() for n in left}
        near = sorted(n for n in left if bits[n] <= 8 and n % 7)
        most = max(most, len(near))
        left = [n for n in left if n not in near]
        own = [(b"/%03d again.jpg" % first, None, 0), (b"/%03d.jpg" % first, "same-bytes", 0)]
        group = own if first % 7 == 0 else [(b"/%03d.jpg" % first, None, 0)]
        group += [(b"/%03d.jpg" % n, "similar", bits[n]) for n in near]
        expected += [group] if len(group) > 1 else []
    assert [[group[0], *sorted(group[1:])] for group in found] == [
        [group[0], *sorted(group[1:])] for group in sorted(expected)
    ]
    assert len(expected) > 30 and most > 2
    assert max(asked) <= AT_ONCE + 2 * 5 and len(asked) > PHOTOS / AT_ONCE


def test_a_full_disk_for_temporary_files_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_file, "_TABLES", pair_file._TABLES + "PRAGMA max_page_count = 5;")
    with (
        filled(tmp_path / "library", 200) as store,
        pytest.raises(
            StoreError,
            match=r"^the folder for temporary files cannot be used \([^\n]*full\): make room there",
        ),
    ):
        with store.write("test") as writer:
            infos = [PhotoInfo(name(n), 9, 9, phash=0xF0F0F0F0) for n in range(200)]
            writer.commit([photo(n, seed=7, info=info) for n, info in enumerate(infos)])
        groups(store)
