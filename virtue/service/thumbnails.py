"""Small JPEGs of photos, made once and kept on the disk, within a bound."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SIDES = (128, 256, 512, 1024, 2048)
"""Pixels of the long side that thumbnails may have."""
MAX_BYTES = 512 << 20
"""Of all thumbnails of a user; those that were used longest ago go first."""
FILL = 0.9
"""Share of the bound that is left after some went."""


def cache_folder() -> Path:
    """Returns where thumbnails are kept: in the user's cache."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("virtue", appauthor=False)) / "thumbnails"


class Thumbnails:
    """Thumbnails by what they show. Threads may share it; a folder that cannot be written keeps none."""

    def __init__(self, folder: Path, limit: int = MAX_BYTES) -> None:
        self._folder, self._limit = folder, limit
        self._bytes: int | None = None
        self._changing = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Returns what is kept by this key, or what `make` makes, once, however many ask for it."""
        name = hashlib.sha256(key.encode()).hexdigest()
        file = self._folder / name[:2] / f"{name[2:]}.jpg"
        if (known := _read(file)) is not None:
            return known
        with self._changing:
            making = self._making.setdefault(name, threading.Lock())
        try:
            with making:
                if (known := _read(file)) is not None:
                    return known
                content = make()
                self._keep(file, content)
                return content
        finally:
            with self._changing:
                self._making.pop(name, None)

    def _keep(self, file: Path, content: bytes) -> None:
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=file.parent)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(content)
                os.replace(part, file)
            except OSError:
                os.unlink(part)
                raise
            with self._changing:
                if self._bytes is None:
                    self._bytes = sum(size for _, size, _ in self._kept())
                else:
                    self._bytes += len(content)
                if self._bytes > self._limit:
                    self._bytes = self._drop_oldest()

    def _kept(self) -> list[tuple[float, int, Path]]:
        found = []
        for file in self._folder.glob("*/*"):
            with suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
        return found

    def _drop_oldest(self) -> int:
        kept = sorted(self._kept(), key=lambda each: each[0])
        left = sum(size for _, size, _ in kept)
        for _, size, file in kept:
            if left <= FILL * self._limit:
                break
            with suppress(OSError):
                file.unlink()
            left -= size
        return left


def _read(file: Path) -> bytes | None:
    try:
        content = file.read_bytes()
    except OSError:
        return None
    with suppress(OSError):
        os.utime(file)  # it was used
    return content
