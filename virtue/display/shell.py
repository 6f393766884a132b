"""Commands to copy, whatever a file is called."""

from __future__ import annotations

import shlex

from virtue.geometry import Box
from virtue.retrieval.hit import xywh


def search_command(box: Box | None, path: bytes, database: bytes | None = None) -> str:
    """Returns the `virtue search` command for what is in a box of a photo, or for the full image."""
    library = [] if database is None else ["--database", quote(database)]
    prompt = [] if box is None else ["--box", ",".join(f"{value:.12g}" for value in xywh(box))]
    return " ".join(["virtue", "search", *library, *prompt, quote(path)])


def quote(path: bytes) -> str:
    """Quotes a path for a shell (bash, zsh): as it is, in quotes, or, if it cannot be decoded or would break
    the line, as $'…' with escaped bytes."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return _spelt_out(path)
    if not text.isprintable():
        return _spelt_out(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _spelt_out(path: bytes) -> str:
    return "$'" + "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in path) + "'"
