"""The files of photos that the library holds, and of nothing else: a file is served if its content has the
hash by which the library knows the photo, whatever lies at its path now."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from io import BufferedReader

from virtue.service.problems import Problem
from virtue.store.records import Photo

MAX_REMEMBERED = 10_000
"""Files whose hash is not computed again while nothing about them changes."""
MAX_FILE = 1 << 30
"""Bytes of a file that is served."""

_MAGIC = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftyp", "image/heic"),
)


@dataclass(frozen=True, slots=True)
class OpenPhoto:
    """The open file of a photo, its name without folders, its bytes and its media type."""

    stream: BufferedReader
    name: str
    size: int
    media_type: str


class HeldPhotos:
    """Opens the files of photos. Threads may share it."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, ...], bytes] = OrderedDict()
        self._changing = threading.Lock()

    def open(self, photo: Photo) -> OpenPhoto:
        """Opens the file of a photo, at whichever of its paths it is.

        Raises:
            Problem: at none of them is what the library knows.
        """
        for path in photo.raw_paths:
            stream = self._open(path, photo.hash)
            if stream is not None:
                head = stream.read(16)
                stream.seek(0)
                size = os.fstat(stream.fileno()).st_size
                return OpenPhoto(stream, os.fsdecode(os.path.basename(path)), size, _media_type(head))
        raise Problem(
            410,
            f"the file of photo {photo.photo_id} is not where it was, or was changed: index its folder again",
            hint="virtue index",
        )

    def _open(self, path: bytes, hash: bytes) -> BufferedReader | None:
        try:
            # Without O_NONBLOCK a named pipe in its place would hold us.
            descriptor = os.open(
                path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            )
        except (OSError, ValueError):
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            os.close(descriptor)
            return None
        stream = os.fdopen(descriptor, "rb")
        if self._hash(stream, status) == hash:
            return stream
        stream.close()
        return None

    def _hash(self, stream: BufferedReader, status: os.stat_result) -> bytes:
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._changing:
            known = self._known.get(key)
        if known is None:
            known = hashlib.file_digest(stream, "sha256").digest()
            stream.seek(0)
            with self._changing:
                self._known[key] = known
                while len(self._known) > MAX_REMEMBERED:
                    self._known.popitem(last=False)
        return known


def _media_type(head: bytes) -> str:
    for start, magic, name in _MAGIC:
        if head[start : start + len(magic)] == magic:
            return name
    return "application/octet-stream"
