"""Text that was read in photos: found by meaning and letter for letter, shown with its box, and no flood."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.conftest import Run
from virtue import Box, Hit, Library

PAGE = """
Chapter seven of the travel book is about
the island of Lanzarote and its harbour where
a dog sleeps under the table of an inn while
the fishermen mend their nets until evening
and nobody hurries for any reason at all
as the ferry to Fuerteventura left at 14:35
""".strip().splitlines()


def write(path: Path, *lines: str, size: int = 44, ground: str = "#dde3e8") -> None:
    """A picture of 900 x 700 pixels, with lines from 60, 80 on."""
    picture = Image.new("RGB", (900, 700), ground)
    for place, line in enumerate(lines):
        at = (60, 80 + round(2.2 * size * place))
        ImageDraw.Draw(picture).text(at, line, "black", ImageFont.load_default(size))
    picture.save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """Photos without text, pictures of text, and their library; another one in which none was read."""
    folder = tmp_path_factory.mktemp("read")
    photos = Path(shutil.copytree(example_photos, folder / "photos", ignore=shutil.ignore_patterns("*.txt")))
    (photos / "dog.jpg").rename(photos / "b7.jpg")  # a name that says nothing
    write(photos / "sign.png", "NO PARKING", ground="#e8c020")
    write(photos / "lane.png", "Bus lane", "Monday to Friday")
    write(photos / "page.png", *PAGE, size=32, ground="white")
    write(photos / "shop.png", "Copy centre")
    write(photos / "yard.png", "TAXISTAND")
    write(photos / "stone.png", "Erected by Theodora Quillfeathar")
    write(photos / "receipt.png", "Supermarket Miller", "Bread 2.40", "Milk 1.15", "Invoice 88213")
    write(photos / "dull.png")
    (photos / "dull.txt").write_text("no parking")
    for library, ocr in (("library", True), ("unread", False)):
        with Library(folder / library) as made:
            made.index(photos, ocr=ocr)
    return folder


@pytest.fixture(scope="module")
def library(place: Path) -> Library:
    return Library(place / "library", read_only=True)


def name(hit: Hit) -> str:
    return Path(hit.path).name


@pytest.mark.parametrize(
    ("query", "photo", "line"),
    [
        ("Copy centre", "shop.png", "Copy centre"),
        ("centre", "shop.png", "Copy centre"),
        ("bus lane", "lane.png", "Bus lane"),
        ("the taxi stand", "yard.png", "TAXISTAND"),
        ("Lanzarote", "page.png", PAGE[1]),
        ("ferry to Fuerteventura", "page.png", PAGE[5]),
        ("invoice 88213", "receipt.png", "Invoice 88213"),
        ("88213", "receipt.png", "Invoice 88213"),
        ("quillfeather", "stone.png", "Erected by Theodora Quillfeathar"),  # as if it had been misread
        ("theodora quillfeather", "stone.png", "Erected by Theodora Quillfeathar"),
        ("miller", "receipt.png", "Supermarket Miller"),
    ],
)
def test_words_are_found_letter_for_letter(library: Library, query: str, photo: str, line: str) -> None:
    hit = library.search(query)[0]
    assert (name(hit), hit.via[0], hit.caption) == (photo, "ocr", line)


@pytest.mark.parametrize(
    ("query", "photo"),
    [
        ("a copy shop", "shop.png"),
        ("parking lot", "sign.png"),
        ("a lane for buses", "lane.png"),
    ],
)
def test_text_is_found_by_what_it_means(library: Library, query: str, photo: str) -> None:
    found = [hit for hit in library.search(query) if hit.via[0] == "ocr"]
    assert name(found[0]) == photo


def test_a_line_is_a_hit_with_its_own_box(library: Library) -> None:
    hit = library.search("invoice 88213")[0]
    assert hit.kind == "region"
    assert hit.region_box == hit.box and hit.region_id is None
    left, _, right, _ = ImageFont.load_default(44).getbbox("Invoice 88213")
    assert hit.box.iou(Box(60 + left, 80 + 291 + 6, 60 + right, 80 + 291 + 48)) > 0.6
    assert (hit.width, hit.height) == (900, 700)


def test_words_of_several_lines_find_the_photo(library: Library) -> None:
    hit = library.search("bread milk")[0]
    assert (name(hit), hit.via[0], hit.kind) == ("receipt.png", "ocr", "photo")
    assert hit.caption == "Supermarket Miller Bread 2.40 Milk 1.15 Invoice 88213"


def test_what_is_said_of_a_photo_goes_before_what_is_read_in_another(library: Library) -> None:
    first, second = library.search("no parking")[:2]
    assert (name(first), first.via[0], name(second), second.via[0]) == (
        "dull.png",
        "caption",
        "sign.png",
        "ocr",
    )
    assert first.score == pytest.approx(second.score, abs=1e-3)


def test_what_is_mentioned_in_passing_comes_behind_photos_that_show_it(library: Library) -> None:
    hits = library.search("a dog", top=30)
    assert (name(hits[0]), hits[0].via) == ("b7.jpg", ("picture",))
    page = next(hit for hit in hits if name(hit) == "page.png")
    assert page.via[0] == "ocr" and page.score < hits[0].score
    # One of many words is enough where nothing shows it.
    assert name(library.search("fishermen")[0]) == "page.png"


def test_photos_without_text_are_ordered_as_before(place: Path, library: Library) -> None:
    texts = {path.name for path in (place / "photos").glob("*.png")}
    with Library(place / "unread", read_only=True) as unread:
        for query in ("a dog", "a cat", "an astronaut", "flowers", "a street", "a rocket", "coffee", "coins"):
            found = [(name(hit), hit.score) for hit in library.search(query, top=40)]
            before = [(name(hit), hit.score) for hit in unread.search(query, top=40)]
            assert found[0] == before[0] and found[0][0] not in texts, query
            assert [hit for hit in found if hit[0] not in texts] == [
                hit for hit in before if hit[0] not in texts
            ], query


def test_captions_are_found_by_what_was_read_too(library: Library) -> None:
    hit = library.search("copy centre", find="captions")[0]
    assert (name(hit), hit.via, hit.caption, hit.kind) == ("shop.png", ("ocr",), "Copy centre", "caption")
    assert hit.box.area < 900 * 700 / 10


def test_more_like_a_line_is_more_like_its_photo(library: Library) -> None:
    hit = library.search("bus lane")[0]
    assert [name(other) for other in library.search(hit, top=40)].count("lane.png") == 0


def test_the_command_line_shows_lines(place: Path, virtue: Run, tmp_path: Path) -> None:
    library = place / "library"
    done = virtue("search", "copy centre", "--database", library, "--top", 1, "--json")
    (found,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (found["via"][0], found["caption"], found["region_id"]) == ("ocr", "Copy centre", None)
    assert found["box"] == found["region_box"] and found["kind"] == "region"
    x, y, w, h = found["box"]
    plain = virtue("search", "copy centre", "--database", library, "--top", 1).stdout.decode().split("\t")
    assert plain[3] == f"{x:.0f},{y:.0f},{w:.0f},{h:.0f}" and plain[5].strip() == "Copy centre"
    report = tmp_path / "report.html"
    assert (
        virtue("search", "copy centre", "--database", library, "--top", 1, "--html", report).returncode == 0
    )
    page = report.read_text()
    assert "Copy centre" in page and "found by text in it" in page
    again = virtue("search", "--like", "@1", "--database", library, "--top", 1, "--json")
    assert again.returncode == 0
    seen = virtue("search", "copy centre", "--database", library, "--top", 1, "--preview")
    assert seen.returncode == 0 and b"Copy centre" in seen.stdout
