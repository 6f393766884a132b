"""Nobody is kept out: axe on every view, at every size, in light and dark."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
Check = Callable[[Page], None]

VIEWS = {
    "photos": ("", ".tile img.is-loaded"),
    "answers": ("#/?text=a+cat&more=1&where=width+%3E+10", ".answers .tile img.is-loaded"),
    "captions": ("#/?text=a+cat&find=captions", ".answers .tile-caption"),
    "stage": ("#/?text=by+day&photo=1&box=40,40,200,200&point=90,90,1", ".stage-surface .point"),
    "painted": ("#/?photo=1&mask=b1y_dw.8c.x.c.y.d&from=text%3Da+cat", ".answers .tile"),
    "photo": ("#/?text=a+cat&open=1", ".nearest .tile"),
    "nothing": ("#/?text=a+cat&where=rating+%3D+5", ".message"),
    "error": ("#/?text=a+cat&where=nonsense", ".message"),
    "duplicates": ("#/duplicates", ".group"),
    "index": ("#/index", ".numbers"),
}


@pytest.mark.parametrize("look", [("laptop", "light"), ("phone", "dark")], ids=" ".join)
def test_no_view_keeps_anybody_out(visit: Visit, check_access: Check, look: tuple[str, str]) -> None:
    size, scheme = look
    page = visit(size=size, color_scheme=scheme)
    for name, (address, sign) in VIEWS.items():
        page.evaluate("address => { location.hash = address }", address or "#/")
        expect(page.locator(sign).first, name).to_be_visible()
        check_access(page)
        # Nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_what_opens_keeps_nobody_out(visit: Visit, check_access: Check) -> None:
    page = visit("#/?text=a+cat")
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_label("Camera")).to_be_visible()
    check_access(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Filters")).to_be_focused()
    page.get_by_label("Download this list").click()
    check_access(page)


def test_a_dialog_holds_the_focus_and_gives_it_back(visit: Visit) -> None:
    page = visit("#/?text=a+cat")
    link = page.get_by_role("link", name=re.compile(r"cat\.jpg")).first
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_focused()
    for key in ["Tab"] * 6 + ["Shift+Tab"] * 10:
        page.keyboard.press(key)
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('.photo-view')"
        )
    page.keyboard.press("Escape")
    expect(link).to_be_focused()


def test_the_page_is_small_and_says_whose_work_is_in_it(visit: Visit) -> None:
    page = visit()
    expect(page.locator(".tile").first).to_be_visible()
    sizes = page.evaluate(
        "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        ".filter(e => /assets|icon|\\/$/.test(e.name)).map(e => e.decodedBodySize)"
    )
    assert len(sizes) >= 3 and sum(sizes) < 200_000
    text = page.evaluate("fetch('/licences.txt').then(answer => answer.text())")
    assert "preact" in text and "lucide" in text and "MIT" in text
