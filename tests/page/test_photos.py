"""One photo large, and what leads on from it: regions, things, facts, neighbours, breadcrumbs."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.page.conftest import CAMERA
from tests.service.serving import serve
from virtue import Library

Visit = Callable[..., Page]


def photo_id(library: Path, name: str) -> int:
    with Library(library, read_only=True) as opened:
        return next(photo.photo_id for photo in opened.photos() if photo.paths[0].endswith(name))


def test_a_click_opens_a_photo_with_all_that_is_known_of_it(visit: Visit) -> None:
    page = visit("#/?text=conference+centre")
    page.get_by_role("link", name=re.compile("likely")).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Regions")).to_be_visible()
    expect(dialog.locator(".crops button").first).to_be_visible()
    expect(dialog.locator(".lines.is-read")).to_contain_text("Conference Centre")
    expect(dialog.locator(".facts")).to_contain_text(re.compile(r"\d+ . \d+"))
    expect(dialog.locator(".nearest .tile").nth(5)).to_be_visible()
    assert dialog.locator(".photo-frame img").evaluate("i => i.complete && i.naturalWidth > 0")
    # Escape closes it, and what was below is as it was.
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator(".answers .tile").first).to_be_visible()
    page.go_forward()
    expect(dialog).to_be_visible()
    page.go_back()
    expect(dialog).to_have_count(0)


def test_any_region_is_the_next_query_and_breadcrumbs_lead_back(visit: Visit) -> None:
    page = visit("#/?text=an+orange+flower")
    page.get_by_role("link", name=re.compile(r"dahlia\.jpg")).first.click()
    dialog = page.get_by_role("dialog")
    with page.expect_request(lambda request: "region_id" in (request.post_data or "")):
        dialog.locator(".crops button").nth(1).click()
    expect(dialog).to_have_count(0)
    expect(page.locator(".stage .box-light")).to_be_visible()
    crumbs = page.get_by_role("navigation", name="Queries before this one")
    expect(crumbs.get_by_role("button", name="an orange flower")).to_be_visible()
    # The box of the region is a box like any other.
    page.locator(".stage-surface").focus()
    with page.expect_request("**/v1/search") as asked:
        page.keyboard.press("Shift+ArrowUp")
    assert asked.value.post_data_json["picture_id"] and "region_id" not in asked.value.post_data_json
    crumbs.get_by_role("button", name="an orange flower").click()
    expect(page).to_have_title("an orange flower · virtue")
    expect(crumbs).to_have_count(0)
    page.go_back()
    expect(page.locator(".stage .box-light")).to_be_visible()


def test_an_address_can_be_copied_and_opened_elsewhere(visit: Visit) -> None:
    page = visit("#/?text=a+cat")
    page.get_by_role("link", name=re.compile(r"cat\.jpg")).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Draw on it").click()
    expect(page.locator(".stage-surface")).to_be_visible()
    other = visit(page.url[page.url.index("#") :])
    expect(other.locator(".stage-surface")).to_be_visible()
    expect(other.get_by_role("navigation", name="Queries before this one")).to_contain_text("a cat")
    expect(other.get_by_role("region", name="Answers").get_by_role("link").first).to_be_visible()


def test_more_and_less_like_this(visit: Visit) -> None:
    page = visit("#/?text=an+animal&find=photos")
    tile = page.locator(".answers .tile", has=page.get_by_role("link", name=re.compile(r"cat\.jpg"))).first
    tile.hover()
    with page.expect_request("**/v1/search") as asked:
        tile.get_by_role("button", name="Less like cat.jpg").click()
    assert [like.keys() for like in asked.value.post_data_json["without"]] == [{"photo_id"}]
    expect(page.get_by_role("region", name="Answers").get_by_role("link").first).not_to_have_attribute(
        "aria-label", re.compile(r"^cat\.jpg")
    )
    dog = page.locator(".answers .tile", has=page.get_by_role("link", name=re.compile(r"dog\.jpg"))).first
    dog.hover()
    with page.expect_request("**/v1/search") as asked:
        dog.get_by_role("button", name="More like dog.jpg").click()
    assert len(asked.value.post_data_json["parts"]) == 1
    with page.expect_request("**/v1/search") as asked:
        page.get_by_role("button", name="Remove: less like this").click()
    assert "without" not in asked.value.post_data_json


def test_arrow_keys_go_from_photo_to_photo(visit: Visit) -> None:
    page = visit("#/?text=a+dog&find=photos")
    links = page.get_by_role("region", name="Answers").get_by_role("link")
    names = [re.match(r"[^,]+", str(links.nth(at).get_attribute("aria-label"))) for at in range(2)]
    links.first.click()
    dialog = page.get_by_role("dialog")
    page.keyboard.press("ArrowRight")
    assert names[1]
    expect(dialog).to_have_attribute("aria-label", names[1][0])
    page.keyboard.press("ArrowLeft")
    assert names[0]
    expect(dialog).to_have_attribute("aria-label", names[0][0])
    page.go_back()
    expect(dialog).to_have_count(0)


def test_names_and_facts_of_strangers_are_text(visit: Visit, library: Path) -> None:
    page = visit("#/?where=rating+%3E%3D+4")
    tile = page.locator(".tile-link")
    expect(tile).to_have_count(1)
    assert str(tile.get_attribute("aria-label")).startswith("<img src=x onerror=alert(1)>\ufffd")
    tile.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=1)).to_contain_text(
        "<img src=x onerror=alert(1)>\ufffd\ufffd.jpg"
    )
    expect(dialog.locator(".facts")).to_contain_text(CAMERA)
    expect(dialog.locator(".facts")).to_contain_text("May 4, 2019")
    expect(dialog.get_by_role("img", name="4 of 5")).to_be_visible()
    assert dialog.locator("img[src=x]").count() == 0 and dialog.locator("b").count() == 0


def test_filters_are_fields_to_fill_in(visit: Visit, album: Path) -> None:
    page = visit("#/?text=a+picture")
    page.get_by_role("button", name="Filters").click()
    suggested = page.locator("#suggest-camera option")
    expect(suggested).to_have_count(1)
    assert suggested.first.get_attribute("value") == CAMERA
    page.get_by_label("Camera").fill(CAMERA)
    page.get_by_label("Taken from").fill("2019-05-01")
    page.get_by_label("Folder").fill(str(album))
    with page.expect_request("**/v1/search") as asked:
        page.get_by_role("button", name="Show photos").click()
    assert asked.value.post_data_json["where"] == [
        "taken >= 2019-05-01",
        f"path ~ '{album}/*'",
        f"camera = '{CAMERA}'",
    ]
    expect(page.locator(".answers .tile")).to_have_count(1)
    page.reload()
    expect(page.locator(".answers .tile")).to_have_count(1)
    page.get_by_role("button", name="Filters, 3 set").click()
    expect(page.get_by_label("Folder")).to_have_value(str(album))
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("Remove the filter camera")).click()
    page.get_by_role("button", name=re.compile("Remove the filter taken")).click()
    expect(page.locator(".answers .tile").nth(5)).to_be_visible()
    # A thing and a rating, and a filter in words of one's own.
    page.get_by_role("button", name="Filters, 1 set").click()
    page.get_by_label("Folder").fill("")
    page.get_by_label("Rating, at least").select_option("4")
    page.get_by_label("Other").fill("not tag = beach")
    with page.expect_request("**/v1/search") as asked:
        page.get_by_role("button", name="Show photos").click()
    assert asked.value.post_data_json["where"] == ["rating >= 4", "not tag = beach"]


def test_scrolling_brings_more(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(70):
        colour = (number * 3, 255 - number * 3, number * 37 % 256)
        Image.new("RGB", (48, 36), colour).save(tmp_path / "many" / f"{number}.png")
    with Library(tmp_path / "library") as library:
        library.index(tmp_path / "many", regions="none", ocr=False)
    with serve(tmp_path / "library", "--read-only", home=tmp_path) as served:
        page = visit(at=served.address, size="phone")
        tiles = page.locator(".tile")
        expect(tiles).to_have_count(60)
        page.locator(".end").scroll_into_view_if_needed()
        expect(tiles).to_have_count(70)
        page.goto(f"{served.address}#/?text=a+colour")
        answers = page.locator(".answers .tile")
        expect(answers).to_have_count(24)
        page.locator(".end").scroll_into_view_if_needed()
        expect(answers).to_have_count(70)
        names = answers.get_by_role("link").evaluate_all("all => all.map(a => a.getAttribute('aria-label'))")
        assert len({name.split(",")[0] for name in names}) == 70


def test_hits_are_downloaded_as_csv_and_json(visit: Visit) -> None:
    page = visit(accept_downloads=True)
    with page.expect_response("**/v1/search") as answer:
        page.evaluate("location.hash = '#/?text=a+cat'")
    hits = answer.value.json()["hits"]
    page.get_by_label("Download this list").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="as JSON").click()
    assert json.loads(Path(download.value.path()).read_text())["hits"] == hits
    page.get_by_label("Download this list").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="as CSV").click()
    with open(download.value.path(), encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(hits) and list(rows[0]) == list(hits[0])
    assert [int(row["photo_id"]) for row in rows] == [hit["photo_id"] for hit in hits]
    assert rows[0]["path"] == hits[0]["path"] and rows[0]["sureness"] == hits[0]["sureness"]


def test_a_photo_is_downloaded_and_its_path_copied(visit: Visit, album: Path, library: Path) -> None:
    page = visit(
        f"#/?open={photo_id(library, '/coffee.jpg')}",
        accept_downloads=True,
        permissions=["clipboard-read", "clipboard-write"],
    )
    dialog = page.get_by_role("dialog")
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "coffee.jpg"
    assert Path(download.value.path()).read_bytes() == (album / "coffee.jpg").read_bytes()
    dialog.get_by_role("button", name="Copy the path of coffee.jpg").click()
    expect(page.get_by_text("Path copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == os.fspath(album / "coffee.jpg")


def test_duplicates_stand_side_by_side(visit: Visit) -> None:
    page = visit("#/duplicates")
    group = page.get_by_role("article")
    expect(group).to_have_count(1)
    expect(group).to_contain_text("dahlia.jpg")
    expect(group).to_contain_text("dahlia again.jpg")
    expect(group).to_contain_text("the same picture, saved again")
    assert page.get_by_role("button", name=re.compile("delete|remove", re.I)).count() == 0
    group.get_by_role("link", name="Open dahlia again.jpg").click()
    expect(page.get_by_role("dialog")).to_have_attribute("aria-label", "dahlia again.jpg")
    page.go_back()
    expect(group).to_be_visible()
