"""The caption in a text file beside a photo."""

from __future__ import annotations

import codecs
import re

from virtue.errors import InputError
from virtue.paths import printable

MAX_BYTES = 100_000
"""Bytes beyond which a text beside a photo is not taken for its caption."""
LABEL = re.compile(r"\s*\d+([ \t]+-?[\d.]+(e-?\d+)?){4,}\s*")
"""A line of what object detectors are trained on: a class, and the numbers of a box or an outline."""


def read_sidecar(path: bytes) -> str | None:
    """Reads the caption: UTF-8, UTF-16 with a byte order mark, or else Latin-1, which reads anything. None:
    it is blank, or lists the labels of a detector.

    Raises:
        InputError: it is too long for a caption.
        OSError: it cannot be read now.
    """
    with open(path, "rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"{printable(path)}: more than {MAX_BYTES:,} bytes: not used as a caption")
    text = _decode(content).replace("\0", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    return None if all(map(LABEL.fullmatch, lines)) else " ".join(text.split())


def _decode(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
