"""Only who may asks: no page of another site, no name made to lead here, nobody without the token."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.service.serving import Served, serve
from virtue.service.safety import MAX_SESSIONS, Door

Ask = Callable[..., tuple[int, bytes]]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8427", 200),
        ("LOCALHOST.", 200),
        ("[::1]:8427", 200),
        ("evil.example", 421),
        ("evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("192.168.1.2", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(served_raw: Ask, host: str, status: int) -> None:
    assert served_raw("/v1/photos", host=host)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://{host}"}, 200),
        ({"sec_fetch_site": "same-origin", "origin": "http://{host}"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://{host}"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, 403),
    ],
)
def test_pages_of_other_sites_get_nothing(served: Served, headers: dict[str, str], status: int) -> None:
    host = served.address.removeprefix("http://").rstrip("/")
    sent = {name.replace("_", "-"): value.format(host=host) for name, value in headers.items()}
    with served.client() as http:
        assert http.get("/v1/photos", headers=sent).status_code == status
        assert http.post("/v1/search", json={"text": "a cat"}, headers=sent).status_code == status
        # What a form of another site can send without asking first.
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            answer = http.post("/v1/index", content=b"{}", headers={**sent, "content-type": kind})
            assert answer.status_code in (403, 415, 404)


def test_a_link_from_elsewhere_may_be_followed_but_not_sent(served: Served) -> None:
    arriving = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    with served.client() as http:
        assert http.get("/docs", headers=arriving).status_code == 200
        assert http.post("/v1/search", json={"text": "a cat"}, headers=arriving).status_code == 403


def test_every_answer_says_what_a_browser_may_do_with_it(http: httpx.Client) -> None:
    for path in ("/healthz", "/v1/photos", "/docs", "/nothing", "/v1/photos/1/file", "/openapi.json"):
        headers = http.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
        assert headers["cache-control"] in ("no-store", "private, max-age=3600")


def test_the_docs_ask_nobody_else(http: httpx.Client) -> None:
    page = http.get("/docs").text
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="([^"]+)"', page)
    assert not re.findall(r'(?:src|href)="(?![/#])', page)
    assert "POST /v1/search" in page and "/v1/photos/{photo_id}" in page


def test_names_are_text_and_never_markup(http: httpx.Client) -> None:
    answer = http.get("/v1/photos", params={"where": "path ~ *caf*"})
    assert answer.headers["content-type"] == "application/json"
    (photo,) = answer.json()["photos"]
    assert "<b>" in photo["paths"][0], "JSON has it as it is, for others to escape"
    problem = http.post("/v1/search", json={"text": "a", "where": "<script>alert(1)</script> = 1"})
    assert problem.headers["content-type"] == "application/problem+json"


# -- tokens ---------------------------------------------------------------------------------------------


TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    return file


def test_a_token_is_asked_for_everything_but_whether_it_lives(
    place: Path, tmp_path: Path, token_file: Path
) -> None:
    with serve(place / "library", "--read-only", "--token-file", token_file, home=tmp_path) as served:
        with served.client() as http:
            assert http.get("/healthz").status_code == 200
            assert (
                "/v1/" not in http.get("/").text
            )  # the page, which holds nothing of the library, asks for it
            for path in (
                "/readyz",
                "/metrics",
                "/v1/photos",
                "/v1/photos/1/file",
                "/docs",
                "/openapi.json",
            ):
                answer = http.get(path)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"].startswith("Bearer")
            for wrong in (
                "Bearer wrong",
                f"Basic {TOKEN}",
                f"Bearer {TOKEN}x",
                "Bearer",
                f"Bearer {TOKEN[:-1]}",
            ):
                assert http.get("/v1/photos", headers={"authorization": wrong}).status_code == 401
            assert http.get(f"/v1/photos?token={TOKEN}").status_code == 401, "never in an address"
            right = {"authorization": f"Bearer {TOKEN}"}
            assert http.get("/v1/photos", headers=right).status_code == 200
            assert http.post("/v1/search", json={"text": "a cat"}, headers=right).status_code == 200
            # A browser trades it for a cookie that no script reads and no other site sends.
            assert http.post("/v1/session").status_code == 401
            cookie = http.post("/v1/session", headers=right).headers["set-cookie"]
            assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and TOKEN not in cookie
            assert http.get("/v1/photos/1/thumbnail").status_code == 200
            kept = dict(http.cookies)
            assert http.delete("/v1/session").status_code == 204
            http.cookies.update(kept)
            assert http.get("/v1/photos").status_code == 401
        assert TOKEN not in served.said


def test_sessions_are_few_and_end() -> None:
    door = Door("token")
    secrets = [door.open_session() for _ in range(MAX_SESSIONS + 5)]
    assert len(set(secrets)) == len(secrets) and len(door.sessions) == MAX_SESSIONS
    assert not any(secret in door.sessions for secret in secrets), "only their hashes are kept"


def test_another_address_has_a_token_made_and_shown_once(place: Path, tmp_path: Path) -> None:
    """127.0.0.2 is of this machine too, and stands for any that needs a token here: 0.0.0.0 listens there."""
    with serve(place / "library", "--read-only", "--host", "0.0.0.0", home=tmp_path) as served:
        (token,) = served.hear(r"^token: (\S{40,})$")
        assert token not in served.address
        own = served.address.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=own, trust_env=False, timeout=60) as http:
            assert http.get("/v1/photos").status_code == 401
            right = {"authorization": f"Bearer {token}"}
            assert http.get("/v1/photos", headers=right).status_code == 200
            assert http.get("/v1/photos", headers={**right, "host": "evil.example"}).status_code == 421
            assert http.get("/v1/photos", headers={**right, "host": socket.gethostname()}).status_code == 200
    assert served.said.count(token) == 1


def refused(*options: object, home: Path) -> str:
    """Why `virtue serve` does not start."""
    command = [sys.executable, "-m", "virtue", "serve", "--no-browser", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(home), timeout=120)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("virtue: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def _environment(home: Path) -> dict[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUE_", "XDG_"))}
    return {**kept, "HOME": str(home)}


def test_tokens_that_others_read_or_guess_are_refused(place: Path, tmp_path: Path, token_file: Path) -> None:
    database = ("--database", place / "library", "--port", 0, "--token-file")
    token_file.chmod(0o644)
    assert "chmod 600" in refused(*database, token_file, home=tmp_path)
    token_file.chmod(0o600)
    token_file.write_text("short")
    assert "16 to 1000" in refused(*database, token_file, home=tmp_path)
    assert "no such file" in refused(*database, tmp_path / "none", home=tmp_path)


def test_what_keeps_it_from_starting_is_a_sentence(served: Served, place: Path, tmp_path: Path) -> None:
    port = served.address.rstrip("/").rpartition(":")[2]
    taken = refused("--database", place / "library", "--port", port, home=tmp_path)
    assert f"port {port} of 127.0.0.1 is taken" in taken
    assert "there is no library" in refused("--database", tmp_path / "none", "--port", 0, home=tmp_path)
    nowhere = refused(
        "--database", place / "library", "--port", 0, "--host", "no.such.host.invalid", home=tmp_path
    )
    assert "no address no.such.host.invalid" in nowhere
    other = refused("--database", place / "library", "--port", 0, "--root", tmp_path / "x", home=tmp_path)
    assert "is not a folder" in other


def test_a_slow_or_broken_request_holds_nobody_up(served: Served) -> None:
    host, port = served.address.removeprefix("http://").rstrip("/").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    for stream in slow:
        stream.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n")
        stream.sendall(b"Content-Type: application/json\r\n\r\n{")
    with served.client() as http:
        assert http.post("/v1/search", json={"text": "a cat"}).status_code == 200
    for stream in slow:
        stream.close()
    with socket.create_connection((host, int(port))) as stream:
        stream.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        stream.settimeout(60)
        answer = stream.recv(4000)
        assert b" 400 " in answer and b"application/problem+json" in answer
    with served.client() as http:
        assert http.get("/healthz").json() == {"status": "ok"}
