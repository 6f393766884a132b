"""A hand on a picture: given in every way, drawn on with mouse, finger and keys, and found again."""

import base64
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, expect

from tests.conftest import EXAMPLES
from tests.embedder.virtue_model.checkpoints import own_folder
from tests.service.serving import serve
from virtue import Library

Visit = Callable[..., Page]

GABLE = EXAMPLES / "query" / "gable.jpg"

GIVE = """([base64, name, kind, way]) => {
  const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, {type: kind}));
  const event = way === "paste" ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
    : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
  document.body.dispatchEvent(event);
}"""


def give(page: Page, file: Path, way: str) -> None:
    """Drops or pastes a file, as a browser tells a page of it."""
    kind = "image/png" if file.suffix == ".png" else "image/jpeg"
    page.evaluate(GIVE, [base64.b64encode(file.read_bytes()).decode(), file.name, kind, way])


def choose(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search with a picture").click()
    chooser.value.set_files(file)


def at(surface: Locator, x: float, y: float) -> tuple[float, float]:
    """A place on the screen, from fractions of the picture."""
    frame = surface.bounding_box()
    assert frame
    return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]


def drag(page: Page, surface: Locator, *places: tuple[float, float]) -> None:
    page.mouse.move(*at(surface, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(surface, *place), steps=3)
    page.mouse.up()


def box_in(page: Page) -> list[float]:
    page.wait_for_function("/[?&]box=/.test(location.href)")
    found = re.search(r"[?&]box=([^&]+)", page.evaluate("location.href").replace("%2C", ","))
    assert found
    return [float(value) for value in found[1].split(",")]


def size_of(box: list[float]) -> re.Pattern[str]:
    """The size of a box, as the page tells it."""
    return re.compile(rf"\b{round(box[2])} . {round(box[3])}\b")


def first_answer(page: Page) -> Locator:
    return page.get_by_role("region", name="Answers").get_by_role("link").first


@pytest.fixture
def stage(visit: Visit) -> Page:
    """The page with a picture on its stage."""
    page = visit()
    choose(page, GABLE)
    expect(page.locator(".stage-surface")).to_be_visible()
    expect(page.locator(".answers .tile").first).to_be_visible()
    return page


def test_a_box_is_drawn_and_found(stage: Page) -> None:
    surface = stage.locator(".stage-surface")
    with Image.open(GABLE) as image:
        width, height = image.size
    corner, end = (250 / width, 160 / height), (440 / width, 350 / height)
    with stage.expect_response(lambda answer: "/v1/segment" in answer.url) as seen:
        drag(stage, surface, corner, end)
    expect(first_answer(stage)).to_have_attribute("aria-label", re.compile(r"street\.jpg, likely"))
    assert box_in(stage) == pytest.approx([250, 160, 190, 190], abs=4)
    # What the model sees is drawn: some of the canvas, in the box.
    assert seen.value.json()["kind"] == "cells"
    drawn = stage.locator("canvas.seen").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter(v => v).length"
    )
    assert drawn > 0

    # Moved by its middle, resized by a handle, and back by undo.
    before = box_in(stage)
    drag(stage, surface, (345 / width, 255 / height), (325 / width, 255 / height))
    moved = box_in(stage)
    assert moved[2:] == before[2:] and moved[0] == pytest.approx(before[0] - 20, abs=4)
    right = ((moved[0] + moved[2]) / width, (moved[1] + moved[3]) / height)
    drag(stage, surface, right, (right[0] + 30 / width, right[1] + 20 / height))
    resized = box_in(stage)
    assert resized[:2] == moved[:2]
    assert resized[2:] == pytest.approx([moved[2] + 30, moved[3] + 20], abs=4)
    stage.keyboard.press("Control+z")
    expect(stage.locator(".stage-hint")).to_contain_text(size_of(moved))
    assert box_in(stage) == moved
    stage.get_by_role("button", name="Clear", exact=True).click()
    expect(stage.locator(".box-light")).to_have_count(0)
    assert "box=" not in stage.url


