"""One browser, one service, one library of the example photos; what a page may never do is checked after each
test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.conftest import EXAMPLES
from tests.service.serving import Served, serve
from virtue import Library

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ODD = b"<img src=x onerror=alert(1)>\xe9\xe2\x80\xae.jpg"
"""A file name in no encoding, which would be markup, and which turns the direction of writing."""
CAMERA = "<b>Rolleiflex</b>"
SECONDS = 30
"""That the page has to show something: far more than it takes."""
SIZES = {"phone": (390, 844), "laptop": (1366, 800), "wide": (2200, 1200)}


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photos with their captions, one of them saved again, and one with an odd name and facts."""
    folder = tmp_path_factory.mktemp("page") / "album"
    shutil.copytree(EXAMPLES / "photos", folder)
    with Image.open(EXAMPLES / "photos" / "dahlia.jpg") as image:
        image.save(folder / "dahlia again.jpg", quality=60)
    with Image.open(EXAMPLES / "photos" / "coins.jpg") as image:
        exif = Image.Exif()
        exif[0x0110] = CAMERA
        exif[0x4746] = 4  # the rating
        exif.get_ifd(0x8769)[0x9003] = "2019:05:04 10:20:30"
        image.crop((0, 0, 300, 200)).save(os.path.join(os.fsencode(folder), ODD), "JPEG", exif=exif)
    return folder


@pytest.fixture(scope="session")
def library(album: Path) -> Path:
    folder = album.parent / "library"
    with Library(folder) as made:
        made.index(album, ocr=False)
        made.index(EXAMPLES / "signs")
    return folder


@pytest.fixture(scope="session")
def served(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(library, home=tmp_path_factory.mktemp("home")) as started:
        yield started


# Not for the session: while it is there, no other test could run an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert program, "these tests drive a browser: apt-get install chromium"
    # Root has no sandbox; and no name is looked up, whoever asks.
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Callable[..., Page]]:
    """Opens the page in a window of its own; afterwards, nothing may have left the machine, failed in the
    page, or been refused by its policy."""
    expect.set_options(timeout=1000 * SECONDS)
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    asked: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A browser says so of each answer of 4xx, too, which tests provoke.
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def open_page(
        address: str = "",
        *,
        size: str = "laptop",
        at: str | None = None,
        complains: bool = False,
        **options: object,
    ) -> Page:
        width, height = SIZES[size]
        window = {"width": width, "height": height}
        context = browser.new_context(viewport=window, reduced_motion="reduce", **options)  # type: ignore[arg-type]
        context.set_default_timeout(1000 * SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        if not complains:
            page.on("console", listen)
            page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((at or served.address) + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:"))] == []


@pytest.fixture
def check_access() -> Callable[[Page], None]:
    """Has axe look at a page; nothing that keeps people out may be found."""

    def check(page: Page) -> None:
        found = Axe().run(page).response["violations"]
        serious = [
            (each["id"], node["html"])
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]
        assert serious == []

    return check
