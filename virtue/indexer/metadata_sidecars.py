"""Metadata in files beside a photo: XMP of Lightroom, darktable or digiKam, JSON of Google Takeout."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from virtue.errors import InputError
from virtue.indexer.links import LinkRule
from virtue.indexer.metadata import Metadata, read_xmp
from virtue.indexer.sidecar_files import SidecarFile, SidecarNames
from virtue.indexer.takeout import read_takeout
from virtue.indexer.xmp import Xmp
from virtue.paths import printable

MAX_XMP = 10_000_000
"""Bytes of a file of XMP: Lightroom keeps masks in it."""
MAX_JSON = 1_000_000
"""Bytes of a file of JSON beyond which it is not read."""


@dataclass(slots=True)
class MetadataBeside:
    """What files beside a photo say of it, that first that counts first. `is_complete`: none of them has to
    be tried again; `faults` are sentences on those that could not be used."""

    said: list[Metadata] = field(default_factory=list)
    is_complete: bool = True
    faults: list[str] = field(default_factory=list)


def read_beside(path: bytes, names: SidecarNames, links: LinkRule, into: MetadataBeside) -> None:
    """Adds what the files beside a photo say of it.

    Args:
        path: of the photo.
        names: of the files in its folder.
        links: which are followed.
    """
    folder, photo = os.path.split(path)
    has_json = False
    for each in names.of(photo):
        place = os.path.join(folder, each.name)
        if os.path.islink(place) and not links.admits(place):
            fault = "a link that leads out of what is indexed, and is not read"
            into.faults.append(f"{printable(place)}: {fault}")
            into.is_complete = False
            continue
        try:
            found = None if has_json else _read(place, each, os.fsdecode(photo))
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = error.strerror or error
            into.faults.append(f"{printable(place)}: {reason}: what is known from it is kept")
            into.is_complete = False
        except InputError as error:
            into.faults.append(f"{printable(place)}: {error}: not used")
        else:
            if found is not None:
                into.said.append(found)
                has_json |= not each.is_xmp


def _read(path: bytes, file: SidecarFile, photo: str) -> Metadata | None:
    """Reads a file; None: it says nothing of the photo.

    Raises:
        InputError: it cannot be used; the reason alone.
        OSError: it cannot be read now.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
        return None
    most = MAX_XMP if file.is_xmp else MAX_JSON
    with open(path, "rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        if not (file.is_xmp or file.is_certain):
            return None
        raise InputError(f"more than {most / 1e6:.0f} MB of metadata")
    if file.is_xmp:
        xmp = Xmp(content)
        if xmp.fault:
            raise InputError(f"no XMP that can be read ({xmp.fault})")
        return read_xmp(xmp)
    try:
        return read_takeout(content, photo, file.is_certain)
    except (ValueError, RecursionError):
        if not file.is_certain:
            return None
        raise InputError("no JSON that can be read") from None
