"""Another model, beside the vectors there are: interrupted, taken up again, and nothing lost on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.indexer.colours import ColourModel
from tests.indexer.shelf import Shelf
from virtue.errors import InputError, StoreError
from virtue.indexer import Estimate, Progress, Report, reindex
from virtue.store import Store
from virtue.store import layout as names

PHOTOS = 30


def full(shelf: Shelf) -> Shelf:
    for number in range(PHOTOS):
        shelf.photo(f"{number:02}.png", (8 * number, 0, 255 - 8 * number))
    shelf.index(regions=2)
    return shelf


def again(shelf: Shelf, model: ColourModel, **options: object) -> Report:
    return reindex(shelf.store, model, **{"workers": 1, **options})


def fingerprint(store: Store) -> str:
    with store.read() as snapshot:
        assert snapshot.generation is not None
        return snapshot.generation.fingerprint


def files(shelf: Shelf) -> set[str]:
    return {path.name for path in names.row_files_in(shelf.store.folder)}


class Stop:
    """Raises, or does something, once some files are done."""

    def __init__(self, done: int, error: BaseException | None = None) -> None:
        self.done, self.error, self.seen = done, error, 0

    def __call__(self, progress: Progress) -> None:
        if progress.stage == "indexing" and progress.done >= self.done and not self.seen:
            self.seen = progress.done
            if self.error:
                raise self.error


def test_the_new_vectors_take_the_place_of_the_old(shelf: Shelf) -> None:
    full(shelf)
    report = again(shelf, ColourModel("colours-2"))
    assert (report.reembedded, report.indexed) == (PHOTOS, 0)
    assert fingerprint(shelf.store) == "colours-2"
    with shelf.store.read() as snapshot:
        assert len(snapshot.generations()) == 1
        assert snapshot.counts().regions == 3 * PHOTOS
    assert files(shelf) == {"regions-2.f16"}
    shelf.model = ColourModel("colours-2")
    assert shelf.index().unchanged == PHOTOS


def test_interrupted_it_goes_on_and_searches_use_the_old_vectors_meanwhile(shelf: Shelf) -> None:
    full(shelf)
    first = ColourModel("colours-2")
    with pytest.raises(KeyboardInterrupt):
        again(shelf, first, progress=Stop(20, KeyboardInterrupt()))
    assert fingerprint(shelf.store) == "colours-1"
    assert files(shelf) == {"regions-1.f16", "regions-2.f16"}
    with shelf.store.read() as snapshot:
        query = np.eye(1, 8, dtype=np.float32)[0]
        assert len(snapshot.regions(snapshot.search("regions", query, 1000).rows)) == 3 * PHOTOS
        (_, new) = snapshot.generations()
        kept = sum(state.settings is not None for state in snapshot.files(new).values())
    assert 0 < kept < PHOTOS
    told: list[Estimate] = []
    second = ColourModel("colours-2")
    report = again(shelf, second, estimated=told.append)
    assert told[0].photos == PHOTOS - kept
    assert report.reembedded == PHOTOS - kept
    # The rest, and those that were timed.
    assert second.pictures == PHOTOS - kept + min(9, PHOTOS - kept)
    assert fingerprint(shelf.store) == "colours-2"
    assert files(shelf) == {"regions-2.f16"}


def test_it_says_before_what_it_will_take(shelf: Shelf) -> None:
    full(shelf)
    told: list[Estimate] = []
    again(shelf, ColourModel("colours-2"), estimated=told.append)
    (estimate,) = told
    assert estimate.photos == PHOTOS
    assert estimate.bytes == PHOTOS * 3 * (8 * 2 + 250)
    assert estimate.rate > 0 and estimate.free > estimate.bytes
    assert estimate.summary().startswith("30 photos to embed, 0.0 MB more on disk (")
    assert " photos/s that takes " in estimate.summary()
    again(shelf, ColourModel("colours-2"), estimated=told.append)
    assert told[1].summary() == "all photos have vectors of this model"


def test_a_long_time_is_told_in_the_unit_that_fits() -> None:
    assert "takes 5 days" in Estimate(1_000_000, 2.3, 10**10, 10**11).summary()
    assert "takes 28 hours" in Estimate(1_000_000, 10, 10**10, 10**11).summary()
    assert "takes 17 minutes" in Estimate(1000, 1, 10**10, 10**11).summary()
    assert "10.0 GB more on disk (100.0 GB are free)" in Estimate(1000, 1, 10**10, 10**11).summary()


def test_without_room_it_does_not_start(shelf: Shelf) -> None:
    full(shelf)
    model = ColourModel("vast")
    model.dim = 10**13
    with pytest.raises(StoreError, match=r"30 photos with colours take .* GB more .* are free: make room"):
        again(shelf, model)
    with shelf.store.read() as snapshot:
        assert len(snapshot.generations()) == 1


def test_going_back_drops_what_was_begun(shelf: Shelf) -> None:
    full(shelf)
    with pytest.raises(KeyboardInterrupt):
        again(shelf, ColourModel("colours-2"), progress=Stop(20, KeyboardInterrupt()))
    report = again(shelf, shelf.model)
    assert report.unchanged == PHOTOS
    assert files(shelf) == {"regions-1.f16"}


def test_photos_that_vanish_meanwhile_lose_nothing(shelf: Shelf, tmp_path: Path) -> None:
    full(shelf)
    before = shelf.files()

    def unmount(progress: Progress) -> None:
        if progress.stage == "indexing" and shelf.photos.exists():
            shutil.move(shelf.photos, tmp_path / "elsewhere")

    with pytest.raises(
        InputError, match=r"photos could not be read, such as .* use the old vectors until then"
    ):
        again(shelf, ColourModel("colours-2"), progress=unmount)
    assert fingerprint(shelf.store) == "colours-1"
    assert shelf.files() == before
    with pytest.raises(InputError, match="is not there, and its photos cannot be embedded again"):
        again(shelf, ColourModel("colours-2"))
    shutil.move(tmp_path / "elsewhere", shelf.photos)
    again(shelf, ColourModel("colours-2"))
    assert fingerprint(shelf.store) == "colours-2"
    with shelf.store.read() as snapshot:
        assert snapshot.counts().regions == 3 * PHOTOS


def test_a_drive_that_is_not_mounted_loses_nothing(shelf: Shelf, tmp_path: Path) -> None:
    full(shelf)
    shutil.move(shelf.photos, tmp_path / "elsewhere")
    shelf.photos.mkdir()
    with pytest.raises(InputError, match=r"holds no photos, and had 30, which would lose their vectors"):
        again(shelf, ColourModel("colours-2"))
    assert not any(state.missing for state in shelf.files().values())
    assert fingerprint(shelf.store) == "colours-1"


def test_a_photo_that_vanishes_while_it_is_indexed_keeps_what_the_library_has_of_it(shelf: Shelf) -> None:
    path = shelf.photo("a.png", "red")
    others = [shelf.photo(f"{n}.png", "blue", (10 + n, 20)) for n in range(40)]
    shelf.index(regions=1)

    def remove(progress: Progress) -> None:
        if progress.stage == "indexing":
            path.unlink(missing_ok=True)

    # All are opened, in the order of their paths: this one last.
    report = shelf.index(rehash=True, progress=remove)
    assert len(report.problems) == 1 and report.unchanged == len(others)
    assert shelf.files()["a.png"].problem is None
    assert len(shelf.regions("a.png")) == 2
    assert shelf.index().missing == 1


KILLED = """
import sys
from tests.indexer.colours import ColourModel
from virtue.indexer import reindex
from virtue.store import Store, open_store
def tell(progress):
    print(progress.done, flush=True)
