"""Indexing again and again: what is new is embedded, what is known is not, what is gone is marked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.indexer.colours import ColourModel
from tests.indexer.shelf import Shelf
from tests.store.builders import every_vector
from virtue.errors import InputError, LockedError, ModelMismatchError
from virtue.indexer import Progress, index
from virtue.store import FileRecord, open_store, records


def test_photos_become_regions_with_vectors(shelf: Shelf) -> None:
    shelf.photo("a.png", "red", (200, 100))
    report = shelf.index(regions=3)
    assert (report.indexed, report.problems, report.warnings) == (1, [], [])
    regions = shelf.regions("a.png")
    assert [(r.origin, r.box.xywh) for r in regions] == [
        ("whole", (0, 0, 200, 100)),
        ("proposal", (0, 0, 100, 50)),
        ("proposal", (100, 0, 100, 50)),
        ("proposal", (0, 50, 100, 50)),
    ]
    with shelf.store.read() as snapshot:
        red = shelf.model.embed(shelf_items("red"))
        ranked = snapshot.search("regions", red, 10)
    assert len(ranked.rows) == 4
    assert ranked.scores.min() > 0.99


def shelf_items(text: str) -> list:
    from virtue.embedder.model import Item

    return [Item(text=text)]


def test_a_second_run_opens_nothing(shelf: Shelf) -> None:
    for name in ("a.png", "b.jpg", "sub/c.webp"):
        shelf.photo(name, "green")
    assert shelf.index().indexed == 3
    report = shelf.index()
    assert (report.unchanged, report.indexed, report.reembedded) == (3, 0, 0)
    assert shelf.model.pictures == 0
    again = shelf.index(rehash=True)
    assert (again.unchanged, shelf.model.pictures) == (3, 0)


def test_without_paths_all_known_folders_and_files_are_indexed(shelf: Shelf) -> None:
    single = shelf.folder / "single.png"
    Image.new("RGB", (10, 10)).save(single)
    shelf.photo("a.png")
    shelf.index(shelf.photos, single)
    shelf.photo("b.png", "blue")
    single.unlink()
    report = index(shelf.store, shelf.model)
    assert (report.indexed, report.unchanged, report.missing) == (1, 1, 1)


def test_renamed_moved_and_copied_files_are_linked_not_embedded(shelf: Shelf) -> None:
    for name, colour in (("a.png", "red"), ("b.png", "green"), ("c.png", "blue")):
        shelf.photo(name, colour)
    shelf.index()
    (shelf.photos / "a.png").rename(shelf.photos / "renamed.png")
    (shelf.photos / "sub").mkdir()
    (shelf.photos / "b.png").rename(shelf.photos / "sub" / "b.png")
    shutil.copy(shelf.photos / "c.png", shelf.photos / "copy.png")
    report = shelf.index()
    assert (report.relinked, report.missing, report.unchanged, report.indexed) == (3, 0, 1, 0)
    assert shelf.model.pictures == 0
    assert {Path(r.path.decode()).name for n in ("renamed.png", "b.png") for r in shelf.regions(n)} == {
        "renamed.png",
        "b.png",
    }


def test_copies_found_in_one_run_are_embedded_once(shelf: Shelf) -> None:
    first = shelf.photo("a.png")
    for number in range(20):
        shutil.copy(first, shelf.photos / f"copy{number}.png")
    report = shelf.index()
    assert (report.indexed, report.relinked, shelf.model.pictures) == (1, 20, 1)
    assert shelf.index().unchanged == 21


def test_an_edited_file_is_embedded_again_and_a_touched_one_is_not(shelf: Shelf) -> None:
    edited, touched = shelf.photo("a.png", "red"), shelf.photo("b.png", "blue")
    shelf.index()
    Image.new("RGB", (80, 60), "green").save(edited)
    os.utime(touched, ns=(1, 1))
    report = shelf.index()
    assert (report.reembedded, report.unchanged, shelf.model.pictures) == (1, 1, 1)
    assert shelf.files()["b.png"].mtime_ns == 1
    assert shelf.index().unchanged == 2
    with shelf.store.read() as snapshot:
        assert snapshot.counts().photos == 2


def test_vanished_files_are_marked_and_come_back_without_work(shelf: Shelf) -> None:
    path = shelf.photo("a.png")
    shelf.photo("b.png", "blue")
    shelf.index()
    hidden = shelf.folder / "elsewhere.png"
    path.rename(hidden)
    assert shelf.index().missing == 1
    assert shelf.regions("a.png") == []
    assert shelf.index().missing == 0
    hidden.rename(path)
    report = shelf.index()
    assert (report.relinked, report.unchanged, shelf.model.pictures) == (1, 1, 0)
    assert len(shelf.regions("a.png")) == 5


def test_only_what_lies_below_the_given_paths_can_vanish(shelf: Shelf) -> None:
    shelf.photo("x/a.png")
    gone = shelf.photo("y/b.png", "blue")
    shelf.index()
    gone.unlink()
    assert shelf.index(shelf.photos / "x").missing == 0
    assert shelf.index(shelf.photos / "y").missing == 1


def test_a_root_that_is_gone_is_an_error_and_marks_nothing(shelf: Shelf) -> None:
    shelf.photo("a.png")
    shelf.index()
    shelf.photos.rename(shelf.folder / "away")
    with pytest.raises(InputError, match="photos: no such file"):
        shelf.index()
    with pytest.raises(InputError, match="is not there: mount it"):
        index(shelf.store, shelf.model)
    assert not shelf.files()["a.png"].missing


def test_a_root_that_is_suddenly_empty_is_told(shelf: Shelf) -> None:
    path = shelf.photo("a.png")
    shelf.index()
    path.unlink()
    report = shelf.index()
    assert report.missing == 1
    assert "holds no photos, and had 1" in report.warnings[0]


def test_a_root_that_is_gone_does_not_keep_the_others_from_being_indexed(shelf: Shelf) -> None:
    other = shelf.folder / "other"
    other.mkdir()
    Image.new("RGB", (10, 10)).save(other / "o.png")
    shelf.photo("a.png")
    shelf.index(shelf.photos, other)
    shutil.rmtree(other)
    shelf.photo("b.png", "blue")
    report = index(shelf.store, shelf.model)
    assert report.indexed == 1
    assert report.problems == [(os.fsencode(other), "it is not there; what the library has of it was kept")]
    assert not shelf.files()["o.png"].missing


def test_nothing_to_index_says_what_to_do(shelf: Shelf) -> None:
    with pytest.raises(InputError, match="name a folder of photos"):
        index(shelf.store, shelf.model)


def test_other_regions_embed_again_and_are_remembered(shelf: Shelf) -> None:
    shelf.photo("a.png")
    shelf.index(regions="none")
    assert len(shelf.regions("a.png")) == 1
    assert shelf.index().unchanged == 1
    report = shelf.index(regions=2)
    assert (report.reembedded, len(shelf.regions("a.png"))) == (1, 3)
    shelf.photo("b.png", "blue")
    assert index(shelf.store, shelf.model).indexed == 1
    assert len(shelf.regions("b.png")) == 3
    assert shelf.index(regions="auto").reembedded == 2
    with pytest.raises(InputError, match=r"regions must be auto, none, or .*, not 'many'"):
        shelf.index(regions="many")


def test_copies_under_different_settings_do_not_take_turns(shelf: Shelf) -> None:
    shutil.copy(shelf.photo("x/a.png"), shelf.photo("y/a.png"))
    shelf.index(shelf.photos / "x", regions="none")
    shelf.index(shelf.photos / "y", regions=3)
    for _ in range(2):
        report = index(shelf.store, shelf.model)
        assert (report.unchanged, report.reembedded) == (2, 0)


def test_exclude_is_remembered_and_hides_what_was_indexed(shelf: Shelf) -> None:
    for name in ("a.png", "raw/b.png", "thumbs/c.png", "raw/keep/d.png"):
        shelf.photo(name, "red", (10 + len(name), 10))
    assert shelf.index().indexed == 4
    assert shelf.index(exclude=["thumbs", "raw/*.png"]).missing == 3
    assert index(shelf.store, shelf.model).unchanged == 1


@pytest.mark.parametrize("names", ["private", ".hidden", "kept/private/deep"])
def test_a_folder_that_is_left_out_above_and_then_named_stays(shelf: Shelf, names: str) -> None:
    shelf.photo("a.png", "red")
    shelf.photo(f"{names}/b.png", "blue")
    assert shelf.index(exclude=["private"]).indexed == 1
    assert shelf.index(shelf.photos / names).indexed == 1
    for report in (shelf.index(), shelf.index(exclude=["private"])):
        assert (report.unchanged, report.missing) == (2, 0)


def test_a_folder_inside_a_folder_keeps_its_own_exclude(shelf: Shelf) -> None:
    for name in ("a.png", "sub/b.png", "sub/c.png"):
        shelf.photo(name, "red", (10 + len(name), 10 + ord(name[-5])))
    shelf.index()
    assert shelf.index(shelf.photos / "sub", exclude=["c.*"]).missing == 1
    for _ in range(2):
        report = index(shelf.store, shelf.model)
        assert (report.unchanged, report.relinked, report.missing) == (2, 0, 0)
        assert shelf.index().unchanged == 2


def test_hidden_files_and_thumbnails_are_no_photos(shelf: Shelf) -> None:
    for name in (".a.png", "._b.png", ".hidden/c.png", "@eaDir/d.png", "notes.txt", "e.png"):
        path = shelf.photos / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (5, 5)).save(path, "PNG")
    assert shelf.index().indexed == 1


def test_links_in_circles_are_walked_once(shelf: Shelf) -> None:
    shelf.photo("z/a.png")
    (shelf.photos / "z" / "up").symlink_to(shelf.photos)
    (shelf.photos / "a_link").symlink_to(shelf.photos / "z")
    outside = shelf.folder / "outside"
    outside.mkdir()
    Image.new("RGB", (9, 9)).save(outside / "o.png")
    (outside / "back").symlink_to(outside)
    (shelf.photos / "out").symlink_to(outside)
    assert shelf.index(follow_links=True).indexed == 2
    assert sorted(shelf.files()) == ["a.png", "o.png"]
    with shelf.store.read() as snapshot:
        assert os.fsencode(shelf.photos / "z" / "a.png") in snapshot.files()


def test_names_in_no_encoding_are_indexed(shelf: Shelf) -> None:
    raw = os.fsencode(shelf.photos) + b"/caf\xe9 \xff\n.png"
    shelf.photo("a.png").rename(os.fsdecode(raw))
    with open(os.fsencode(shelf.photos) + b"/caf\xe9 \xff\n.txt", "w") as stream:
        stream.write("a red door")
    report = shelf.index()
    assert report.indexed == 1
    (caption,) = shelf.all_captions()
    assert (caption.path, caption.text) == (raw, "a red door")
    assert shelf.index().unchanged == 1


def test_bad_files_cost_themselves_alone_and_are_not_tried_again(shelf: Shelf) -> None:
    shelf.photo("good.png", "green")
    cut = shelf.photo("cut.jpg", "red", (400, 300), quality=90)
    cut.write_bytes(cut.read_bytes()[:-40])
    (shelf.photos / "empty.jpg").touch()
    (shelf.photos / "folder.jpg").mkdir()
    (shelf.photos / "link.png").symlink_to("nowhere.png")
    (shelf.photos / "text.webp").write_text("hello")
    os.mkfifo(shelf.photos / "pipe.tif")
    expected = {
        "cut.jpg": "cut off: the file ends before the picture does",
        "empty.jpg": "the file is empty (0 bytes)",
        "folder.jpg": "a folder, not a picture",
        "link.png": "a link that leads nowhere",
        "text.webp": "not a picture that virtue can read (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF, "
        "JPEG XL, RAW), "
        "or damaged",
        "pipe.tif": "not a regular file",
    }
    first = shelf.index()
    assert first.indexed == 1
    assert {Path(path.decode()).name: reason for path, reason in first.problems} == expected
    second = shelf.index()
    assert (second.problems, second.known_problems, second.unchanged) == ([], 6, 1)
    assert "6 known problems" in second.summary()
    with shelf.store.read() as snapshot:
        assert sorted(snapshot.problems()) == first.problems
    Image.new("RGB", (5, 5)).save(shelf.photos / "empty.jpg")
    assert shelf.index().indexed == 1
    (shelf.photos / "text.webp").unlink()
    assert shelf.index().known_problems == 4


def test_a_photo_that_breaks_is_a_problem_and_its_copies_too(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg", "red", (300, 200))
    path.write_bytes(path.read_bytes()[:-30])
    shutil.copy(path, shelf.photos / "b.jpg")
    assert len(shelf.index().problems) == 2


def test_what_the_model_cannot_take_costs_itself_alone(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    embed, scenes = ColourModel.embed, ColourModel.scenes

    def strict_embed(self: ColourModel, items: list) -> np.ndarray:
        if any(item.text and len(item.text) > 20 for item in items):
            raise InputError("the text is too long")
        return embed(self, items)

    def strict_scenes(self: ColourModel, pictures: list) -> list:
        if any(picture.width == 1 for picture in pictures):
            raise InputError("the picture is too small")
        return scenes(self, pictures)

    monkeypatch.setattr(ColourModel, "embed", strict_embed)
    monkeypatch.setattr(ColourModel, "scenes", strict_scenes)
    shelf.photo("a.png", "red")
    shelf.photo("b.png", "green")
    shelf.photo("tiny.png", "blue", (1, 1))
    (shelf.photos / "a.txt").write_text("red and " * 10)
    (shelf.photos / "b.txt").write_text("green")
    report = shelf.index()
    assert report.indexed == 2
    assert [(os.path.basename(path), why) for path, why in report.problems] == [
        (b"tiny.png", "the picture is too small")
    ]
    assert len(report.warnings) == 1 and "the text is too long" in report.warnings[0]
    with shelf.store.read() as snapshot:
        assert snapshot.counts().captions == 1


def test_another_model_needs_leave(shelf: Shelf) -> None:
    shelf.photo("a.png")
    shelf.index()
    shelf.model = ColourModel("colours-2")
    with pytest.raises(ModelMismatchError, match="another version of the model 'colours': reindex it"):
        shelf.index()


def test_an_empty_pattern_ends_what_was_left_out(shelf: Shelf) -> None:
    shelf.photo("a.png")
    shelf.photo("private/b.png", "blue")
    assert shelf.index(exclude=["private"]).indexed == 1
    assert shelf.index().unchanged == 1
    report = shelf.index(exclude=[""])
    assert (report.indexed, report.unchanged) == (1, 1)
    assert shelf.index().unchanged == 2
    assert shelf.index(exclude=["", "a.*"]).missing == 1


def test_rows_are_dropped_by_themselves_once_most_are_dead(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MIN_DEAD_ROWS", 4)
    shelf.photo("a.png", "red")
    shelf.photo("b.png", "blue")
    shelf.index(regions=0)
    for number in range(1, 6):
        shelf.photo("b.png", (number, 0, 255))
        shelf.index()
    with shelf.store.read() as snapshot:
        assert snapshot.row_count("regions") == 3
        assert snapshot.counts().regions == 2


def test_dead_rows_that_cannot_be_dropped_are_a_warning(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MIN_DEAD_ROWS", 1)
    shelf.photo("a.png", "red")
    shelf.index(regions=0)
    for number in range(3):
        shelf.photo("a.png", (number, 0, 255))
        shelf.index()
    rows = next(shelf.store.folder.glob("regions-*.f16"))
    sound = rows.read_bytes()
    rows.write_bytes(b"\0" * len(sound))
    shelf.photo("a.png", (9, 0, 255))
    report = shelf.index()
    assert report.reembedded == 1
    assert len(report.warnings) == 1 and "verify the library, with repair" in report.warnings[0]
    with shelf.store.write("test") as writer:
        writer.repair()
    assert shelf.index().problems == []


def test_a_second_writer_is_told_who_is_at_work(shelf: Shelf) -> None:
    shelf.photo("a.png")
    with shelf.store.write("virtue forget"), pytest.raises(LockedError, match="virtue forget"):
        shelf.index()


def test_progress_is_told(shelf: Shelf) -> None:
    for number in range(5):
        shelf.photo(f"{number}.png", "red", (10 + number, 10))
    (shelf.photos / "bad.png").write_text("x")
    told: list[Progress] = []
    shelf.index(progress=told.append)
    assert [p.done for p in told if p.stage == "walking"] == [0, 6], "at each folder, and at the end"
    last = told[-1]
    assert (last.stage, last.done, last.total, last.problems) == ("indexing", 6, 6, 1)


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path.insert(0, {tests!r})
from tests.indexer.colours import ColourModel
from virtue.indexer import index
from virtue.store import Store, open_store

class Slow(ColourModel):
    def scenes(self, pictures):
        time.sleep(0.2 * len(pictures))
        return super().scenes(pictures)

with open_store({library!r}) as store:
    def told(progress):
        if progress.stage == "indexing":
            print(progress.done, flush=True)

    index(store, Slow(), [{photos!r}], workers=2, progress=told)
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_is_done(shelf: Shelf, stop: signal.Signals) -> None:
    for number in range(60):
        shelf.photo(f"{number}.png", "red", (10 + number, 10))
    script = SLOW.format(
        tests=str(Path(__file__).parents[2]), library=str(shelf.store.folder), photos=str(shelf.photos)
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if int(line) >= 20:
            break
    process.send_signal(stop)
    process.communicate()
    assert process.returncode == {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 128 + signal.SIGTERM}[stop]
    kept = sum(state.hash is not None for state in shelf.files().values())
    assert 8 <= kept < 60
    report = shelf.index()
    assert report.unchanged == kept
    assert report.indexed == 60 - kept


def test_workers_end_when_their_parent_is_killed(shelf: Shelf) -> None:
    for number in range(60):
        shelf.photo(f"{number}.png", "red", (10 + number, 10))
    script = SLOW.format(
        tests=str(Path(__file__).parents[2]), library=str(shelf.store.folder), photos=str(shelf.photos)
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    next(line for line in process.stdout if int(line) >= 2)
    children = [int(pid) for pid in children_of(process.pid)]
    assert len(children) == 2
    process.kill()
    process.communicate()
    while any(is_running(child) for child in children):
        time.sleep(0.05)
    shelf.index()
    assert shelf.index().unchanged == 60


def children_of(pid: int) -> list[str]:
    found: list[str] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread may end meanwhile
            found += (thread / "children").read_text().split()
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_reading_a_library_while_it_is_indexed_shows_the_last_commit(shelf: Shelf) -> None:
    shelf.photo("a.png")
    shelf.index()
    shelf.photo("b.png", "blue")
    with shelf.store.read() as before:
        shelf.index()
        assert before.counts().photos == 1
    with open_store(shelf.store.folder) as other, other.read() as after:
        assert after.counts().photos == 2


def test_a_model_that_runs_in_several_threads_gives_the_same(shelf: Shelf) -> None:
    class ThreadedModel(ColourModel):
        concurrent_calls = 3

    for number in range(50):
        shelf.photo(f"{number}.png", (number * 5, 100, 0), (10 + number, 10))
    shelf.index()
    expected = {path: state.hash for path, state in shelf.files().items()}
    with shelf.store.read() as snapshot:
        rows = np.sort(every_vector(snapshot, "regions"), axis=0)
    with open_store(shelf.folder / "other", create=True) as other:
        assert index(other, ThreadedModel(), shelf.photos, workers=2).indexed == 50
        with other.read() as snapshot:
            found = snapshot.files()
            assert (np.sort(every_vector(snapshot, "regions"), axis=0) == rows).all()
    assert {Path(path.decode()).name: state.hash for path, state in found.items()} == expected


def test_an_edit_that_keeps_size_and_time_is_seen(shelf: Shelf) -> None:
    """As `exiftool -P` and digiKam write metadata: a file in place of the old one, or in it."""
    path = shelf.photo("a.bmp", "red")
    shelf.index()
    for colour, in_place in (("blue", False), ("green", True)):
        before = path.stat()
        content = shelf.photo("b.bmp", colour).read_bytes()
        (shelf.photos / "b.bmp").unlink()
        if in_place:
            path.write_bytes(content)
        else:
            (shelf.photos / "new").write_bytes(content)
            os.replace(shelf.photos / "new", path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        assert shelf.index().reembedded == 1
        assert shelf.index().unchanged == 1


def test_rights_that_change_have_a_file_hashed_and_no_more(shelf: Shelf) -> None:
    path = shelf.photo("a.png")
    shelf.index()
    path.chmod(0o600)
    report = shelf.index()
    assert (report.unchanged, report.reembedded) == (1, 0)


def test_files_of_which_an_older_version_knew_less_are_not_opened(shelf: Shelf) -> None:
    path = shelf.photo("a.png")
    shelf.index()
    with shelf.store.read() as snapshot:
        ((known, state),) = snapshot.files().items()
    with shelf.store.write("an older version") as writer:
        writer.commit(files=[FileRecord(known, state.size, state.mtime_ns, state.sidecar, state.hash)])
    path.chmod(0o600)
    assert shelf.index().unchanged == 1
    with shelf.store.read() as snapshot:
        assert snapshot.files()[known].ctime_ns == path.stat().st_ctime_ns
