"""The HTML report, read as a browser reads it."""

from __future__ import annotations

import base64
import io
import os
import shlex
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.retrieval.conftest import Fill, Painted
from virtue import Box, Embedder, Hit, Query
from virtue.display.html_report import write_report
from virtue.display.shell import search_command
from virtue.errors import InputError
from virtue.retrieval import search

VOID = {"meta", "img", "rect", "br"}
NASTY = '<script>alert(1)</script> & "a mug" \' x.png'.replace("/", "")


class Page(HTMLParser):
    """Every element with its attributes and the text inside it; checks that tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def report(folder: Path, query: Query, hits: list[Hit]) -> Page:
    write_report(folder / "report.html", query, hits)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def pixels(image: dict[str, str]) -> np.ndarray:
    head, data = image["src"].split(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def test_hits_are_shown_with_their_boxes_and_a_command(
    fill: Fill, embedder: Embedder, tmp_path: Path
) -> None:
    store = fill(
        Painted("mug.png", "white", [("red", (20, 15, 40, 30))], ["a mug of tea"]), Painted("sea.png", "blue")
    )
    page = report(tmp_path, Query.of("red"), search(store, embedder, "red"))
    images = page.all("img")
    assert len(images) == 2
    assert pixels(images[0]).shape == (60, 80, 3)
    assert images[0]["alt"] == "Hit 1: mug.png, 20,15,20,15 marked"
    where = [tuple(float(rect[key]) for key in ("x", "y", "width", "height")) for rect in page.all("rect")]
    assert where == [(25, 25, 25, 25)] * 2 + [(0, 0, 100, 100)] * 2
    assert page.text_of("h1") == ['"red"']
    assert page.text_of("a") == ["mug.png", "sea.png"]
    commands = [shlex.split(text) for text in page.text_of("code")]
    assert commands[0] == ["virtue", "search", "--box", "20,15,20,15", str(tmp_path / "mug.png")]
    assert commands[1] == ["virtue", "search", str(tmp_path / "sea.png")]
    assert "a mug of tea" in page.text_of("p")


def test_a_library_that_is_not_found_by_itself_is_named_in_the_commands(
    fill: Fill, embedder: Embedder, tmp_path: Path
) -> None:
    hits = search(fill(Painted("a.png")), embedder, "red")
    write_report(tmp_path / "report.html", Query.of("red"), hits, database=tmp_path / "my library")
    (command,) = Page((tmp_path / "report.html").read_text()).text_of("code")
    assert shlex.split(command)[2:4] == ["--database", str(tmp_path / "my library")]


def test_it_stands_alone(fill: Fill, embedder: Embedder, tmp_path: Path) -> None:
    page = report(tmp_path, Query.of("red"), search(fill(Painted("a.png")), embedder, "red"))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert all(anchor["href"].startswith(("#", "file:///")) for anchor in page.all("a"))
    (policy,) = [meta["content"] for meta in page.all("meta") if "content" in meta and "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in page.text_of("style")[0]
    targets = {anchor["href"] for anchor in page.all("a") if anchor["href"].startswith("#hit")}
    assert targets == {"#" + attributes["id"] for _, attributes in page.elements if "id" in attributes}


def test_the_query_is_shown_with_what_was_drawn_on_it(tmp_path: Path) -> None:
    image = Image.new("RGB", (200, 100), (90, 90, 90))
    mask = np.zeros((100, 200), bool)
    mask[:, 100:] = True
    boxed = {"image": image, "box": (20, 20, 80, 80)}
    (shown,) = report(tmp_path, Query.of(boxed), []).all("img")
    drawn = pixels(shown)
    assert shown["alt"] == "Asked for: an image@20,20,60,60"
    assert np.abs(drawn[50, 50] - 90).max() < 12
    assert np.abs(drawn[90, 150] - 90).max() < 12
    assert drawn[50, 20:26, 0].max() > 180, "a bright line runs down the left edge"
    (shown,) = report(tmp_path, Query.of({"image": image, "points": [(40, 50, 1), (150, 50, 0)]}), []).all(
        "img"
    )
    positive, negative = pixels(shown)[50, 40], pixels(shown)[50, 150]
    assert positive[1] > positive[0] + 60 and negative[0] > negative[1] + 60, "green for yes, red for no"
    (shown,) = report(tmp_path, Query.of({"image": image, "mask": mask}), []).all("img")
    assert pixels(shown)[50, 50].mean() < 70 < pixels(shown)[50, 150].mean()


def test_several_images_are_named_and_those_left_out_too(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    image = tmp_path / "red.png"
    page = report(tmp_path, Query.of([image, "a mug"], without=image), [])
    assert page.text_of("figcaption") == ["red.png", "without red.png"]
    assert [figure["class"] for figure in page.all("figure")] == ["", "without"]
    assert page.text_of("h1") == ['red.png + "a mug" - red.png']


def test_names_and_captions_are_text_never_markup(fill: Fill, embedder: Embedder, tmp_path: Path) -> None:
    store = fill(Painted(NASTY, "red", captions=[NASTY, "{title}"]))
    page = report(tmp_path, Query.of(NASTY + " red"), search(store, embedder, "red"))
    assert not page.all("script")
    assert page.text_of("h1") == [f'"{NASTY} red"']
    assert NASTY in page.text_of("p") and NASTY in page.text_of("a")
    (command,) = page.text_of("code")
    assert shlex.split(command)[-1] == str(tmp_path / NASTY)


@pytest.mark.parametrize("name", [b"caf\xe9 \xff.png", b"two\nlines'\\.png", b"-n.png"])
def test_names_in_no_encoding_are_shown_and_their_command_works(
    fill: Fill, embedder: Embedder, tmp_path: Path, name: bytes
) -> None:
    hits = search(fill(Painted(name, "red")), embedder, "red")
    page = report(tmp_path, Query.of("red"), hits)
    (command,) = page.text_of("code")
    said = subprocess.run(
        ["bash", "-c", 'virtue() { printf %s "${@: -1}"; }; ' + command], capture_output=True, check=True
    )
    assert said.stdout == os.fsencode(tmp_path) + b"/" + name
    assert len(page.all("img")) == 1


def test_a_photo_that_is_gone_costs_its_picture_alone(fill: Fill, embedder: Embedder, tmp_path: Path) -> None:
    store = fill(Painted("here.png", "red"), Painted("gone.png", "red"), Painted("broken.png", "red"))
    hits = search(store, embedder, "red")
    (tmp_path / "gone.png").unlink()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page = report(tmp_path, Query.of("red"), hits)
    assert len(page.all("img")) == 1
    assert page.text_of("strong") == ["No picture"] * 2
    texts = page.text_of("p")
    assert "there is no such file" in texts
    assert any("not a picture" in text for text in texts)
    assert len(page.text_of("code")) == 3


def test_a_query_image_that_is_gone_costs_its_picture_alone(tmp_path: Path) -> None:
    page = report(tmp_path, Query.of(tmp_path / "gone.png"), [])
    assert any("there is no such file" in text for text in page.text_of("div"))
    assert page.text_of("p")[1:] == ["nothing found", "Nothing was found."]


def test_photos_say_how_they_were_found(fill: Fill, embedder: Embedder, tmp_path: Path) -> None:
    store = fill(Painted("a.png", "green", captions=["red"]), *[Painted(f"{i}.png", "red") for i in range(3)])
    hits = search(store, embedder, "red", find="photos", top=3)
    page = report(tmp_path, Query.of("red"), hits)
    assert page.text_of("p").count("found by its caption") == 1  # the red ones are found by their pictures
    assert "3 photos · scores" in page.text_of("p")[1]


def test_a_photo_is_shown_with_the_region_that_won(fill: Fill, embedder: Embedder, tmp_path: Path) -> None:
    store = fill(Painted("mug.png", "white", [("red", (20, 15, 40, 30))]))
    page = report(tmp_path, Query.of("red"), search(store, embedder, "red", find="photos"))
    assert page.all("img")[0]["alt"] == "Hit 1: mug.png, 20,15,20,15 marked"
    assert page.text_of("code")[0].split()[2:4] == ["--box", "20,15,20,15"]


def test_a_path_is_never_taken_for_an_option() -> None:
    assert search_command(Box(1, 2, 3.5, 4), b"-n.png") == "virtue search --box 1,2,2.5,2 ./-n.png"


def test_a_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/report\.html"):
        write_report(tmp_path / "nowhere" / "report.html", Query.of("red"), [])


def test_large_photos_are_shown_small(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1500), "red").save(tmp_path / "large.jpg")
    found = Hit(
        1, 0.5, bytes(tmp_path / "large.jpg"), Box(0, 0, 3000, 1500), 3000, 1500, "photo", None, 1, None, 1
    )
    page = report(tmp_path, Query.of("red"), [found])
    assert pixels(page.all("img")[0]).shape == (240, 480, 3)
    assert (tmp_path / "report.html").stat().st_size < 20_000


def a_hit(folder: Path, size: tuple[int, int], box: Box, **more: Any) -> Hit:
    """A hit in a white photo whose box is red."""
    image = Image.new("RGB", size, "white")
    image.paste((255, 0, 0), tuple(map(int, box.corners)))
    image.save(folder / "photo.png")
    return Hit(1, 0.5, bytes(folder / "photo.png"), box, *size, "region", None, 1, box, 1, **more)


@pytest.mark.parametrize(
    ("size", "box", "shape"),
    [
        ((1000, 800), Box(700, 100, 760, 160), (180, 180)),  # small
        ((3000, 400), Box(2000, 100, 2200, 300), (320, 480)),  # in a long photo; 600 x 400 of it
        ((1000, 800), Box(990, 790, 1000, 800), (30, 30)),  # in a corner
    ],
)
def test_a_small_region_or_one_of_a_long_photo_is_shown_with_its_surroundings(
    tmp_path: Path, size: tuple[int, int], box: Box, shape: tuple[int, int]
) -> None:
    page = report(tmp_path, Query.of("red"), [a_hit(tmp_path, size, box)])
    (image,) = page.all("img")
    shown = pixels(image)
    assert shown.shape == (*shape, 3)
    x, y, w, h = (float(page.all("rect")[0][key]) / 100 for key in ("x", "y", "width", "height"))
    rows, columns = shape
    inside = shown[round(y * rows) : round((y + h) * rows), round(x * columns) : round((x + w) * columns)]
    assert (inside[2:-2, 2:-2, 1] < 60).all(), "the frame is where the region is"
    assert (shown[..., 1] < 100).mean() == pytest.approx(w * h, rel=0.2)
    assert any("only its surroundings are shown" in text for text in page.text_of("p"))


def test_a_large_region_is_shown_in_the_whole_photo(tmp_path: Path) -> None:
    page = report(tmp_path, Query.of("red"), [a_hit(tmp_path, (400, 300), Box(100, 75, 300, 225))])
    assert pixels(page.all("img")[0]).shape == (300, 400, 3)
    assert not any("surroundings" in text for text in page.text_of("p"))


def test_it_says_how_sure_hits_are_and_what_that_means(tmp_path: Path) -> None:
    hit = a_hit(tmp_path, (400, 300), Box(100, 75, 300, 225), percentile=95.0, raw_copies=(b"/a/b.png",))
    page = report(tmp_path, Query.of("red"), [hit])
    assert page.text_of("em") == ["likely", "likely", "possible", "unsure"]
    assert "and 1 copy" in page.text_of("p")
    assert any("best hits of sample queries" in text for text in page.text_of("footer"))
    (name,) = [each for each in page.all("a") if each["href"].startswith("file://")]
    assert name["href"] == f"file://{tmp_path}/photo.png"
    unmeasured = report(tmp_path, Query.of("red"), [a_hit(tmp_path, (400, 300), Box(1, 1, 300, 225))])
    assert unmeasured.text_of("em") == []
