"""A small server that answers as the Hugging Face hub does, or as badly as it can."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """`mood` is how it answers: well, 401, 403, 404, 503, "hang up" (no answer), "half" (a file of
    weights breaks off in the middle, each time), or "without NAME" (403 for that file)."""

    daemon_threads = True

    def __init__(self, models: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.models = models
        self.mood: int | str = "well"
        self.asked: list[str] = []
        self.licence = "cc-by-nc-4.0"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running(models: dict[str, Path]) -> Iterator[Hub]:
    with Hub(models) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        mood, path = self.server.mood, urlsplit(self.path).path
        if path.startswith("/mood/"):  # a test in another process says how it is to answer
            self.server.mood = unquote(path.removeprefix("/mood/"))
            self._send(200, b"")
        elif mood == "hang up":
            self.close_connection = True
            self.connection.close()
        elif mood == 503:
            self._send(503, b"{}")
        elif mood in (401, 403, 404):
            kind = {401: "RepoNotFound", 403: "GatedRepo", 404: "RepoNotFound"}[mood]
            self._send(mood, b'{"error": "no"}', {"X-Error-Code": kind, "X-Error-Message": "no"})
        elif path.startswith("/api/models/"):
            self._tell(path.removeprefix("/api/models/").split("/"))
        else:
            self._file(path)

    do_HEAD = do_GET

    def _tell(self, parts: list[str]) -> None:
        folder = self.server.models.get("/".join(parts[:2]))
        if folder is None:
            self._send(404, b'{"error": "no"}', {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no"})
            return
        if parts[2:3] == ["revision"] and parts[3] not in ("main", COMMIT):
            self._send(404, b'{"error": "no"}', {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no"})
            return
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if parts[2:3] == ["tree"]:
            self._send(200, json.dumps([_entry(file, folder) for file in files]).encode())
            return
        siblings = [
            {"rfilename": entry["path"], **entry} for entry in (_entry(file, folder) for file in files)
        ]
        told = {
            "id": "/".join(parts[:2]), "sha": COMMIT, "private": False, "tags": [],
            "downloads": 0, "likes": 0, "siblings": siblings, "cardData": {"license": self.server.licence},
        }  # fmt: skip
        self._send(200, json.dumps(told).encode())

    def _file(self, path: str) -> None:
        owner, name, _, _, *rest = path.strip("/").split("/")
        folder = self.server.models.get(f"{owner}/{name}")
        file = folder / "/".join(rest) if folder else None
        if file is None or not file.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = file.read_bytes()
        headers = {"ETag": f'"{_oid(file)}"', "X-Repo-Commit": COMMIT}
        if self.server.mood == f"without {file.name}":
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        elif self.server.mood == "half" and file.suffix == ".safetensors" and self.command == "GET":
            self._send(200, content, headers, sent=len(content) // 2)
            self.close_connection = True
            self.connection.close()
        else:
            self._send(200, content, headers)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests look at `asked` instead."""


def _entry(file: Path, folder: Path) -> dict[str, object]:
    place = file.relative_to(folder).as_posix()
    return {"type": "file", "path": place, "size": file.stat().st_size, "oid": _oid(file)}


def _oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
