"""Words -> answers: as a person types, and what is shown where there is nothing to show."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.service.serving import serve
from virtue import Library

Visit = Callable[..., Page]

TOKEN = "a-token-of-one-word"


def test_words_find_photos_as_they_are_typed(visit: Visit) -> None:
    page = visit()
    expect(page.locator(".tile")).to_have_count(16)
    page.get_by_role("textbox", name="What to look for").press_sequentially("a cup of espresso")
    answers = page.get_by_role("region", name="Answers")
    first = answers.get_by_role("link").first
    expect(first).to_have_attribute("aria-label", re.compile(r"coffee\.jpg, likely"))
    expect(page).to_have_title("a cup of espresso · virtue")
    assert "text=a+cup+of+espresso" in page.url
    page.get_by_role("button", name="Clear the words").click()
    expect(page.get_by_role("region", name="Photos")).to_be_visible()


def test_regions_are_outlined_where_they_are(visit: Visit) -> None:
    page = visit("#/?text=a+squirrel&find=regions")
    tile = page.locator(".answers .tile", has=page.get_by_role("link", name=re.compile("squirrel.jpg"))).first
    outline = tile.locator(".outline-light")
    expect(outline).to_be_attached()
    frame, box = tile.bounding_box(), outline.bounding_box()
    assert frame and box
    assert frame["x"] - 3 <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"] + 3
    assert box["width"] * box["height"] > 0.05 * frame["width"] * frame["height"]
    page.get_by_role("button", name="Show crops").click()
    expect(tile.locator(".outline")).to_have_count(0)
    shown = tile.locator("img").get_attribute("src")
    assert shown and "box=" in shown


def test_a_row_is_as_wide_as_the_page_and_shows_whole_photos(visit: Visit) -> None:
    page = visit("#/?text=a+photo&find=photos")
    expect(page.locator(".tile img.is-loaded").nth(8)).to_be_visible()
    boxes = [tile.bounding_box() for tile in page.locator(".tile").all()]
    rows: dict[int, list[dict[str, float]]] = {}
    for box in boxes:
        assert box
        rows.setdefault(round(box["y"]), []).append(box)  # type: ignore[arg-type]
    grid = page.locator(".grid").first.bounding_box()
    assert grid and len(rows) >= 3
    for row in list(rows.values())[:-1]:
        assert abs(row[-1]["x"] + row[-1]["width"] - grid["x"] - grid["width"]) < 2
        assert max(box["height"] for box in row) - min(box["height"] for box in row) < 1
    sizes = page.locator(".tile img.is-loaded").evaluate_all(
        "all => all.map(i => [i.naturalWidth / i.naturalHeight, i.clientWidth / i.clientHeight])"
    )
    assert all(abs(natural - shown) < 0.03 * natural for natural, shown in sizes)


def test_what_is_unlike_everything_is_said_to_be_unsure(visit: Visit) -> None:
    page = visit("#/?text=a+steam+locomotive&find=regions")
    expect(page.get_by_text("Nothing sure; the nearest are")).to_be_visible()


def test_find_chooses_what_is_found(visit: Visit) -> None:
    page = visit("#/?text=a+cat")
    page.get_by_role("radio", name="Captions").check()
    expect(page.locator(".tile-caption").first).to_be_visible()
    assert "find=captions" in page.url
    page.go_back()
    expect(page.get_by_role("radio", name="All")).to_be_checked()


def test_nothing_found_says_what_to_do(visit: Visit) -> None:
    page = visit("#/?text=a+cat&where=rating+%3E%3D+5")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator(".answers .tile").first).to_be_visible()


def test_an_error_is_a_sentence(visit: Visit) -> None:
    page = visit("#/?text=a+cat&where=colour+%3D+red")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("colour")
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_one_chooses(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    other = {"light": "dark", "dark": "light"}[scheme]
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", scheme)
    page_colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", page_colour)[:3])) < 150) == (scheme == "dark")
    page.get_by_role("button", name=f"{other.capitalize()} colours").click()
    expect(root).to_have_attribute("data-theme", other)
    page.reload()
    expect(root).to_have_attribute("data-theme", other)


def test_an_empty_library_offers_to_index(visit: Visit, tmp_path: Path) -> None:
    with Library.create(tmp_path / "empty"):
        pass
    with serve(tmp_path / "empty", home=tmp_path) as served:
        page = visit(at=served.address)
        expect(page.get_by_role("heading", name="This library is empty")).to_be_visible()
        page.get_by_role("button", name="Index photos").click()
        expect(page).to_have_url(re.compile("#/index$"))


def test_a_token_is_asked_for_once(visit: Visit, tmp_path: Path, library: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(f"{TOKEN}\n")
    with serve(library, "--token-file", token, home=tmp_path) as served:
        page = visit(at=served.address)
        page.get_by_label("Token").fill("another-token-of-one-word")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("This is not the token")).to_be_visible()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        expect(page.locator(".tile img.is-loaded").first).to_be_visible()
        page.reload()
        expect(page.locator(".tile img.is-loaded").first).to_be_visible()