def test_points_mean_what_is_clicked_and_not_what_is_clicked_with_alt(stage: Page) -> None:
    surface = stage.locator(".stage-surface")
    with stage.expect_request("**/v1/search"):
        stage.mouse.click(*at(surface, 0.5, 0.45))
    stage.keyboard.down("Alt")
    with stage.expect_request("**/v1/search") as asked:
        stage.mouse.click(*at(surface, 0.1, 0.1))
    stage.keyboard.up("Alt")
    points = asked.value.post_data_json["points"]
    assert [label for _, _, label in points] == [1, 0]
    expect(stage.locator(".point.is-negative")).to_have_count(1)
    expect(first_answer(stage)).to_have_attribute("aria-label", re.compile(r"street\.jpg"))
    # A click on a point takes it away; without Alt, too, one can say what is not meant.
    stage.get_by_role("button", name="Points").click()
    stage.mouse.click(*at(surface, 0.1, 0.1))
    expect(stage.locator(".point.is-negative")).to_have_count(0)
    stage.get_by_text("Not this").click()
    stage.mouse.click(*at(surface, 0.9, 0.9))
    expect(stage.locator(".point.is-negative")).to_have_count(1)
    # Only what is not meant is no question: the sentence of the service says so.
    stage.mouse.click(*at(surface, 0.5, 0.45))
    expect(stage.get_by_role("alert")).to_contain_text("Only negative points were given")


def test_what_is_painted_is_found(stage: Page) -> None:
    surface = stage.locator(".stage-surface")
    stage.get_by_role("button", name="Brush").click()
    with stage.expect_request("**/v1/search") as asked:
        drag(stage, surface, (0.42, 0.5), (0.5, 0.35), (0.58, 0.5))
    mask = asked.value.post_data_json["mask"]
    with Image.open(GABLE) as image:
        assert mask["size"] == [image.height, image.width]
    painted = sum(mask["counts"][1::2]) / sum(mask["counts"])
    assert sum(mask["counts"]) == image.height * image.width and 0.01 < painted < 0.2
    expect(first_answer(stage)).to_have_attribute("aria-label", re.compile(r"street\.jpg, (likely|possible)"))
    # The eraser takes half of it away, undo brings it back, and the address holds it.
    stage.get_by_role("button", name="Eraser").click()
    with stage.expect_request("**/v1/search") as asked:
        drag(stage, surface, (0.42, 0.5), (0.5, 0.35))
    left = asked.value.post_data_json["mask"]["counts"]
    assert 0 < sum(left[1::2]) < 0.8 * sum(mask["counts"][1::2])
    with stage.expect_request("**/v1/search") as asked:
        stage.get_by_role("button", name="Undo").click()
    assert asked.value.post_data_json["mask"] == mask
    with stage.expect_request("**/v1/search") as asked:
        stage.reload()
    assert asked.value.post_data_json["mask"] == mask


def test_words_stand_beside_the_picture(stage: Page) -> None:
    with stage.expect_request("**/v1/search") as asked:
        stage.get_by_role("textbox", name="Words beside the picture").fill("at night")
    body = asked.value.post_data_json
    assert body["text"] == "at night" and body["picture_id"]
    expect(stage.locator(".answers .tile").first).to_be_visible()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_cutout_is_found_by_what_can_be_seen_of_it(visit: Visit, way: str, tmp_path: Path) -> None:
    image = Image.open(EXAMPLES / "photos" / "cat.jpg").convert("RGBA")
    alpha = Image.new("L", image.size)
    ImageDraw.Draw(alpha).ellipse((120, 40, 330, 280), fill=255)
    image.putalpha(alpha)
    image.save(tmp_path / "cat.png")
    page = visit()
    give(page, tmp_path / "cat.png", way)
    expect(first_answer(page)).to_have_attribute("aria-label", re.compile(r"cat\.jpg"))


