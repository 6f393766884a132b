"""Commands to copy, whatever a file is called."""

from __future__ import annotations

from virtue.geometry import Box
from virtue.paths import quote
from virtue.retrieval.hit import xywh


def search_command(box: Box | None, path: bytes, database: bytes | None = None) -> str:
    """Returns the `virtue search` command for what is in a box of a photo, or for the full image."""
    library = [] if database is None else ["--database", quote(database)]
    prompt = [] if box is None else ["--box", ",".join(f"{value:.12g}" for value in xywh(box))]
    return " ".join(["virtue", "search", *library, *prompt, quote(path)])
