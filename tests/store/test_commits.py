"""What commits store, read back through snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.store.builders import DIM, SETTINGS, broken, file, filled, found, name, photo, vectors
from virtue.errors import DamagedError, StoreError
from virtue.geometry import Box
from virtue.store import (
    CaptionUpdate,
    EmbeddedPhoto,
    FileRecord,
    NewCaption,
    NewRegion,
    PhotoInfo,
    Root,
    Store,
    open_store,
)


@pytest.fixture
def store(place: Path | str) -> Iterator[Store]:
    with filled(place) as opened:
        yield opened


def test_regions_come_back_with_their_photo(place: Path | str) -> None:
    info = PhotoInfo(
        name(1),
        400,
        300,
        "2024-05-06T07:08:09",
        "Lens & Co",
        -33.9,
        151.2,
        5,
        ("sea", "sea", "sun"),
        2**64 - 1,
    )
    regions = (
        NewRegion(Box(0, 0, 400, 300), "whole"),
        NewRegion(Box(1.5, 2.25, 10, 20), "annotation", "dog", '{"counts": "x", "size": [300, 400]}'),
        NewRegion(Box(5, 5, 90, 90), "proposal", objectness=0.625, object="cat"),
    )
    captions = (
        NewCaption("a beach", "sidecar"),
        NewCaption("my dog", "annotation", region=1),
        NewCaption("at last", "metadata"),
    )
    embedded = EmbeddedPhoto(info, "auto", regions, vectors(3, 1), captions, vectors(3, 2))
    with open_store(place, create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            writer.commit([embedded], [file("/b.jpg", 1), file("/a.jpg", 1)])
        with store.read() as snapshot:
            dog, whole, cat = snapshot.regions([1, 0, 2])
            assert (cat.origin, cat.category, cat.objectness, cat.object) == ("proposal", None, 0.625, "cat")
            assert (dog.objectness, dog.object) == (None, None)
            assert (dog.row, dog.path, dog.width, dog.height) == (1, b"/a.jpg", 400, 300)
            assert dog.box == Box(1.5, 2.25, 10, 20)
            assert (dog.origin, dog.category, dog.caption) == ("annotation", "dog", "my dog")
            assert (dog.is_full_image, dog.is_only_region) == (False, False)
            assert (whole.is_full_image, whole.is_only_region, whole.caption) == (True, False, "a beach")
            assert whole.photo_id == dog.photo_id
            told = snapshot.captions(np.array([2, 1]))
            assert [(c.row, c.text, c.source, c.region_id, c.box) for c in told] == [
                (2, "at last", "metadata", None, None),
                (1, "my dog", "annotation", dog.region_id, dog.box),
            ]
            handed = snapshot.user_annotations(name(1))
            assert handed.regions == regions[1:2]
            assert handed.captions == (NewCaption("my dog", "annotation", region=0),)


def test_a_photo_that_is_one_region_says_so(place: Path | str) -> None:
    with filled(place, 2, proposals=0) as store, store.read() as snapshot:
        assert [(region.is_full_image, region.is_only_region) for region in snapshot.regions([0, 1])] == [
            (True, True)
        ] * 2


def test_a_copy_and_a_return_need_no_vectors(store: Store) -> None:
    def paths() -> set[bytes]:
        with store.read() as snapshot:
            return {path for path, _ in found(snapshot)}

    with store.write("test") as writer:
        writer.commit(missing=[b"/photos/0.jpg", b"/photos/1.jpg", b"/unknown"])
    assert paths() == {b"/photos/2.jpg"}
    with store.write("test") as writer:
        writer.commit(files=[file("/photos/0.jpg", 0), file("/moved/1.jpg", 1)])
    assert paths() == {b"/photos/0.jpg", b"/moved/1.jpg", b"/photos/2.jpg"}
    with store.read() as snapshot:
        counts = snapshot.counts()
        assert (counts.photos, counts.files, counts.missing, counts.regions) == (3, 3, 1, 6)
        assert snapshot.row_count("regions") == 6
    with store.write("test") as writer:
        assert writer.forget([b"/photos/1.jpg"]) == 1
    assert b"/moved/1.jpg" in paths()


def test_files_that_swap_their_names_in_two_commits_are_not_lost(store: Store) -> None:
    with store.write("test") as writer:
        writer.commit(files=[file("/photos/0.jpg", 1), file("/photos/1.jpg", 2)])
        with store.read() as snapshot:
            assert name(0) in snapshot.known_photos([name(0)])
        writer.commit(files=[file("/photos/2.jpg", 0)])
    with store.read() as snapshot:
        assert {n: s.hash for n, s in snapshot.files().items()} == {
            b"/photos/0.jpg": name(1),
            b"/photos/1.jpg": name(2),
            b"/photos/2.jpg": name(0),
        }
        assert snapshot.counts().regions == 6


def test_an_edited_photo_leaves_nothing_behind(store: Store) -> None:
    with store.write("test") as writer:
        writer.commit([photo(9)], [file("/photos/0.jpg", 9)])
    with store.read() as snapshot:
        assert snapshot.known_photos([name(0), name(9)]) == {name(9): SETTINGS}
        assert snapshot.counts().photos == 3
        assert snapshot.counts().regions == 6


def test_ids_and_rows_are_never_used_again(store: Store) -> None:
    with store.read() as snapshot:
        before = snapshot.regions(range(6))
    with store.write("test") as writer:
        writer.forget([b"/photos"])
        writer.commit([photo(0)], [file("/photos/0.jpg", 0)])
    with store.read() as snapshot:
        assert snapshot.regions(range(6)) == []
        after = snapshot.regions([6, 7])
        assert {r.region_id for r in after}.isdisjoint(r.region_id for r in before)
        assert {r.photo_id for r in after}.isdisjoint(r.photo_id for r in before)


def test_new_captions_replace_only_what_was_found(place: Path | str) -> None:
    told = (NewCaption("old", "sidecar"), NewCaption("kept", "file"), NewCaption("older", "metadata"))
    with filled(place, 2, captions=told) as store:
        with store.write("test") as writer:
            new = (NewCaption("new", "sidecar"),)
            writer.commit(captions=[CaptionUpdate(name(0), new, vectors(1, 5))])
            writer.commit(captions=[CaptionUpdate(name(1), (), vectors(0, 5), sources=("metadata",))])
        with store.read() as snapshot:
            texts = {(c.path, c.text) for c in snapshot.captions(range(10))}
            assert texts == {
                (b"/photos/0.jpg", "new"),
                (b"/photos/0.jpg", "kept"),
                (b"/photos/1.jpg", "old"),
                (b"/photos/1.jpg", "kept"),
            }
            assert len(found(snapshot, "captions")) == 4
            assert snapshot.counts().captions == 4


def test_problems_are_kept_until_they_are_solved(store: Store) -> None:
    odd = b"/photos/\xff\xfe.jpg"
    with store.write("test") as writer:
        writer.commit(files=[broken(odd), broken("/photos/0.jpg", "no image")])
    with store.read() as snapshot:
        assert snapshot.problems() == [(b"/photos/0.jpg", "no image"), (odd, "it ends too early")]
        assert snapshot.counts().problems == 2
        assert snapshot.files()[odd].size == 3
    with store.write("test") as writer:
        writer.commit([photo(0)], [file("/photos/0.jpg", 0)], missing=[odd])
    with store.read() as snapshot:
        assert snapshot.problems() == []
        assert snapshot.files()[odd].missing


def test_a_photo_whose_file_cannot_be_read_stays(store: Store) -> None:
    path = b"/photos/0.jpg"
    with store.write("test") as writer:
        writer.commit(
            files=[FileRecord(path, 3, 4, None, hash=name(0), problem="no image", judged_by="pillow 1")]
        )
    with store.read() as snapshot:
        assert snapshot.problems() == [(path, "no image")]
        counts, state = snapshot.counts(), snapshot.files()[path]
        assert (counts.photos, counts.files, counts.problems, counts.missing) == (3, 3, 1, 0)
        assert (state.hash, state.problem, state.judged_by) == (name(0), "no image", "pillow 1")
        assert path in dict(found(snapshot))
    with store.write("test") as writer:
        writer.commit(files=[file(path, 0)])
    with store.read() as snapshot:
        assert snapshot.problems() == []
        assert snapshot.files()[path].judged_by is None
    assert store.verify() == []


def test_texts_that_utf8_cannot_hold_are_written_out(store: Store) -> None:
    told = [NewCaption("half a \ud83d face", "sidecar")]
    with store.write("test") as writer:
        writer.commit(
            [photo(7, captions=told)], [file("/7.jpg", 7), broken("/x.jpg", "cannot read \udcff.jpg")]
        )
    with store.read() as snapshot:
        assert snapshot.problems() == [(b"/x.jpg", "cannot read \\udcff.jpg")]
        assert snapshot.captions([0])[0].text == "half a \\ud83d face"


def test_roots_are_remembered_and_forgotten(store: Store) -> None:
    with store.write("test") as writer:
        writer.remember_root(b"/photos", "{}")
        writer.remember_root(b"/photos/below", "{}")
        writer.remember_root(b"/photos2", "{}")
        writer.remember_root(b"/photos2", '{"regions": 3}')
        with store.read() as snapshot:
            assert len(snapshot.roots()) == 3
        assert writer.forget([b"/photos/"]) == 3
    with store.read() as snapshot:
        assert snapshot.roots() == [Root(b"/photos2", '{"regions": 3}')]
        assert snapshot.counts().photos == 0


def test_a_new_model_takes_over_when_it_is_ready(store: Store) -> None:
    with store.write("test") as writer:
        writer.commit([photo(1, given=1)])
        writer.commit(missing=[b"/photos/1.jpg"])
        target = writer.generation("other", "other fingerprint", 4)
        assert not target.active
        writer.commit([photo(n, dim=4) for n in (0, 2)])
        with store.read() as snapshot:
            assert snapshot.generation is not None
            assert snapshot.generation.model == "mini"
            assert [g.model for g in snapshot.generations()] == ["mini", "other"]
            assert {path for path, _ in found(snapshot)} == {b"/photos/0.jpg", b"/photos/2.jpg"}
            assert snapshot.files(target)[b"/photos/1.jpg"].settings is None
            writer.activate(target)
            # This snapshot is older: it goes on with the vectors of its time.
            assert len(found(snapshot)) == 4
    with store.read() as snapshot:
        assert [(g.model, g.active) for g in snapshot.generations()] == [("other", True)]
        assert sorted(snapshot.search("regions", vectors(1, 3, 4), 10).rows.tolist()) == [0, 1, 2, 3]
        assert snapshot.counts().regions == 4
        # Photo 1 was missing and could not be embedded; what was given for it is not lost.
        assert len(snapshot.user_annotations(name(1)).regions) == 1
    if store.folder is not None:
        assert sorted(path.name for path in store.folder.glob("*.f16")) == ["regions-2.f16"]
    assert store.verify() == []


def test_reading_goes_on_with_the_last_commit_while_another_writes(store: Store) -> None:
    with store.read() as before, store.write("test") as writer:
        writer.commit([photo(7)], [file("/photos/7.jpg", 7)])
        assert len(found(before)) == 6
        with store.read() as after:
            assert len(found(after)) == 8
        assert before.counts().regions == 6


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((2, DIM), np.nan, np.float32),
        vectors(2, 1) * 2,
        np.zeros((2, DIM), np.float32),
        vectors(2, 1, DIM + 1),
        vectors(3, 1),
        vectors(2, 1).astype(np.float16),
    ],
    ids=["nan", "long", "zero", "dimension", "count", "type"],
)
def test_vectors_that_are_wrong_are_refused(store: Store, wrong: np.ndarray) -> None:
    good = photo(8)
    bad = EmbeddedPhoto(good.info, "auto", good.regions, wrong, (), vectors(0, 1))
    with store.write("test") as writer, pytest.raises(ValueError, match=f"regions of {name(8).hex()}"):
        writer.commit([bad], [file("/photos/8.jpg", 8)])
    with store.read() as snapshot:
        assert snapshot.counts().regions == 6
        assert b"/photos/8.jpg" not in snapshot.files()


def test_records_that_contradict_themselves_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="a hash or a problem"):
        FileRecord(b"/x.jpg", 1, 1, None)
    with store.write("test") as writer:
        with pytest.raises(ValueError, match="not there"):
            writer.commit([photo(8, captions=[NewCaption("x", "sidecar", region=5)])])
        with pytest.raises(ValueError, match="its region was not"):
            writer.commit([photo(8, captions=[NewCaption("x", "file", region=1)])])
        with pytest.raises(ValueError, match="never stored"):
            writer.commit(files=[file("/photos/8.jpg", 8)])
        with pytest.raises(DamagedError, match="8 dimensions, and they have 9"):
            writer.generation("mini", "fingerprint", DIM + 1)


def test_vectors_without_a_generation_are_refused(place: Path | str) -> None:
    store = open_store(place, create=True)
    with store, store.write("test") as writer, pytest.raises(ValueError, match="generation"):
        writer.commit([photo(1)])


def test_many_paths_are_asked_for_at_once(place: Path | str) -> None:
    count = 3000
    with open_store(place, create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            writer.commit(
                [photo(n, proposals=0) for n in range(count)], [file(f"/{n}.jpg", n) for n in range(count)]
            )
        with store.read() as snapshot:
            assert len(snapshot.known_photos(name(n) for n in range(count * 2))) == count
            assert len(snapshot.regions(range(count))) == count
            assert len(snapshot.files()) == count
        with store.write("test") as writer:
            writer.commit(missing=[b"/%d.jpg" % n for n in range(count)])
            writer.discard(name(n) for n in range(count))
            assert writer.forget(b"/%d.jpg" % n for n in range(count)) == count
        assert store.verify() == []


def test_a_library_opened_read_only_is_not_written(place: Path | str, store: Store) -> None:
    with open_store(place, read_only=True) as reading:
        with reading.read() as snapshot:
            assert len(found(snapshot)) == 6
        with pytest.raises(StoreError, match="read-only"), reading.write("test"):
            pass
