"""Which files are pictures, by the endings of their names, and which of them can be read here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec

from virtue.distribution import install_hint

EXTRA = "formats"
"""The extra that brings the readers of RAW and JPEG XL."""

PLAIN = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".heic", ".heif", ".hif", ".avif",
))  # fmt: skip
"""Endings of pictures that are always read, in lower case."""
RAW = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc",
    ".mdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".raf", ".raw", ".rw2", ".rwl",
    ".sr2", ".srf", ".srw", ".x3f",
))  # fmt: skip
"""Of what cameras keep before they make a picture of it."""
JPEG_XL = frozenset({".jxl"})
VIDEO = frozenset((
    ".3g2", ".3gp", ".avi", ".flv", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".vob", ".webm", ".wmv",
))  # fmt: skip
"""Of videos, which are not read."""

SUFFIXES = PLAIN | RAW | JPEG_XL
"""Endings of pictures."""

_READERS = {"rawpy": RAW, "imagecodecs": JPEG_XL}
"""The packages of the extra, and what each reads."""


@lru_cache(maxsize=1)
def passed_by() -> frozenset[str]:
    """Returns the endings of what folders are full of and indexing passes by: videos, and pictures whose
    reader is not installed."""
    return VIDEO.union(*(suffixes for package, suffixes in _READERS.items() if not find_spec(package)))


def describe_passed_by(counts: Mapping[str, int]) -> str:
    """Returns what was passed by, of which kinds, and what to do to have it read, from the number of files of
    each ending; nothing if there were none."""
    parts = []
    for one, many, suffixes in (
        ("RAW photo", "RAW photos", RAW),
        ("JPEG XL picture", "JPEG XL pictures", JPEG_XL),
        ("video", "videos", VIDEO),
    ):
        kinds = {suffix: count for suffix, count in counts.items() if suffix in suffixes}
        if total := sum(kinds.values()):
            most_first = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
            named = ", ".join(f"{count:,} {suffix}" for suffix, count in most_first)
            parts.append(f"{total:,} {one if total == 1 else many} ({named}): {_way_out(suffixes)}")
    return "; ".join(parts)


def _way_out(suffixes: frozenset[str]) -> str:
    if suffixes is VIDEO:
        return "not read"
    return "index again" if suffixes.isdisjoint(passed_by()) else f"{install_hint(EXTRA)}, then index again"
