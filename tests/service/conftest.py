"""One library of photos with odd names and facts, and a service of it that tests only ask."""

from __future__ import annotations

import http.client as http_client
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw

from tests.backend.conftest import FACTS, write_photo
from tests.conftest import EXAMPLES
from tests.service.serving import Served, serve
from virtue import Library

ODD = b"<b>caf\xe9 & %2e%2e.jpg"
"""A file name in no encoding, which would be markup."""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `album` (photos with facts), `odd` (an odd name), `library`, and `outside.jpg`, which the
    library does not know."""
    folder = tmp_path_factory.mktemp("served")
    for name in FACTS:
        write_photo(folder / "album" / f"{name}.jpg", name)
    os.mkdir(folder / "odd")
    shutil.copy(EXAMPLES / "photos" / "street.jpg", os.path.join(os.fsencode(folder / "odd"), ODD))
    shutil.copy(EXAMPLES / "photos" / "coffee.jpg", folder / "outside.jpg")
    with Library(folder / "library") as library:
        library.index([folder / "album", folder / "odd"], regions=4, ocr=False)
    return folder


@pytest.fixture(scope="session")
def served(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of that library that changes nothing."""
    with serve(place / "library", "--read-only", home=tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


@pytest.fixture
def library(place: Path) -> Iterator[Library]:
    """The library that is served, opened beside the service."""
    with Library(place / "library", read_only=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def cutout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cat cut out of its photo: a PNG, transparent around it."""
    file = tmp_path_factory.mktemp("cutout") / "cat.png"
    image = Image.open(EXAMPLES / "photos" / "cat.jpg").convert("RGBA")
    alpha = Image.new("L", image.size)
    ImageDraw.Draw(alpha).ellipse((120, 40, 330, 280), fill=255)
    image.putalpha(alpha)
    image.save(file)
    return file


@pytest.fixture
def served_raw(served: Served) -> Callable[..., tuple[int, bytes]]:
    """Sends a path as it stands, which clients would tidy up; gives status and body."""

    def get(path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        host = served.address.removeprefix("http://").rstrip("/")
        connection = http_client.HTTPConnection(host, timeout=60)
        try:
            connection.putrequest(method, path, skip_host="host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    return get
