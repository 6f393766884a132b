"""The page that people open: its files, as `web/` builds them, lie in `virtue/service/page`."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

from virtue.service.problems import Problem

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "page"
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
CHANGES_NEVER = "private, max-age=31536000, immutable"
"""Caching of files that are named by what they hold."""


def _files() -> dict[str, Path]:
    return {file.relative_to(FOLDER).as_posix(): file for file in FOLDER.rglob("*") if file.is_file()}


@router.get("/")
async def page() -> Response:
    """The page."""
    return _answer("index.html", "no-cache")


@router.get("/icon.svg")
async def icon() -> Response:
    return _answer("icon.svg", "private, max-age=86400")


@router.get("/licences.txt")
async def licences() -> Response:
    """The licences of what the page is made of."""
    return _answer("licences.txt", "no-cache")


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """A script or a style of the page."""
    return _answer(f"assets/{name}", CHANGES_NEVER)


def _answer(name: str, caching: str) -> Response:
    file = _files().get(name)
    if file is None:
        raise Problem(404, "there is nothing at this address: open / for the page")
    headers = {"cache-control": caching}
    return Response(file.read_bytes(), media_type=MEDIA_TYPES[file.suffix], headers=headers)
