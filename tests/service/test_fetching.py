"""Addresses as images: off by default; where allowed, of public hosts alone, within limits."""

import http.server
import ipaddress
import shutil
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import EXAMPLES
from tests.service.serving import serve
from virtue.errors import InputError
from virtue.service import fetching
from virtue.service.fetching import fetch_picture, is_public

PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_none_of_the_net(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1/a.jpg", "private"),
        ("http://localhost/a.jpg", "private"),
        ("http://2130706433/a.jpg", "private"),
        ("http://0x7f.1/a.jpg", "private"),
        ("http://[::1]/a.jpg", "private"),
        ("http://[::ffff:127.0.0.1]/a.jpg", "private"),
        ("http://169.254.169.254/latest/meta-data", "private"),
        ("http://1.1.1.1:22/", "port"),
        ("http://user:pass@1.1.1.1/", "user"),
        ("http://1.1.1.1:99999/", "no address"),
        ("ftp://1.1.1.1/", "no address"),
        ("http:///a.jpg", "no address"),
        ("http://a b/", "no address"),
        ("http://no.such.host.invalid/", "no host"),
    ],
)
def test_addresses_that_lead_inside_are_refused(url: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fetch_picture(url, 1000)


class Site(http.server.BaseHTTPRequestHandler):
    """A site with a picture, redirects, and answers that are too long or never end."""

    def do_GET(self) -> None:
        if self.path == "/cat.jpg":
            content = (EXAMPLES / "photos" / "cat.jpg").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        elif self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
        elif self.path == "/long":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        elif self.path == "/slow":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            try:
                while not self.server.ends.wait(0.05):  # type: ignore[attr-defined]
                    self.wfile.write(b"X-A: b\r\n")
            except OSError:
                return
        else:
            self.send_error(404)

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[int]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    server.ends = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever).start()
    yield server.server_address[1]
    server.ends.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_what_is_allowed_is_fetched_within_limits(site: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(path: str, limit: int = 1 << 20) -> bytes:
        # This site alone stands for the net here.
        ports = {"http": site, "https": 443}
        return fetch_picture(
            f"http://127.0.0.1{path}", limit, allows=lambda address: str(address) == "127.0.0.1", ports=ports
        )

    content = (EXAMPLES / "photos" / "cat.jpg").read_bytes()
    assert fetch("/cat.jpg") == content
    assert fetch("/to?/cat.jpg") == content
    with pytest.raises(InputError, match="private"):
        fetch("/to?http://127.0.0.2/cat.jpg")
    with pytest.raises(InputError, match="no address of http"):
        fetch("/to?file:///etc/passwd")
    with pytest.raises(InputError, match="redirects more than 3"):
        fetch("/to?/to?/to?/to?/to?/cat.jpg")
    with pytest.raises(InputError, match="answers with 404"):
        fetch("/none.jpg")
    with pytest.raises(InputError, match="more than 1 MB"):
        fetch("/long")
    monkeypatch.setattr(fetching, "MAX_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"cannot be fetched|more than 0\.5 seconds"):
        fetch("/slow")


def test_the_service_fetches_only_where_it_may(place: Path, tmp_path: Path, site: int) -> None:
    shutil.copytree(place / "library", tmp_path / "library")
    with serve(tmp_path / "library", "--allow-urls", home=tmp_path) as served, served.client() as http:
        for url in (
            f"http://127.0.0.1:{site}/cat.jpg",
            "http://localhost/cat.jpg",
            "http://169.254.169.254/",
        ):
            problem = http.post("/v1/search", json={"image": url}).json()
            assert problem["status"] == 422
            assert problem["errors"][0]["pointer"] == "#/image"
