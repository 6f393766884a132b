"""How long a hand waits for the page of `virtue serve`: `python -m benchmarks.page`.

Prints one JSON object. In a browser (Debian's chromium), on a made-up library (random unit vectors of the
bundled model's form; its photos have no files, so thumbnails are not counted): `box_ms`, from the release of
a box on a picture to the first hits on screen; `server_ms`, the part of it from the request to the first byte
of its answer; `words_ms`, from the last key of a text to its hits, without the pause that the page waits for
a further key; `first_paint_ms` of the page. Milliseconds, p50 and p95.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.cold_search import fill

PICTURE = Path(__file__).parent.parent / "examples" / "query" / "gable.jpg"
WORDS = ["a red mug", "two dogs", "snow on a roof", "an old church", "a bicycle"]
TYPING_PAUSE = 350
"""Milliseconds that the page waits for a further key."""

# From an event to the frame in which new answers are painted.
WATCH = """([event]) => {
  window.waits = [];
  let began = 0, busy = false;
  window.addEventListener(event, () => { began = performance.now(); busy = false; }, true);
  new MutationObserver(() => {
    const answers = document.querySelector(".answers[aria-busy]");
    if (!began || !answers) return;
    if (answers.getAttribute("aria-busy") === "true") busy = true;
    else if (busy && answers.querySelector(".tile")) {
      const from = began;
      began = 0;
      requestAnimationFrame(() => setTimeout(() => window.waits.push(performance.now() - from)));
    }
  }).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""
SERVER = """() => performance.getEntriesByType("resource").filter(each => each.name.endsWith("/v1/search"))
  .map(each => each.responseStart - each.requestStart)"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, default=100_000)
    parser.add_argument("--boxes", type=int, default=60)
    parser.add_argument("--loads", type=int, default=5, help="of the page, for its first paint")
    parser.add_argument("--texts", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "library", options.regions)
        figures = measured(Path(folder), options.boxes, options.loads, options.texts)
    print(
        json.dumps(
            {
                "benchmark": "page",
                "regions": options.regions,
                **figures,
                "python": platform.python_version(),
                "machine": platform.machine(),
                "cores": os.cpu_count(),
            },
            indent=2,
        )
    )


def measured(folder: Path, boxes: int, loads: int, texts: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "virtue", "serve", "--database", str(folder / "library"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--read-only", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(folder)},
    ) as service:
        assert service.stdout
        address = service.stdout.readline().strip()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 1366, "height": 800})
                return {
                    "first_paint_ms": first_paints(page, address, loads),
                    **times_of_boxes(page, address, boxes),
                    "words_ms": times_of_words(page, address, texts),
                }
        finally:
            service.terminate()


def first_paints(page: Page, address: str, loads: int) -> dict[str, float]:
    times = []
    for _ in range(loads):
        page.goto("about:blank")
        page.goto(address)
        page.wait_for_selector(".tile")
        times.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    return summary(times)


def times_of_boxes(page: Page, address: str, boxes: int) -> dict[str, dict[str, float]]:
    page.goto(address)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search with a picture").click()
    chooser.value.set_files(PICTURE)
    page.wait_for_selector(".answers .tile")
    frame = page.locator(".stage-surface").bounding_box()
    assert frame
    page.evaluate(WATCH, ["pointerup"])
    server: list[float] = []
    draw = random.Random(0)
    for number in range(boxes):
        page.keyboard.press("Delete")  # the box before; the picture alone is asked for again
        page.wait_for_timeout(400)
        page.wait_for_selector(".answers[aria-busy=false]")
        page.evaluate("performance.clearResourceTimings()")
        x, y = draw.uniform(0.05, 0.5), draw.uniform(0.05, 0.5)
        across, down = draw.uniform(0.15, 0.4), draw.uniform(0.15, 0.4)
        page.mouse.move(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])
        page.mouse.down()
        page.mouse.move(
            frame["x"] + (x + across) * frame["width"], frame["y"] + (y + down) * frame["height"], steps=4
        )
        page.mouse.up()
        page.wait_for_function("done => window.waits.length > done", arg=number)
        server += page.evaluate(SERVER)
    return {"box_ms": summary(page.evaluate("window.waits")), "server_ms": summary(server)}


def times_of_words(page: Page, address: str, texts: int) -> dict[str, float]:
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".tile")
    field = page.get_by_role("textbox", name="What to look for")
    field.fill("something")
    page.wait_for_selector(".answers[aria-busy=false] .tile")
    page.evaluate(WATCH, ["input"])
    for number in range(texts):
        field.fill(f"{WORDS[number % len(WORDS)]} {number}")
        page.wait_for_function("done => window.waits.length > done", arg=number)
    return summary([each - TYPING_PAUSE for each in page.evaluate("window.waits")])


def summary(times: list[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(times, share)), 1) for share in (50, 95)}


if __name__ == "__main__":
    main()
