"""The text in photos: read after all have their vectors, kept whatever happens, found, and taken along."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.conftest import Run
from tests.indexer.colours import ColourModel
from virtue import Box, Embedder, Hit, Library, Photo, Progress
from virtue.embedder.model import Item
from virtue.errors import InputError, ModelError, StoppedError
from virtue.indexer import Report, index
from virtue.indexer.reading import read_texts
from virtue.reader import Reader
from virtue.reader.reader import FOLDER

SIGNS = {
    "parking.png": ("NO PARKING", "Fire lane"),
    "bakery.png": ("Bakery",),
    "exit.png": ("EXIT", "Platform seven"),
    "blank.png": (),
}
WORDS = ("Apples", "Bananas", "Cherries", "Grapes", "Lemons", "Oranges", "Peaches", "Plums")


def draw(path: Path, *lines: str) -> Path:
    """Makes a picture with lines of text, the first at 30, 30, each 70 pixels below the one before."""
    picture = Image.new("RGB", (400, 40 + 70 * max(1, len(lines))), "white")
    font = ImageFont.load_default(size=40)
    for place, line in enumerate(lines):
        ImageDraw.Draw(picture).text((30, 30 + 70 * place), line, "black", font)
    picture.save(path)
    return path


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    folder = tmp_path / "signs"
    folder.mkdir()
    for name, lines in SIGNS.items():
        draw(folder / name, *lines)
    return folder


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    """A word a picture."""
    folder = tmp_path / "fruit"
    folder.mkdir()
    for word in WORDS:
        draw(folder / f"{word}.png", word)
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def photo(library: Library, name: str) -> Photo:
    (found,) = library.photos(f"path = {name}")
    return found


def texts(library: Library) -> dict[str, list[str] | None]:
    """The lines of each photo; None: it was not read."""
    return {
        os.path.basename(each.paths[0]): None if each.lines is None else [line.text for line in each.lines]
        for each in library.photos()
    }


def read_captions(library: Library) -> list[tuple[str, str]]:
    """(name of the photo, text) of every caption that was read, also of those that are there twice."""
    with library.store.read() as snapshot:
        found = snapshot.captions(range(snapshot.row_count("captions")))
        dead = set(np.flatnonzero(~alive(library)).tolist())
    return sorted((os.path.basename(c.path.decode()), c.text) for c in found if c.row not in dead)


def alive(library: Library) -> np.ndarray:
    with library.store.read() as snapshot:
        rows = np.zeros(snapshot.row_count("captions"), bool)
        ranked = snapshot.exact("captions", np.ones((1, snapshot.generation.dim), np.float32), len(rows))
        rows[ranked.rows] = True
        return rows


ALL = sorted(
    (name, text)
    for name, lines in SIGNS.items()
    for text in (*lines, *([" ".join(lines)] if len(lines) > 1 else []))
)
"""Each line is a caption, and all lines together are one, unless there is one line alone."""


# -- what is read -------------------------------------------------------------------------------------------


def test_signs_are_read_and_found(library: Library, signs: Path) -> None:
    report = library.index(signs, regions=0)
    assert (report.indexed, report.read, report.with_text, report.unread) == (4, 4, 3, 0)
    assert "3 of 4 hold text" in report.summary()
    assert texts(library) == {name: list(lines) for name, lines in SIGNS.items()}
    assert read_captions(library) == ALL
    first, second = photo(library, "parking.png").lines or ()
    assert first.box.iou(Box(30, 38, 320, 72)) > 0.5
    assert second.box.iou(Box(30, 108, 205, 148)) > 0.5
    assert [os.path.basename(hit.path) for hit in library.search("bakery", top=1)] == ["bakery.png"]
    (hit,) = library.search("no parking", find="captions", top=1)
    assert (hit.caption, hit.box) == ("NO PARKING", first.box)
    (hit,) = library.search("no parking", top=1)
    assert hit.path.endswith("parking.png") and library.search(hit), "more like it can be asked for"
    assert library.search("a place where trains stop", find="captions", top=1)[0].path.endswith("exit.png")
    assert library.verify() == []


def test_what_was_read_is_no_caption_that_somebody_gave(library: Library, signs: Path) -> None:
    (signs / "bakery.txt").write_text("where we had breakfast")
    library.index(signs, regions=0)
    assert photo(library, "bakery.png").captions == ("where we had breakfast",)
    assert photo(library, "parking.png").captions == ()
    assert photo(library, "parking.png").regions == ()
    (hit,) = library.search(signs / "parking.png", find="photos", top=1)
    assert hit.caption is None
    library.annotate(photo(library, "parking.png").photo_id, captions=["where we parked"])
    library.annotate(photo(library, "parking.png").photo_id, captions=[])
    assert photo(library, "parking.png").captions == ()
    assert texts(library)["parking.png"] == ["NO PARKING", "Fire lane"]


FILTERS = {
    "ocr ~ *park*": ["parking.png"],
    "ocr ~ '*parking fire*'": ["parking.png"],
    "ocr = bakery": ["bakery.png"],
    "ocr in (exit, bakery)": ["bakery.png", "exit.png"],
    "ocr ~ * and not ocr ~ *a*": [],
    "not ocr ~ *": ["blank.png"],
    "caption ~ *seven": ["exit.png"],
}


def test_filters_compare_what_was_read(library: Library, signs: Path) -> None:
    library.index(signs, regions=0)
    for where, expected in FILTERS.items():
        assert sorted(os.path.basename(each.paths[0]) for each in library.photos(where)) == expected, where
    hits = library.search(where="ocr ~ *parking*", find="captions", all_regions=True)
    assert sorted(str(hit.caption) for hit in hits) == ["NO PARKING", "NO PARKING Fire lane"]
    (hit,) = library.search(where=["ocr ~ *", "area < 8%"], find="captions", all_regions=True)
    assert hit.caption == "EXIT" and hit.box.area < 0.08 * hit.width * hit.height


def test_lines_that_come_again_keep_their_places(library: Library, tmp_path: Path) -> None:
    library.index(draw(tmp_path / "buttons.png", "Remove", "Remove", "Remove"))
    lines = photo(library, "buttons.png").lines or ()
    assert [line.text for line in lines] == ["Remove"] * 3
    tops = [line.box.y0 for line in lines]
    assert tops == sorted(tops) and len(set(tops)) == 3


# -- in steps -----------------------------------------------------------------------------------------------


def test_photos_are_searchable_before_they_are_read(library: Library, signs: Path) -> None:
    seen: list[tuple[list[str], int]] = []
    steps: list[Progress] = []

    def look(progress: Progress) -> None:
        steps.append(progress)
        if progress.stage == "reading" and not seen:
            hits = library.search("a sign", find="photos", top=10)
            seen.append((sorted(os.path.basename(hit.path) for hit in hits), library.count("ocr ~ *")))
            assert hits[0].sureness is not None

    library.index(signs, regions=0, progress=look)
    assert seen == [(sorted(SIGNS), 0)]
    last = steps[-1]
    assert (last.stage, last.what, last.done, last.total) == ("reading", "reading text", 4, 4)
    assert last.rate > 0


def stop_after(count: int, error: BaseException) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        if progress.stage == "reading" and progress.done >= count:
            raise error

    return tell


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), StoppedError("stopped")])
def test_what_was_read_before_an_interruption_is_kept(
    library: Library, fruit: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        library.index(fruit, regions=0, progress=stop_after(3, error))
    kept = [lines for lines in texts(library).values() if lines is not None]
    assert len(kept) >= 3 and all(kept)
    assert library.count() == len(WORDS) and library.verify() == []
    report = library.index(fruit, regions=0)
    assert (report.unchanged, report.read) == (len(WORDS), len(WORDS) - len(kept))
    assert read_captions(library) == [(f"{word}.png", word) for word in WORDS]


def test_another_thread_stops_it(library: Library, fruit: Path) -> None:
    stop, before = threading.Event(), set(threading.enumerate())
    with pytest.raises(StoppedError):
        library.index(
            fruit, regions=0, stop=stop, progress=lambda step: stop.set() if step.stage == "reading" else None
        )
    assert library.count() == len(WORDS)
    mine = set(threading.enumerate()) - before
    assert not [thread for thread in mine if "ThreadPoolExecutor" in thread.name]
    library.index()
    assert None not in texts(library).values()


KILLED = """
import os, signal, sys
from virtue import Library
from virtue.indexer import commit_queue, reading
commit_queue.MAX_PHOTOS = reading.MAX_TEXTS = 1

