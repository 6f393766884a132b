"""Indexing from the page, and a service that goes and comes back under it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.conftest import EXAMPLES
from tests.service.serving import Served, serve
from virtue import Library

Visit = Callable[..., Page]


def test_folders_are_indexed_from_the_page(visit: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "<b>photos"
    folder.mkdir()
    for name in ("cat", "coffee"):
        shutil.copy(EXAMPLES / "photos" / f"{name}.jpg", folder)
    (folder / "torn.jpg").write_bytes((EXAMPLES / "photos" / "dog.jpg").read_bytes()[:500])
    with Library.create(tmp_path / "library"):
        pass
    with serve(tmp_path / "library", "--root", folder, home=tmp_path, VIRTUE_OCR="false") as served:
        page = visit("#/index", at=served.address)
        page.get_by_role("checkbox").check()
        expect(page.get_by_text("not yet indexed")).to_be_visible()
        page.get_by_role("button", name="Index 1 folder").click()
        job = page.get_by_role("region", name="Indexing")
        expect(job).to_contain_text("Photos: 2 new")
        expect(job).to_contain_text("1 file could not be indexed")
        expect(job).to_contain_text("torn.jpg")
        # What the library holds is told anew, and is there to be searched.
        expect(page.locator(".numbers")).to_contain_text(re.compile(r"2\s*Photos|Photos\s*2"))
        expect(page.get_by_text("in the library")).to_be_visible()
        assert page.locator("main b").count() == 0
        page.get_by_role("button", name="Show the photos").click()
        expect(page.locator(".tile img.is-loaded")).to_have_count(2)
        # What ran is still told of after Reload.
        page.goto(f"{served.address}#/index")
        page.reload()
        expect(job).to_contain_text("Photos: 2 new")


def test_progress_is_told_and_indexing_can_be_cancelled(visit: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(150):
        content = (EXAMPLES / "photos" / "street.jpg").read_bytes()
        (folder / f"{number}.jpg").write_bytes(content + bytes([number]))
    with Library.create(tmp_path / "library"):
        pass
    with serve(tmp_path / "library", "--root", folder, home=tmp_path, VIRTUE_OCR="false") as served:
        page = visit("#/index", at=served.address)
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Index 1 folder").click()
        job = page.get_by_role("region", name="Indexing")
        expect(job).to_contain_text(re.compile(r"\d+ of 150"))
        expect(job.get_by_role("progressbar")).to_be_visible()
        job.get_by_role("button", name="Cancel").click()
        expect(job).to_contain_text("Cancelled")


def test_a_service_that_only_reads_says_so(visit: Visit, library: Path, tmp_path: Path) -> None:
    with serve(library, "--read-only", home=tmp_path) as served:
        page = visit("#/index", at=served.address)
        expect(page.get_by_text("started read-only")).to_be_visible()
        assert page.get_by_role("button", name=re.compile("^Index")).count() == 0


def test_a_service_that_is_restarted_is_found_again(visit: Visit, library: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "virtue", "serve", "--database", library, "--port", port, "--read-only"]

    def start() -> Served:
        environment = {**os.environ, "HOME": str(tmp_path)}
        return Served(
            subprocess.Popen(
                [*map(str, command), "--no-browser"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )

    first = start()
    page = visit(at=first.address, complains=True)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search with a picture").click()
    chooser.value.set_files(EXAMPLES / "query" / "gable.jpg")
    expect(page.locator(".answers .tile").first).to_be_visible()
    first.end(signal.SIGTERM)
    page.get_by_role("textbox", name="Words beside the picture").fill("at night")
    banner = page.get_by_role("alert").filter(has_text="goes on by itself")
    expect(banner).to_be_visible()
    # The picture that was kept is unknown to the new one, and is sent again.
    second = start()
    try:
        with page.expect_response(lambda answer: "/v1/search" in answer.url and answer.ok) as found:
            pass
        assert len(found.value.json()["hits"]) > 5
        expect(banner).to_have_count(0)
        expect(page.locator(".answers .tile").first).to_be_visible()
        expect(page.get_by_role("textbox", name="Words beside the picture")).to_have_value("at night")
    finally:
        second.end()
