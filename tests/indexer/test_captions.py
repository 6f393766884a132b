"""Captions beside photos, inside them and in files, and what becomes of them when they change."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.indexer.shelf import Shelf
from virtue.errors import InputError
from virtue.indexer import index
from virtue.indexer.captions import read_captions
from virtue.indexer.sidecar import read_sidecar


def test_sidecars_are_captions_and_the_longer_name_wins(shelf: Shelf) -> None:
    shelf.photo("a.jpg")
    shelf.photo("b.png", "blue")
    (shelf.photos / "a.txt").write_text("a red wall\n")
    (shelf.photos / "a.jpg.txt").write_text("the door\n  of a barn")
    (shelf.photos / "b.txt").write_text("the sea")
    shelf.index()
    assert shelf.captions() == {("a.jpg", "sidecar", "the door of a barn"), ("b.png", "sidecar", "the sea")}
    assert all(caption.box is None for caption in shelf.all_captions())


def test_a_changed_sidecar_embeds_its_caption_and_not_the_photo(shelf: Shelf) -> None:
    shelf.photo("a.jpg", exif=exif(description="a note inside"))
    sidecar = shelf.photos / "a.txt"
    sidecar.write_text("red")
    shelf.index()
    rows = [region.row for region in shelf.regions("a.jpg")]
    sidecar.write_text("quite blue")
    report = shelf.index()
    assert (report.recaptioned, report.unchanged, report.reembedded) == (1, 0, 0)
    assert (shelf.model.pictures, shelf.model.texts) == (0, ["quite blue"])
    assert shelf.captions() == {
        ("a.jpg", "sidecar", "quite blue"),
        ("a.jpg", "metadata", "a note inside"),
    }
    assert [region.row for region in shelf.regions("a.jpg")] == rows
    sidecar.unlink()
    assert shelf.index().recaptioned == 1
    assert shelf.captions() == {("a.jpg", "metadata", "a note inside")}
    assert shelf.index().unchanged == 1


def exif(description: str) -> object:
    from PIL import Image

    made = Image.Exif()
    made[0x010E] = description
    return made


def test_copies_share_all_their_sidecars(shelf: Shelf) -> None:
    first = shelf.photo("a.jpg")
    (shelf.photos / "a.txt").write_text("one")
    shelf.index()
    shutil.copy(first, shelf.photos / "b.jpg")
    (shelf.photos / "b.txt").write_text("two")
    report = shelf.index()
    assert (report.relinked, report.recaptioned, shelf.model.pictures) == (1, 1, 0)
    assert {text for _, _, text in shelf.captions()} == {"one", "two"}
    assert shelf.index().unchanged == 2


def test_an_unreadable_sidecar_is_told_and_costs_itself(shelf: Shelf) -> None:
    shelf.photo("a.jpg")
    (shelf.photos / "a.txt").write_text("x" * 200_000)
    report = shelf.index()
    assert report.indexed == 1
    assert "a.txt: more than 100,000 bytes: not used as a caption" in report.warnings[0]
    assert shelf.captions() == set()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Grüße".encode(), "Grüße"),
        (b"\xef\xbb\xbfbom", "bom"),
        ("Grüße".encode("latin-1"), "Grüße"),
        ("Grüße".encode("utf-16"), "Grüße"),
        (b"  \n ", None),
        (b"a\0b\r\nc", "a b c"),
    ],
)
def test_sidecars_in_any_encoding(tmp_path: Path, content: bytes, text: str | None) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read_sidecar(os.fsencode(path)) == text


@given(st.binary(max_size=200))
def test_any_bytes_are_a_caption_or_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    text = read_sidecar(os.fsencode(path))
    assert text is None or text.encode("utf-8").strip()


@pytest.mark.parametrize(
    "labels", ["0 0.5 0.5 0.1 0.1\n", "12 0.1 0.2 0.3 0.4 0.9\r\n0 .5 .5 1e-3 1\n", "3\t1\t2\t3\t4", "\n \n"]
)
def test_labels_of_a_detector_are_no_caption(tmp_path: Path, labels: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(labels)
    assert read_sidecar(os.fsencode(path)) is None
    path.write_text(f"{labels}\na red barn")
    assert (read_sidecar(os.fsencode(path)) or "").endswith("a red barn")


@pytest.mark.parametrize("name", ["a.TXT", "a.jpg.TXT", "a.txt"])
def test_a_text_beside_a_photo_may_be_in_capitals(shelf: Shelf, name: str) -> None:
    shelf.photo("a.jpg")
    (shelf.photos / name).write_text("a red wall")
    shelf.index()
    assert [text for _, _, text in shelf.captions()] == ["a red wall"]
    (shelf.photos / name).write_text("a blue wall, painted anew")
    shelf.index()
    assert [text for _, _, text in shelf.captions()] == ["a blue wall, painted anew"]


def test_bins_and_bundles_of_other_programs_are_passed_by(shelf: Shelf) -> None:
    shelf.photo("a.jpg")
    for n, folder in enumerate(
        ("#recycle", "$RECYCLE.BIN/S-1-5", "Fotos.photoslibrary/originals", ".Trash-1000")
    ):
        shelf.photo(f"{folder}/{n}.jpg", "blue")
    report = shelf.index()
    assert (report.indexed, report.problems) == (1, [])
    assert index(shelf.store, shelf.model, shelf.photos / "Fotos.photoslibrary").indexed == 1


def test_captions_of_a_file_belong_to_photos_and_boxes(shelf: Shelf) -> None:
    shelf.photo("a.jpg")
    shelf.photo("sub/b.png", "blue")
    file = shelf.photos / "captions.csv"
    file.write_text(
        "path,caption,x,y,w,h\n"
        'a.jpg,"a wall, red",,,,\n'
        "a.jpg,the handle,10,20,30,15.5\n"
        "a.jpg,the handle of brass,10,20,30,15.5\n"
        f"{shelf.photos}/sub/b.png,water,,,,\n"
    )
    report = shelf.index(regions="none", captions=file)
    assert report.warnings == []
    found = {(c.text, c.box.xywh if c.box else None, c.source) for c in shelf.all_captions()}
    assert found == {
        ("a wall, red", None, "file"),
        ("the handle", (10, 20, 30, 15.5), "file"),
        ("the handle of brass", (10, 20, 30, 15.5), "file"),
        ("water", None, "file"),
    }
    assert [region.origin for region in shelf.regions("a.jpg")] == ["whole", "annotation"]
    assert shelf.index(captions=file).unchanged == 2
    assert index(shelf.store, shelf.model).unchanged == 2


def test_given_captions_survive_other_settings_edits_and_models(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg")
    file = shelf.folder / "captions.jsonl"
    file.write_text(json.dumps({"path": str(path), "caption": "grandma", "x": 1, "y": 2, "w": 3, "h": 4}))
    shelf.index(captions=file, regions="none")
    expected = [("grandma", (1, 2, 3, 4))]

    def told() -> list:
        return [(c.text, c.box.xywh) for c in shelf.all_captions()]

    assert told() == expected
    shelf.index(regions=2)
    assert told() == expected
    shelf.photo("a.jpg", "blue")
    shelf.index()
    assert told() == expected
    shelf.model = type(shelf.model)("colours-2")
    index(shelf.store, shelf.model, reembed=True)
    assert told() == expected
    file.write_text(json.dumps({"path": str(path), "caption": "grandpa"}))
    assert shelf.index(captions=file).reembedded == 1
    assert [(c.text, c.box) for c in shelf.all_captions()] == [("grandpa", None)]


def test_what_does_not_fit_is_told_and_costs_itself(shelf: Shelf) -> None:
    shelf.photo("a.jpg")
    file = shelf.photos / "captions.csv"
    file.write_text("a.jpg,good\na.jpg,outside,70,0,40,10\nnowhere.jpg,lost\n")
    report = shelf.index(captions=file)
    assert [text for _, _, text in shelf.captions()] == ["good"]
    assert "1 of 2 names are not" in report.warnings[0] and "nowhere.jpg" in report.warnings[0]
    assert "captions.csv, line 2: box x,y,w,h = 70,0,40,10 leaves the picture" in report.warnings[1]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a.jpg\n", "there is no caption for a.jpg"),
        (",x\n", "there is no path"),
        ("a.jpg,y,1,2\n", "a box needs four numbers"),
        ("a.jpg,x,1,2,3,four\n", "a box needs four numbers"),
        ("a.jpg,x,,,,,y\n", "7 values for the columns path,caption,x,y,w,h: put a caption that holds commas"),
        ('{"path"\n', "not JSON"),
        ("[1]\n", "not an object"),
        ('{"path": "a.jpg", "caption": "x", "x": 1}\n', "a box needs four numbers"),
        ('{"path": "a.jpg", "caption": 5}\n', "there is no caption"),
    ],
)
def test_a_malformed_line_is_named_and_costs_itself(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "captions"
    sound = '{"path": "a.jpg", "caption": "x"}\n' if line[0] in "{[" else "a.jpg,x\n"
    path.write_text(sound + line + sound)
    captions, faults = read_captions(path)
    assert [entry.caption for entry in captions["a.jpg"].lines] == ["x", "x"]
    assert len(faults) == 1 and f"captions, line 2: {fault}" in faults[0] and faults[0].endswith("left out")
    path.write_text(line * 2)
    with pytest.raises(InputError, match="captions, line 1: " + re.escape(fault)):
        read_captions(path)


@pytest.mark.parametrize(
    ("encoding", "newline", "between"),
    [
        ("cp1252", "\r\n", ","),
        ("cp1252", "\r\n", ";"),
        ("utf-8-sig", "\r\n", ";"),
        ("utf-8", "\n", "\t"),
        ("utf-16", "\r\n", "\t"),
        ("utf-16", "\n", ";"),
        ("mac", "\r", ","),
    ],
)
def test_captions_as_spreadsheets_save_them(shelf: Shelf, encoding: str, newline: str, between: str) -> None:
    shelf.photo("Köln.jpg")
    rows = [
        ["Path", "Caption", "x", "y", "w", "h"],
        ["Köln.jpg", "Grüße; aus, Köln", "1,5", "2", "10,5", "4"],
    ]
    if encoding == "mac":
        encoding, rows = "utf-8", [["path", "caption"], ["Köln.jpg", "Grüße; aus, Köln"]]
    elif between == ",":
        rows = [[value.replace(",5", ".5") for value in row] for row in rows]
    lines = [between.join(f'"{value}"' for value in row) for row in rows]
    file = shelf.folder / "captions.csv"
    file.write_bytes((newline.join(lines) + newline).encode(encoding))
    report = shelf.index(captions=file, regions="none")
    (caption,) = shelf.all_captions()
    assert caption.text == "Grüße; aus, Köln"
    if len(rows[0]) == 6:
        assert caption.box is not None and caption.box.xywh == (1.5, 2, 10.5, 4)
    told = (
        [f"{file}: 1 captions are not UTF-8, and were read as Windows-1252"] if encoding == "cp1252" else []
    )
    assert report.warnings == told


def test_a_file_of_captions_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: No such file or directory: name a file of captions"):
        read_captions(tmp_path / "none.csv")


def test_duplicates_with_captions_of_their_own_keep_all_of_them(shelf: Shelf) -> None:
    shutil.copy(shelf.photo("a.jpg"), shelf.photos / "b.jpg")
    file = shelf.photos / "captions.csv"
    file.write_text("a.jpg,first\nb.jpg,second\n")
    for _ in range(2):
        shelf.index(captions=file)
    assert {text for _, _, text in shelf.captions()} == {"first", "second"}
    assert shelf.index(captions=file).unchanged == 2


@pytest.mark.parametrize(
    "content",
    [
        "path,caption\na.jpg," + "x" * 2_000_000,
        '{"path": "a.jpg", "caption": "a"}\n{"path": "' + "x" * 2_000_000 + '"}\n',
        "path,caption\n" + '"\n",' * 300_000,
        "path,caption\n" + "," * 2_000_000,
    ],
    ids=["a long line", "a long object", "quotes over lines", "commas"],
)
def test_an_entry_without_end_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "captions").write_text(content)
    with pytest.raises(InputError, match="an entry of more than 1,000,000 characters"):
        read_captions(tmp_path / "captions")


def test_many_long_entries_are_read(tmp_path: Path) -> None:
    lines = ["path,caption", *(f'a.jpg,"{n} {"x" * 90_000}\ny"' for n in range(30))]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    (tmp_path / "captions.jsonl").write_text(
        "\n".join(json.dumps({"path": "a.jpg", "caption": f"{n} " + "x" * 90_000}) for n in range(30))
    )
    for name in ("captions.csv", "captions.jsonl"):
        assert len(read_captions(tmp_path / name)[0]["a.jpg"].lines) == 30


def test_the_first_of_too_many_captions_of_a_photo_are_used(tmp_path: Path) -> None:
    rows = "".join(f"a.jpg,text {n},{n / 1000},0,1,1\n" for n in range(10_001))
    (tmp_path / "captions.csv").write_text("path,caption,x,y,w,h\n" + rows)
    fitted = read_captions(tmp_path / "captions.csv")[0]["a.jpg"].fit(100, 80)
    assert len(fitted.captions) == len(fitted.regions) == 10_000
    assert "the first 10,000 captions of a photo are used, of 10,001" in fitted.faults[0]