def tell(progress):
    if progress.stage == "reading":
        with library.store.read() as snapshot:
            if snapshot.counts().read >= 2:
                os.kill(os.getpid(), signal.SIGKILL)

library = Library(sys.argv[1])
library.index(sys.argv[2], regions=0, progress=tell)
"""


def test_a_run_that_is_killed_while_it_reads_goes_on_where_it_was(
    tmp_path: Path, library: Library, fruit: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, library.folder, fruit], check=False)
    assert done.returncode == -signal.SIGKILL
    kept = {name: lines for name, lines in texts(library).items() if lines is not None}
    assert 2 <= len(kept) < len(WORDS)
    assert library.count() == len(WORDS) and library.verify() == []
    report = library.index()
    assert (report.unchanged, report.read) == (len(WORDS), len(WORDS) - len(kept))
    assert read_captions(library) == [(f"{word}.png", word) for word in WORDS]
    assert library.verify() == []
    assert library.index().read == 0


# -- options ------------------------------------------------------------------------------------------------


def test_no_ocr_is_remembered_and_ocr_adds_it_later(library: Library, signs: Path) -> None:
    assert library.index(signs, regions=0, ocr=False).read == 0
    draw(signs / "new.png", "Museum")
    assert library.index().read == 0
    assert set(texts(library).values()) == {None}
    report = library.index(ocr=True)
    assert (report.unchanged, report.indexed, report.reembedded, report.read) == (5, 0, 0, 5)
    draw(signs / "newer.png", "Harbour")
    assert library.index().read == 1
    assert texts(library)["newer.png"] == ["Harbour"]


def test_without_ocr_what_was_read_stays(library: Library, signs: Path) -> None:
    library.index(signs, regions=0)
    library.index(signs, regions=1, ocr=False)
    assert read_captions(library) == ALL
    draw(signs / "new.png", "Museum")
    library.index()
    assert texts(library)["new.png"] is None


def test_a_folder_inside_follows_its_own_option(library: Library, signs: Path) -> None:
    (signs / "private").mkdir()
    draw(signs / "private" / "letter.png", "Dear Anna")
    library.index(signs / "private", regions=0, ocr=False)
    library.index(signs, regions=0)
    assert texts(library)["letter.png"] is None and texts(library)["exit.png"] is not None
    library.index(signs, regions=0, ocr=True)
    assert texts(library)["letter.png"] == ["Dear Anna"]


def test_a_file_alone_that_was_left_out_stays_so(library: Library, tmp_path: Path) -> None:
    letter = draw(tmp_path / "letter.png", "Dear Anna")
    library.index(letter, ocr=False)
    assert library.index().read == 0
    assert library.index(letter).read == 0
    assert library.index(letter, ocr=True).read == 1
    assert texts(library) == {"letter.png": ["Dear Anna"]}


def test_pictures_that_are_added_are_read_by_the_same_option(library: Library, signs: Path) -> None:
    content = (signs / "bakery.png").read_bytes()
    assert library.add(content, "shop", ocr=False).read == 0
    assert library.index().read == 0
    report = library.add((signs / "exit.png").read_bytes(), "station")
    assert (report.read, report.with_text) == (1, 1)
    assert {each.name: each.lines is None for each in library.photos()} == {"shop": True, "station": False}
    assert library.add(content, "shop", ocr=True).read == 1


def test_the_command_line_reads_tells_and_remembers(
    virtue: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, signs: Path
) -> None:
    monkeypatch.delenv("VIRTUE_OCR")
    folder = tmp_path / "by-command"
    left_out = virtue("index", signs, "--no-ocr", "--regions", "none", "-d", folder)
    assert left_out.returncode == 0 and b"hold text" not in left_out.stderr
    assert b"unchanged" in virtue("index", "-d", folder).stderr
    assert b"\nread         0\n" in virtue("status", "-d", folder).stdout
    assert b"4 unchanged; 3 of 4 hold text" in virtue("index", "--ocr", "-d", folder).stderr
    assert b"\nread         4\nwith_text    3\n" in virtue("status", "-d", folder).stdout
    found = virtue("search", "--where", "ocr ~ *parking*", "-f", "-d", folder)
    assert found.stdout == os.fsencode(signs / "parking.png") + b"\n"


# -- files --------------------------------------------------------------------------------------------------


def spoil_before_reading(path: Path) -> Callable[[Progress], None]:
    """Changes a file when all vectors are there."""

    def tell(progress: Progress) -> None:
        if progress.stage == "indexing" and progress.done == progress.total:
            path.write_bytes(b"no picture")

    return tell


def test_copies_are_read_once_from_one_that_can_be(library: Library, signs: Path) -> None:
    for name in ("a.png", "z.png"):
        shutil.copy(signs / "bakery.png", signs / name)
    report = library.index(signs, regions=0, progress=spoil_before_reading(signs / "a.png"))
    assert (report.indexed, report.read, report.unread, report.warnings) == (4, 4, 0, [])
    assert [text for name, text in read_captions(library) if text == "Bakery"] == ["Bakery"]


def test_a_file_that_cannot_be_read_costs_itself_and_is_tried_again(library: Library, signs: Path) -> None:
    before = (signs / "bakery.png").read_bytes()
    report = library.index(signs, regions=0, progress=spoil_before_reading(signs / "bakery.png"))
    assert (report.read, report.unread) == (3, 1)
    (warning,) = report.warnings
    assert warning.startswith("the text in 1 photo could not be read now, such as in ")
    assert "bakery.png (it changed since it was indexed): the next indexing tries again" in warning
    assert texts(library)["bakery.png"] is None and library.verify() == []
    (signs / "bakery.png").write_bytes(before)
    report = library.index()
    assert (report.read, report.unread) == (1, 0)
    assert read_captions(library) == ALL


def index_with(library: Library, photos: Path, reader: Reader) -> Report:
    """Indexes a folder, and reads the text in it with this reader."""
    store = Library.create(library.folder).store
    with store.write("test") as writer:
        report = index(store, library.embedder, photos, regions=0, writer=writer)
        read_texts(store, writer, library.embedder, report, reader=reader)
    return report


def test_a_picture_in_which_the_reader_fails_costs_itself(
    library: Library, signs: Path, tmp_path: Path
) -> None:
    # A reader that knows capitals alone: its list of characters ends before the small letters.
    folder = tmp_path / "reader"
    shutil.copytree(FOLDER, folder)
    network = (folder / "recognition.onnx").read_bytes()
    end = network.rindex(b"\nZ\n") + 2
    (folder / "recognition.onnx").write_bytes(network[:end] + network[end:].replace(b"\n", b" "))
    draw(signs / "capitals.png", "ENTRY")
    report = index_with(library, signs, Reader(folder))
    assert (report.read, report.unread) == (2, 3)
    assert texts(library) == {name: None for name in SIGNS} | {"blank.png": [], "capitals.png": ["ENTRY"]}
    (warning,) = report.warnings
    assert warning.startswith("the text in 3 photos could not be read now, such as in ")
    assert ".png (the reader failed in it: IndexError: list index out of range): the next indexing" in warning
    report = library.index()
    assert (report.read, report.unread) == (3, 0)
    assert set(read_captions(library)) == {*ALL, ("capitals.png", "ENTRY")}


def test_a_reader_without_its_files_ends_the_run(library: Library, signs: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"detection\.onnx"):
        index_with(library, signs, Reader(tmp_path / "nothing"))
    assert library.index().read == 4


SPOILED = """
import sys
from pathlib import Path
from virtue.cli import main
from virtue.indexer import reading

