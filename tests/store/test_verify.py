"""What `verify` finds, and what it does not take for damage."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.store.builders import filled, photo
from virtue import Library
from virtue.errors import DamagedError
from virtue.store import open_store

SOUND = "regions=0 annotations=- captions=-"


def change(folder: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "catalogue.db")) as connection, connection:
        connection.execute(sql, values)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    place = tmp_path_factory.mktemp("template")
    (place / "photos").mkdir()
    for name in ("cat", "dog", "coffee"):
        shutil.copy(example_photos / f"{name}.jpg", place / "photos")
    with Library(place / "lib") as library:
        library.index(place / "photos", regions=2, ocr=False, workers=1)
        assert library.verify() == []
    return place


BROKEN = {
    "a path that is text": "UPDATE files SET path = CAST(path AS TEXT) WHERE hex(path) LIKE '%6361742E%'",
    "a root that is text": "UPDATE roots SET path = CAST(path AS TEXT)",
    "quantiles cut off": "UPDATE distributions SET quantiles = substr(quantiles, 1, 100)",
    "quantiles that do not rise": (
        "UPDATE distributions SET quantiles = "
        "CAST(substr(quantiles, 401, 404) || substr(quantiles, 1, 400) AS BLOB)"
    ),
    "quantiles that are text": "UPDATE distributions SET quantiles = 'none'",
    "settings that say nothing": "UPDATE embeddings SET settings = 'nonsense' WHERE photo_id = 1",
    "settings without regions": "UPDATE embeddings SET settings = '{}' WHERE photo_id = 1",
    "options that are no JSON": "UPDATE roots SET options = '{'",
    "options of another form": "UPDATE roots SET options = '[]'",
    "options without a part": 'UPDATE roots SET options = \'{"regions": "auto"}\'',
    "no width": "UPDATE photos SET width = 0 WHERE id = 1",
    "a negative height": "UPDATE photos SET height = -3 WHERE id = 1",
    "a width that is text": "UPDATE photos SET width = 'wide' WHERE id = 1",
    "a box without size": "UPDATE regions SET x1 = x0 WHERE id = 2",
    "a box without end": "UPDATE regions SET x1 = 9e999 WHERE id = 2",
    "a caption in no encoding": (
        "INSERT INTO captions (photo_id, generation_id, text, source) "
        "SELECT photo_id, generation_id, CAST(x'ff' AS TEXT), 'file' FROM embeddings"
    ),
    "a camera in no encoding": "UPDATE photos SET camera = CAST(x'ff41' AS TEXT)",
    "a time that is text": "UPDATE files SET mtime_ns = 'yesterday'",
}

HOPELESS = {
    "a width that is text",
    "a caption in no encoding",
    "a camera in no encoding",
    "a time that is text",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_values_that_cannot_be_read_are_found_and_mended(template: Path, tmp_path: Path, broken: str) -> None:
    folder = shutil.copytree(template / "lib", tmp_path / "lib")
    change(folder, BROKEN[broken])
    with Library(folder) as library:
        faults = library.verify()
        assert len(faults) == 1, faults
        if broken in HOPELESS:
            assert not faults[0].repairable
            return
        library.verify(repair=True)
        assert library.verify() == []
        assert len(library.search("a cat", top=3)) == 3
        library.index(workers=1)
        assert len(library.search("a cat", find="photos", top=9)) == 3


def test_the_command_tells_what_cannot_be_read(virtue: Run, template: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(template / "lib", tmp_path / "lib")
    change(folder, BROKEN["a path that is text"])
    done = virtue("verify", "-d", folder)
    assert (done.returncode, done.stdout) == (1, b"1 values of files.path are of another type than blob\n")
    assert virtue("verify", "--repair", "-d", folder).returncode == 0
    assert virtue("verify", "-d", folder).stderr == b"sound\n"


def test_a_sound_library_is_not_damaged_beside_a_compaction(tmp_path: Path) -> None:
    """Each time other files take the place of those that are being read."""
    filled(tmp_path / "lib", 40, settings=SOUND).close()
    done, rounds = threading.Event(), 0

    def compact() -> None:
        with open_store(tmp_path / "lib") as store:
            while not done.is_set():
                with store.write("test") as writer:
                    writer.commit([photo(n, settings=SOUND) for n in (1, 2)])
                    writer.compact()

    running = threading.Thread(target=compact)
    running.start()
    try:
        with Library(tmp_path / "lib", read_only=True) as library, Library(tmp_path / "other") as other:
            for rounds in range(25):
                assert library.verify() == []
                library.export_parquet(tmp_path / f"{rounds}.parquet")
                other.merge(tmp_path / "lib")
    finally:
        done.set()
        running.join()


def test_damage_is_found_beside_a_compaction(tmp_path: Path) -> None:
    filled(tmp_path / "lib", 40, settings=SOUND).close()
    rows = tmp_path / "lib" / "regions-1.f16"
    content = bytearray(rows.read_bytes())
    content[3] ^= 1
    rows.write_bytes(content)
    with Library(tmp_path / "lib") as library:
        (fault,) = library.verify()
        assert fault.kind == "checksum"


def test_settings_that_cannot_be_read_are_damage_to_what_needs_them(template: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(template / "lib", tmp_path / "lib")
    change(folder, "UPDATE embeddings SET settings = 'nonsense'")
    with Library(folder) as library:
        for run in (library.index, library.reindex):
            with pytest.raises(DamagedError, match="'nonsense', cannot be read"):
                run(workers=1)