def test_what_is_no_picture_is_a_sentence(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    (tmp_path / "note.jpg").write_text("no picture")
    choose(page, tmp_path / "note.jpg")
    expect(page.get_by_role("alert").first).to_contain_text(re.compile("picture", re.I))
    (tmp_path / "nothing.jpg").touch()
    choose(page, tmp_path / "nothing.jpg")
    expect(page.get_by_text("This file is empty.")).to_be_visible()


def test_reload_and_back_find_a_picture_again(stage: Page) -> None:
    drag(stage, stage.locator(".stage-surface"), (0.45, 0.35), (0.8, 0.75))
    box = box_in(stage)
    stage.reload()
    expect(stage.locator(".box-light")).to_be_visible()
    assert box_in(stage) == box
    expect(first_answer(stage)).to_have_attribute("aria-label", re.compile(r"street\.jpg"))
    stage.go_back()
    expect(stage.get_by_role("region", name="Photos")).to_be_visible()
    stage.go_forward()
    expect(stage.locator(".box-light")).to_be_visible()


def test_a_picture_of_a_kind_that_the_browser_lacks_is_shown_by_the_service(visit: Visit) -> None:
    page = visit()
    expect(page.locator(".tile").first).to_be_visible()
    choose(page, Path(__file__).parent.parent / "data" / "turned.heic")
    shown = page.get_by_alt_text("The picture that is asked with")
    expect(shown).to_be_visible()
    assert shown.evaluate(
        "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    ) == [64, 48]
    expect(first_answer(page)).to_be_visible()


def test_another_browser_says_that_it_does_not_have_the_picture(stage: Page, visit: Visit) -> None:
    other = visit(stage.url[stage.url.index("#") :])
    expect(other.get_by_text("in another browser").first).to_be_visible()
    other.get_by_role("button", name="Remove it").click()
    expect(other.get_by_role("region", name="Photos")).to_be_visible()


def test_all_of_it_by_keys_alone(visit: Visit) -> None:
    page = visit()
    expect(page.locator(".tile").first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("a street")
    page.keyboard.press("Enter")
    expect(first_answer(page)).to_have_attribute("aria-label", re.compile(r"street\.jpg"))
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "tile-link":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_have_attribute("aria-label", "street.jpg")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.ariaLabel") == "Draw on it":
            break
    page.keyboard.press("Enter")
    surface = page.locator(".stage-surface")
    expect(surface).to_be_focused()
    page.keyboard.press("Delete")
    expect(page.locator(".stage-hint")).to_contain_text("Drag a box")
    page.keyboard.press("Enter")
    expect(page.locator(".stage-hint")).to_contain_text("Box of")
    start, before = box_in(page), page.evaluate("location.href")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    expect(page.locator(".stage-hint")).not_to_contain_text(size_of(start))
    page.wait_for_function("before => location.href !== before", arg=before)
    moved = box_in(page)
    assert moved[0] > start[0] and moved[1] == start[1] and moved[2] == start[2] and moved[3] > start[3]
    expect(first_answer(page)).to_have_attribute("aria-label", re.compile(r"street\.jpg"))


def test_a_finger_draws_on_a_phone(visit: Visit) -> None:
    page = visit(size="phone", has_touch=True, is_mobile=True)
    choose(page, GABLE)
    surface = page.locator(".stage-surface")
    expect(surface).to_be_visible()
    expect(page.locator(".answers .tile").first).to_be_visible()
    # Nothing is wider than the screen, and the stage stands above the answers.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    x, y = at(surface, 0.5, 0.45)
    with page.expect_request("**/v1/search") as asked:
        page.touchscreen.tap(x, y)
    assert len(asked.value.post_data_json["points"]) == 1
    drag(page, surface, (0.4, 0.3), (0.8, 0.7))
    expect(page.locator(".stage-hint")).to_contain_text("Box of")


def test_where_the_model_segments_its_mask_is_drawn(visit: Visit, tmp_path: Path) -> None:
    """A small VIRTUE with random weights: what it makes is no thing, and is a mask."""
    model = own_folder(tmp_path / "model")
    (tmp_path / "photos").mkdir()
    shutil.copy(EXAMPLES / "photos" / "cat.jpg", tmp_path / "photos")
    with Library(tmp_path / "library", embedder=str(model)) as library:
        library.index(tmp_path / "photos", regions="none", ocr=False)
        wanted = library.embedder.segment({"image": GABLE, "box": (100, 100, 300, 300)})
    with serve(tmp_path / "library", "--read-only", home=tmp_path) as served:
        page = visit(at=served.address)
        choose(page, GABLE)
        surface = page.locator(".stage-surface")
        expect(surface).to_be_visible()
        height, width = wanted.shape
        drag(page, surface, (100 / width, 100 / height), (300 / width, 300 / height))
        seen = page.locator("canvas.seen.is-mask")
        expect(seen).to_be_visible()
        rows, columns, alphas = seen.evaluate(
            "c => [c.height, c.width,"
            " [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
            ".filter((v, i) => i % 4 === 3)]"
        )
    drawn = np.array(alphas).reshape(rows, columns) > 0
    down, across = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    # Where a hand draws is not a pixel's place, and a smaller mask has its edges elsewhere.
    assert (drawn == wanted[down][:, across]).mean() > 0.9
