"""What `--like @2` means: the hits of a user's last search of a library.

Their ids alone are kept, no words and no paths, in a file of the user for each library. It is replaced as a
whole, so that two searches at once cannot mix."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from virtue.errors import InputError
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part
from virtue.store.layout import CATALOGUE

LOG = logging.getLogger("virtue")


def remember_hits(library: Path, hits: Sequence[Hit]) -> None:
    """Keeps the ids of these hits as those of the last search of this library. Where a user's folder cannot
    be written to, nothing is kept, and the log says so: a search is no reason to fail for that."""
    kept = {
        "first": hits[0].rank if hits else 1,
        "hits": [
            {"photo_id": hit.photo_id}
            if hit.kind == "photo" or hit.region_id is None
            else {"region_id": hit.region_id}
            for hit in hits
        ],
    }
    place = _place(library)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, written = tempfile.mkstemp(dir=place.parent, prefix=place.name)
        with open(descriptor, "w") as file:
            json.dump(kept, file)
        os.replace(written, place)
    except OSError as error:
        LOG.info("this search is not kept for --like @N: %s", error)


def recall_hit(library: Path, rank: int) -> Part:
    """Returns what the hit of this rank was, in the last search of this library.

    Raises:
        InputError: the last search had no such hit; or none of this library is known.
    """
    try:
        kept = json.loads(_place(library).read_text())
        first, hits = (
            int(kept["first"]),
            [Part(region_id=hit.get("region_id"), photo_id=hit.get("photo_id")) for hit in kept["hits"]],
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError):
        raise InputError(
            f"@{rank} is a hit of your last search of this library, and none is known: search it first"
        ) from None
    if not first <= rank < first + len(hits):
        last = f"it had the hits @{first} to @{first + len(hits) - 1}" if hits else "it found nothing"
        raise InputError(f"your last search had no hit @{rank}: {last}")
    return hits[rank - first]


def _place(library: Path) -> Path:
    """The file for this catalogue: ids mean nothing in another one, be it at the same path."""
    from platformdirs import user_state_path

    status = os.stat(library / CATALOGUE)
    identity = f"{status.st_dev}:{status.st_ino}:".encode() + os.fsencode(os.path.realpath(library))
    name = hashlib.sha256(identity).hexdigest()[:16]
    return user_state_path("virtue", appauthor=False) / "last_search" / f"{name}.json"
