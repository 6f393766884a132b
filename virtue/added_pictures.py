"""Pictures that a program adds under names of its own: files in a folder of the library, so that all that is
done with photos can be done with them.

The file of a name has the name's own characters, but for those that mean something in a path, which are
escaped as in addresses. A name without the ending of a picture gets one behind a %.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from virtue.errors import InputError

FOLDER = "virtue-pictures"
"""The folder of a library that they lie in."""
MAX_NAME_BYTES = 200
"""Of the file of a name; file systems take 255."""

_ESCAPED = re.compile(r"""[%/\\:*?"<>|\x00-\x1f\x7f]|^[.@]|[ .]$""")
_ENDING = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|hei[cf]|avif)$", re.IGNORECASE)
_MAGIC = {b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp", b"II*": ".tif"}
"""How files begin; anything else is called .jpg, which the readers of pictures do not mind."""


def folder_of(library: Path) -> bytes:
    """Returns where a library has the pictures that were added to it."""
    return os.path.join(os.path.realpath(os.fsencode(library)), os.fsencode(FOLDER))


def file_of(name: str, content: bytes) -> bytes:
    """Returns the name of the file of a picture.

    Raises:
        InputError: no file can be called so.
    """
    if not isinstance(content, bytes):
        raise InputError(f"the picture {name!r} must be the bytes of a file, not {type(content).__name__}")
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{name!r} is no name for a picture: give a text")
    escaped = _ESCAPED.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)
    if not _ENDING.search(escaped):
        ending = next((e for start, e in _MAGIC.items() if content.startswith(start)), ".jpg")
        escaped += "%" + ending
    try:
        file = escaped.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name!r} is no name for a picture: it is no text") from None
    if len(file) > MAX_NAME_BYTES:
        raise InputError(f"{name[:40]!r}... is too long a name for a picture: {MAX_NAME_BYTES} bytes at most")
    return file


def name_of(path: bytes) -> str | None:
    """Returns the name under which the picture at this path was added; None: it is a photo like any other."""
    folder, file = os.path.split(path)
    if os.path.basename(folder) != os.fsencode(FOLDER):
        return None
    return unquote(re.sub(r"%\.\w+$", "", os.fsdecode(file)))


def is_folder(path: bytes) -> bool:
    """Returns whether this is where a library has them."""
    return os.path.basename(path) == os.fsencode(FOLDER)
