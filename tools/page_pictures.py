"""The pictures of the page in the README and in docs/page.md: `python -m tools.page_pictures`.

Indexes the example photos, serves them, and takes pictures of the page as a browser (chromium) shows it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from virtue import Library

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
IMAGES = ROOT / "docs" / "images"
QUALITY = 85


def draw_a_box(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search with a picture").click()
    chooser.value.set_files(EXAMPLES / "query" / "gable.jpg")
    page.wait_for_selector(".answers .tile")
    surface = page.locator(".stage-surface")
    frame, (width, height) = surface.bounding_box(), (751, 563)
    assert frame
    across, down = frame["width"] / width, frame["height"] / height
    page.mouse.move(frame["x"] + 250 * across, frame["y"] + 160 * down)
    page.mouse.down()
    page.mouse.move(frame["x"] + 440 * across, frame["y"] + 350 * down, steps=5)
    page.mouse.up()
    page.wait_for_selector("canvas.seen")


def look_for_words(page: Page) -> None:
    page.get_by_role("textbox", name="What to look for").fill("an animal")
    page.wait_for_selector(".answers:not(.is-stale) .tile")


def open_a_photo(page: Page) -> None:
    page.get_by_role("textbox", name="What to look for").fill("a man")
    page.wait_for_selector(".answers .tile")
    page.get_by_role("link", name="astronaut.jpg").first.click()
    page.wait_for_selector(".nearest .tile")
    page.locator(".crops button").first.hover()


LOADED = """() => document.querySelector(".tile") && [...document.images].every(image =>
  image.getBoundingClientRect().top > innerHeight || (image.complete && image.naturalWidth))"""
SHOWN = {
    "page-box": (draw_a_box, "light"),
    "page-words": (look_for_words, "dark"),
    "page-photo": (open_a_photo, "light"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        album = Path(folder) / "Pictures"  # a path that may be shown
        shutil.copytree(EXAMPLES / "photos", album)
        shutil.copytree(EXAMPLES / "signs", album, dirs_exist_ok=True)
        with Library(Path(folder) / "library") as library:
            library.index(album)
        command = [sys.executable, "-m", "virtue", "serve", "--database", f"{folder}/library", "--port", "0"]
        environment = {**os.environ, "HOME": folder}
        with subprocess.Popen(
            [*command, "--no-browser"], stdout=subprocess.PIPE, text=True, env=environment
        ) as service:
            try:
                assert service.stdout
                address = service.stdout.readline().strip()
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                for name, (show, scheme) in SHOWN.items():
                    window = {"width": 1280, "height": 800}
                    page = browser.new_page(viewport=window, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                    page.goto(address)
                    page.wait_for_selector(".tile img.is-loaded")
                    show(page)
                    page.wait_for_function(LOADED)
                    page.wait_for_timeout(500)
                    page.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=QUALITY)
            finally:
                service.terminate()


if __name__ == "__main__":
    main()