def spoil(*values, **options):
    Path(sys.argv[1]).write_bytes(b"no picture")
    return read_texts(*values, **options)

read_texts, reading.read_texts = reading.read_texts, spoil
main(["index", *sys.argv[2:], "--regions", "none", "--strict"])
"""


def test_strict_counts_photos_that_could_not_be_read(tmp_path: Path, signs: Path) -> None:
    words = [signs / "bakery.png", signs, "-d", tmp_path / "library"]
    done = subprocess.run([sys.executable, "-c", SPOILED, *words], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"bakery.png (it changed since it was indexed): the next indexing tries again" in done.stderr
    assert b"photos: 4 indexed; 2 of 3 hold text" in done.stderr


def test_an_edited_photo_is_read_anew(library: Library, signs: Path) -> None:
    library.index(signs, regions=0)
    draw(signs / "bakery.png", "Florist")
    assert library.index().read == 1
    assert texts(library)["bakery.png"] == ["Florist"]
    assert ("bakery.png", "Bakery") not in read_captions(library)


def test_a_photo_that_another_reader_read_is_read_again(library: Library, signs: Path) -> None:
    library.index(signs, regions=0)
    with closing(sqlite3.connect(library.folder / "catalogue.db")) as plain, plain:
        plain.execute("UPDATE photos SET read_by = 'an older reader'")
        plain.execute("UPDATE captions SET text = 'N0 PARKlNG' WHERE text = 'NO PARKING'")
        plain.execute("DELETE FROM caption_tokens")
        plain.execute("INSERT INTO caption_tokens (rowid, tokens) SELECT id, 'x' FROM captions")
    library.close()
    assert library.index().read == 4
    assert read_captions(library) == ALL
    library.compact()
    assert read_captions(library) == ALL and library.verify() == []
    with closing(sqlite3.connect(library.folder / "catalogue.db")) as plain:
        assert plain.execute("SELECT DISTINCT read_by FROM photos").fetchall() == [(Reader.name,)]


# -- what becomes of it -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos in `signs` and a `library` that has read them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "signs").mkdir()
    for name, lines in SIGNS.items():
        draw(folder / "signs" / name, *lines)
    with Library(folder / "library") as library:
        library.index(folder / "signs", regions=0)
    return folder


@pytest.fixture
def read(made: Path, tmp_path: Path) -> Library:
    """A copy of that library."""
    return Library(shutil.copytree(made / "library", tmp_path / "copy"))


def lines(library: Library) -> dict[str, object]:
    return {os.path.basename(each.paths[0]): each.lines for each in library.photos()}


def hits(library: Library) -> list[Hit]:
    return library.search("no parking", find="captions", top=3)


def test_an_export_takes_it_along(read: Library, library: Library, tmp_path: Path) -> None:
    read.export_parquet(tmp_path / "x.parquet")
    library.import_parquet(tmp_path / "x.parquet")
    same(library, read)


def test_a_merge_takes_it_along(read: Library, library: Library) -> None:
    library.merge(read.folder)
    same(library, read)


def same(library: Library, read: Library) -> None:
    assert lines(library) == lines(read)
    assert read_captions(library) == ALL
    assert [(hit.caption, hit.box, hit.score) for hit in hits(library)] == [
        (hit.caption, hit.box, hit.score) for hit in hits(read)
    ]
    assert library.verify() == []
    assert library.index().read == 0


class OtherModel(ColourModel):
    """Reads texts of at most 18 characters."""

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        if any(item.text is not None and len(item.text) > 18 for item in items):
            raise InputError("a text is too long: this model reads 18 characters; shorten it")
        return super().embed(items)


def test_another_model_embeds_the_text_and_reads_nothing_again(read: Library) -> None:
    before = lines(read)
    report = read.reindex(Embedder(OtherModel("colours-2")))
    assert (report.reembedded, report.read, report.warnings) == (4, 0, [])
    assert lines(read) == before and read_captions(read) == ALL
    assert read.verify() == []


def test_photos_that_are_away_while_the_model_changes_keep_it(read: Library, made: Path) -> None:
    away = made / "signs" / "away.png"
    shutil.copy(made / "signs" / "bakery.png", away)
    try:
        draw(away, "Lighthouse")
        assert read.index(made / "signs").read == 1
        away.rename(made / "away.png")
        read.index(made / "signs")
        read.reindex(Embedder(OtherModel("colours-2")))
        (made / "away.png").rename(away)
        report = read.index(made / "signs")
        assert report.read == 0 and texts(read)["away.png"] == ["Lighthouse"]
        assert ("away.png", "Lighthouse") in read_captions(read) and read.verify() == []
    finally:
        away.unlink(missing_ok=True)


def test_repair_keeps_it(read: Library) -> None:
    before = lines(read)
    read.close()
    (rows,) = read.folder.glob("captions-*")
    rows.write_bytes(bytes(rows.stat().st_size))
    assert read.verify(repair=True)
    assert read.verify() == []
    assert lines(read) == before and read_captions(read) == ALL
    assert [hit.caption for hit in hits(read)][:1] == ["NO PARKING"]
    assert read.index().read == 0


def test_boxes_that_are_none_are_found_and_read_again(read: Library) -> None:
    read.close()
    with closing(sqlite3.connect(read.folder / "catalogue.db")) as plain, plain:
        plain.execute("UPDATE captions SET x1 = NULL WHERE text = 'Bakery'")
    assert [fault.what for fault in read.verify()] == ["1 lines of text have no boxes"]
    read.verify(repair=True)
    assert read.verify() == [] and texts(read)["bakery.png"] is None
    assert read.index().read == 1
    assert read_captions(read) == ALL


def test_what_is_forgotten_leaves_no_text(read: Library, made: Path) -> None:
    read.forget(made / "signs" / "bakery.png")
    assert [name for name, _ in read_captions(read) if name == "bakery.png"] == []
    read.close()
    content = (read.folder / "catalogue.db").read_bytes()
    assert b"Bakery" not in content
