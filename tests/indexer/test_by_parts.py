"""`reindex`, and files of annotations and captions, with a library in PostgreSQL: folders are walked some
files at a time, and all ends as it does in a folder."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.indexer.colours import ColourModel
from tests.postgres_server import Server
from tests.store.builders import photo as made_photo
from virtue.errors import InputError, StoppedError
from virtue.indexer import Progress, Report, index, reindex, walking
from virtue.indexer.name_matching import FOLDS, HeldFiles, ending, match_to_files, read_as_windows
from virtue.indexer.walk import Walk
from virtue.store import PhotoInfo, Store, open_store
from virtue.store.catalogue.filters import parse
from virtue.store.postgres.server_walked import ServerWalked
from virtue.store.records import KINDS
from virtue.store.walked import WalkedFile, WalkedFiles

FOLDERS, IN_EACH = 6, 4
PHOTOS = FOLDERS * IN_EACH


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of four photos, a copy of one of each in the next folder, with texts beside some."""
    monkeypatch.setattr(walking, "MAX_PART", 4)
    top = tmp_path / "photos"
    for number in range(PHOTOS):
        place = top / f"{number // IN_EACH}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 60), (10 * number, 255 - 10 * number, 90)).save(place / f"{number:02}.png")
    for folder in range(FOLDERS - 1):
        copy = shutil.copy(
            top / f"{folder}" / f"{IN_EACH * folder:02}.png", top / f"{folder + 1}" / "copy.png"
        )
        Path(copy).with_suffix(".txt").write_text(f"a copy of {folder}")
    return top


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each part of a walk has."""
    counts: list[int] = []
    cut = Walk.cut
    monkeypatch.setattr(Walk, "cut", lambda walk: (counts.append(len(walk.files)), cut(walk))[1])
    return counts


@pytest.fixture
def twins(tmp_path: Path, database: str) -> Iterator[tuple[Store, Store]]:
    """A library in a folder, and one in PostgreSQL."""
    with open_store(tmp_path / "library", create=True) as one, open_store(database, create=True) as other:
        yield one, other


def told(store: Store) -> list[Any]:
    """All that is known of photos, with their vectors, whatever the order in which they came."""
    assert store.verify() == []
    with store.read() as snapshot:
        assert snapshot.generation is not None
        found: list[list[Any]] = [[], []]
        for kind, records, some in zip(KINDS, (snapshot.regions, snapshot.captions), found, strict=True):
            rows = snapshot.search(kind, np.eye(8, dtype=np.float32)[:1], 10_000).rows
            for record, vector in zip(records(rows), snapshot.vectors_of(kind, rows), strict=True):
                values = dataclasses.asdict(record)
                kept = {
                    name: str(values[name]) for name in values if name != "row" and not name.endswith("_id")
                }
                some.append((sorted(kept.items()), vector.tolist()))
        files = {path: state._replace(ctime_ns=None) for path, state in snapshot.files().items()}
        return [snapshot.generation.fingerprint, *map(sorted, found), files]


def both(twins: tuple[Store, Store], run: Callable[[Store], Report]) -> Report:
    """What a run reports, the same in both, but that texts beside copies may come later in one."""
    one, other = (dataclasses.replace(run(store), seconds=0, recaptioned=0) for store in twins)
    assert other == one
    assert told(twins[1]) == told(twins[0])
    return other


def test_reindex_embeds_some_at_a_time_and_each_photo_once(
    twins: tuple[Store, Store], photos: Path, held: list[int]
) -> None:
    both(twins, lambda store: index(store, ColourModel(), photos, regions=2, workers=1))
    (photos / "new.png").write_bytes((photos / "0" / "01.png").read_bytes())
    (photos / "3" / "13.png").rename(photos / "moved.png")
    held.clear()
    models: list[ColourModel] = []

    def run(store: Store) -> Report:
        models.append(ColourModel("colours-2"))
        return reindex(store, models[-1], workers=1)

    report = both(twins, run)
    assert (report.reembedded, report.indexed, report.missing) == (PHOTOS, 0, 0)
    assert max(held) <= 4 + IN_EACH + 1 and len(held) >= 2 * FOLDERS
    assert models[1].pictures == models[0].pictures
    assert told(twins[1])[0] == "colours-2"
    assert (
        both(twins, lambda store: index(store, ColourModel("colours-2"), workers=1)).unchanged == PHOTOS + 6
    )


def test_what_a_run_holds_does_not_grow_with_what_it_walks(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "MAX_PART", 200)
    photos = tmp_path / "photos"
    for number in range(2000):
        (photos / f"{number // 200}").mkdir(parents=True, exist_ok=True)
        (photos / f"{number // 200}" / f"{number}.jpg").touch()
    blocks: list[int] = []
    cut = Walk.cut

    def counted(walk: Walk) -> Walk:
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        return cut(walk)

    monkeypatch.setattr(Walk, "cut", counted)

    def stop(told: Progress) -> None:
        if told.what == "indexing":
            raise StoppedError("all are listed")

    with open_store(database, create=True) as store, pytest.raises(StoppedError):
        index(store, ColourModel(), photos, workers=1, progress=stop)
    assert len(blocks) == 10
    assert blocks[8] - blocks[3] < 300, "and not one for each of the 1,000 files between"


def test_an_interrupted_reindex_goes_on_and_one_that_would_lose_photos_begins_nothing(
    database: str, photos: Path, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "indexing" and progress.done >= 9:
            raise KeyboardInterrupt

    def generations(store: Store) -> list[str]:
        with store.read() as snapshot:
            return [each.fingerprint for each in snapshot.generations()]

    with open_store(database, create=True) as store:
        index(store, ColourModel(), photos, regions=2, workers=1)
        shutil.move(photos / "2", tmp_path / "elsewhere")
        (photos / "2").mkdir()
        before = told(store)
        with pytest.raises(
            InputError, match=r"/2 holds no photos, and had 3, which would lose their vectors"
        ):
            reindex(store, ColourModel("colours-2"), workers=1)
        (photos / "2").rmdir()
        (photos / "2").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="lies behind a link that leads out of what is indexed"):
            reindex(store, ColourModel("colours-2"), workers=1)
        assert told(store)[:3] == before[:3]
        (photos / "2").unlink()
        shutil.move(tmp_path / "elsewhere", photos / "2")
        with pytest.raises(KeyboardInterrupt):
            reindex(store, ColourModel("colours-2"), workers=1, progress=stop)
        assert generations(store) == ["colours-1", "colours-2"]
        with store.read() as snapshot:
            left, _ = snapshot.photos_to_embed(snapshot.generations()[1], 9)
        assert 0 < left < PHOTOS

        def remove(progress: Progress) -> None:
            if progress.stage == "indexing":
                (photos / "0" / "01.png").unlink(missing_ok=True)

        with pytest.raises(InputError, match=r"a photo came, moved or went [^/]*/[^ ]*/01.png: reindex"):
            reindex(store, ColourModel("colours-2"), workers=1, progress=remove)
        assert generations(store) == ["colours-1", "colours-2"]
        Image.new("RGB", (80, 60), (10, 245, 90)).save(photos / "0" / "01.png")
        report = reindex(store, ColourModel("colours-2"), workers=1)
        assert report.reembedded + report.indexed <= 2
        assert generations(store) == ["colours-2"]
        assert told(store)[0] == "colours-2"
        with store.read() as snapshot:
            assert (snapshot.counts().photos, snapshot.counts().regions) == (PHOTOS, 3 * PHOTOS)


def test_files_of_annotations_and_captions_mean_the_same_photos(
    twins: tuple[Store, Store], photos: Path, tmp_path: Path, held: list[int]
) -> None:
    """Names as they are, written elsewhere, on Windows, in other cases, and those that several have."""
    (photos / "4" / "17.png").rename(photos / "4" / "Caf\u00e9.png")
    names = ["photos/0/01.png", "C:\\x\\1\\05.PNG", "cafe\u0301.png", "copy.png", "none.png", "a/2/copy.png"]
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "annotations": [
            {"image_id": n, "bbox": [n + 1, 2, 30, 40], "caption": f"thing {n}"} for n in range(6)
        ],
    }
    coco, table = tmp_path / "coco.json", tmp_path / "labels" / "captions.csv"
    coco.write_text(json.dumps(content))
    table.parent.mkdir()
    rows = ["path,caption", "y/3/13.png,a thirteenth", f"{photos}/0/01.png,a first", "copy.png,which?"]
    table.write_text("\n".join(rows))

    def run(store: Store) -> Report:
        return index(
            store, ColourModel(), photos, regions="none", workers=1, annotations=coco, captions=table
        )

    report = both(twins, run)
    assert report.indexed == PHOTOS
    assert [warning.partition(": ")[2] for warning in report.warnings] == [
        "2 of 6 names are not (or not the only) photos in what was looked through, such as copy.png",
        "1 of 3 names are not (or not the only) photos in what was looked through, such as copy.png",
    ]
    assert max(held) <= 4 + IN_EACH + 1
    with twins[1].read() as snapshot:
        known = snapshot.photos(snapshot.photo_ids())
        said = {os.path.basename(photo.paths[0]): photo.captions for photo in known}
    assert said["13.png"] == ("a thirteenth",) and "a first" in said["01.png"]
    assert both(twins, run).unchanged == PHOTOS + FOLDERS - 1
    # What is said later of a photo that is known, at one of its paths.
    table.write_text("path,caption\n2/copy.png,a copy\n")
    report = both(twins, lambda store: index(store, ColourModel(), photos, workers=1, captions=table))
    assert report.reembedded == 1
    with twins[1].read() as snapshot:
        (photo,) = snapshot.photos(snapshot.photo_ids(parse("path ~ */2/copy.png")))
    assert {*photo.captions} == {"a copy", "a copy of 1"}


def test_what_is_said_of_a_photo_stays_though_another_process_stores_a_copy_of_it(
    database: str, photos: Path, tmp_path: Path
) -> None:
    """At the same time, and without knowing what is said."""
    table = tmp_path / "captions.csv"
    table.write_text("path,caption\n5/20.png,the twentieth\n")
    content = hashlib.sha256((photos / "5" / "20.png").read_bytes()).digest()
    stored = 0

    def store_copy(progress: Progress) -> None:
        nonlocal stored
        with open_store(database) as other:
            with other.read() as snapshot:
                is_told = bool(snapshot.user_annotations(content).captions)
            if is_told and not stored:
                stored += 1
                info = PhotoInfo(content, 80, 60)
                with other.write("another") as writer:
                    plain = "regions=0 annotations=- captions=-"
                    writer.commit([made_photo(0, proposals=0, settings=plain, info=info)])

    with open_store(database, create=True) as store:
        report = index(
            store, ColourModel(), photos, regions="none", workers=1, captions=table, progress=store_copy
        )
        assert (stored, report.indexed, report.reembedded) == (1, PHOTOS, 1)
        with store.read() as snapshot:
            (photo,) = snapshot.photos(snapshot.photo_ids(parse("path ~ *20.png")))
            assert photo.captions == ("the twentieth",)


def test_a_file_below_several_folders_that_are_named_counts_once(
    twins: tuple[Store, Store], photos: Path
) -> None:
    named = [photos, photos / "2", photos / "2" / "films"]
    (photos / "2" / "films").mkdir()
    (photos / "2" / "films" / "film.mp4").write_bytes(b"a film")
    assert both(twins, lambda store: index(store, ColourModel(), named, workers=1)).passed_by == {".mp4": 1}
    for path in (photos / "2").glob("*.png"):
        path.unlink()
    (photos / "2" / "films" / "film.mp4").unlink()
    report = both(twins, lambda store: index(store, ColourModel(), named, workers=1))
    assert (report.missing, report.unchanged, report.passed_by) == (3, PHOTOS + FOLDERS - 1 - 5, {})
    assert any(f"{photos}/2 holds no photos, and had 5" in warning for warning in report.warnings)


def test_what_was_said_of_a_photo_stays_though_its_file_is_to_be_looked_at_anew_after_a_copy(
    twins: tuple[Store, Store], photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("path,caption\n0/01.png,the first\n")

    def run(store: Store, **given: Any) -> Report:
        return index(store, ColourModel(), photos, workers=1, **given)

    def captions(store: Store) -> list[tuple[str, ...]]:
        with store.read() as snapshot:
            found = snapshot.photos(snapshot.photo_ids(parse("path ~ */0/01.png")))
            return [photo.captions for photo in found]

    both(twins, lambda store: run(store, captions=table))
    shutil.copy(photos / "0" / "01.png", photos / "0" / "00 copy.png")
    os.utime(photos / "0" / "01.png", (1, 1))
    report = both(twins, run)
    assert (report.relinked, report.unchanged) == (1, PHOTOS + FOLDERS - 1)
    assert list(map(captions, twins)) == [[("the first",)]] * 2
    shutil.copy(photos / "0" / "01.png", photos / "5" / "another.png")  # this folder is walked first
    for name in ("01.png", "00 copy.png"):
        os.utime(photos / "0" / name, (2, 2))
    both(twins, lambda store: reindex(store, ColourModel("colours-2"), workers=1))
    assert list(map(captions, twins)) == [[("the first",)]] * 2


PARTS = st.sampled_from(
    ["a", "A", "b", "\u00e9", "e\u0301", "\u00c9", "x.png", "X.png", "\udce9.png", "\u00df.png", "SS.png"]
)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
NAMES = st.tuples(PATHS, st.sampled_from(["{}", "/{}", "./{}", "C:/{}", "../{}"])).map(
    lambda drawn: drawn[1].format(drawn[0])
)


@pytest.fixture(scope="module")
def walked(postgres: Server) -> Iterator[WalkedFiles]:
    address = postgres.make_database()
    open_store(address, create=True).close()
    with ServerWalked.open(address, "the library") as opened:
        yield opened


@settings(max_examples=200)
@given(paths=st.sets(PATHS, max_size=12), names=st.sets(NAMES, max_size=6), is_windows=st.booleans())
def test_names_mean_the_same_files_wherever_these_are_held(
    walked: WalkedFiles, paths: set[str], names: set[str], is_windows: bool
) -> None:
    found = [os.fsencode(f"/photos/{path}") for path in sorted(paths)]
    entries = {name.replace("/", "\\") if is_windows else name: name for name in sorted(names)}
    folders = [b"/labels", b"/photos"]
    walked.look_again()
    walked.add(WalkedFile(path, ending=ending(path)) for path in found)
    walked.add([WalkedFile(b"/photos/a/passed by.png", is_passed_by=True)])
    expected = match_plainly(entries, folders, found)
    assert match_to_files(entries, folders, HeldFiles(found)) == expected
    assert match_to_files(entries, folders, walked) == expected


def match_plainly(
    entries: dict[str, str], folders: list[bytes], found: list[bytes]
) -> tuple[dict[bytes, str], list[str]]:
    """What names mean, as one would say it."""

    def parts(text: str) -> list[str]:
        return [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]

    def best(name: str) -> bytes | None:
        for fold in FOLDS:
            for spelling in (name, read_as_windows(name)):
                shared: dict[int, list[bytes]] = {}
                for path in found:
                    pairs = zip(
                        parts(fold(spelling))[::-1], parts(fold(os.fsdecode(path)))[::-1], strict=False
                    )
                    count = next((n for n, (one, other) in enumerate(pairs) if one != other), None)
                    if count is None:
                        count = min(len(parts(fold(spelling))), len(parts(fold(os.fsdecode(path)))))
                    shared.setdefault(count, []).append(path)
                most = max(shared, default=0)
                if most and len(shared[most]) == 1:
                    return shared[most][0]
        return None

    meant = {
        name: next(
            (
                path
                for folder in folders
                if (path := os.path.normpath(os.path.join(folder, os.fsencode(name)))) in found
            ),
            None,
        )
        for name in entries
    }
    result = {path: entries[name] for name, path in meant.items() if path is not None}
    loose = {name: best(name) for name, path in meant.items() if path is None}
    claims = Counter(path for path in loose.values() if path is not None and path not in result)
    matched = {name: path for name, path in loose.items() if path is not None and claims[path] == 1}
    result |= {path: entries[name] for name, path in matched.items()}
    return result, [name for name in loose if name not in matched]