with open_store(sys.argv[1]) as store:
    reindex(store, ColourModel("colours-2"), workers=1, progress=tell)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("lines", [12, 30])
def test_killed_it_goes_on_too(shelf: Shelf, lines: int) -> None:
    full(shelf)
    killed = subprocess.Popen([sys.executable, "-c", KILLED, shelf.store.folder], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    for _ in range(lines):
        killed.stdout.readline()
    killed.kill()
    killed.wait()
    killed.stdout.close()
    assert shelf.store.verify() == []
    again(shelf, ColourModel("colours-2"))
    assert fingerprint(shelf.store) == "colours-2"
    with shelf.store.read() as snapshot:
        assert snapshot.counts().regions == 3 * PHOTOS
        assert snapshot.row_count("regions") == 3 * PHOTOS


SEARCHING = """
import sys
import numpy as np
from virtue.store import Store, open_store
queries = np.eye(8, dtype=np.float32)[:4]
def answer(store):
    with store.read() as snapshot:
        ranked = snapshot.search("regions", queries, 10)
        paths = [region.path for region in snapshot.regions(ranked.rows)]
        return snapshot.generation.fingerprint, (paths, ranked.scores.round(5).tolist())
with open_store(sys.argv[1]) as store:
    print("reading", flush=True)
    known, answers = {}, 0
    while not (store.folder / "stop").exists():
        model, found = answer(store)
        if known.setdefault(model, found) != found or len(found[0]) != 10:
            print("wrong", flush=True)
        answers += 1
    print(*known, answers, flush=True)
"""


def test_readers_in_other_processes_are_right_during_the_swap(shelf: Shelf) -> None:
    full(shelf)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", SEARCHING, shelf.store.folder], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
    for model in ("colours-2", "colours-3"):
        again(shelf, ColourModel(model))
    (shelf.store.folder / "stop").touch()
    for reader in readers:
        assert reader.stdout is not None
        said = reader.stdout.read().split()
        assert reader.wait() == 0
        reader.stdout.close()
        assert "wrong" not in said
        assert said[0] == "colours-1" and int(said[-1]) > 2


LIMITED = """
import resource, sys
from tests.indexer.colours import ColourModel
from virtue.errors import StoreError
from virtue.indexer import reindex
from virtue.store import Store, open_store
with open_store(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
    try:
        reindex(store, ColourModel("colours-2"), workers=1)
    except StoreError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits as POSIX has them")
def test_a_full_disk_leaves_the_old_vectors(shelf: Shelf) -> None:
    full(shelf)
    command = [sys.executable, "-c", LIMITED, shelf.store.folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "committed is safe" in done.stdout
    assert fingerprint(shelf.store) == "colours-1"
    assert shelf.store.verify() == []
    again(shelf, ColourModel("colours-2"))
    assert fingerprint(shelf.store) == "colours-2"
