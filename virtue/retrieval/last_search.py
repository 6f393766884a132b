"""What `--like @2` means: the hits of a user's last search of a library.

Their ids alone are kept, no words and no paths, in a file of the user for each library. It is replaced as a
whole, so that two searches at once cannot mix. Another library at the same path may have the same ids: so the
photos themselves are told apart, by a digest of their perceptual hashes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from virtue.errors import InputError
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part

if TYPE_CHECKING:
    from virtue.store import Snapshot, Store

LOG = logging.getLogger("virtue")


def remember_hits(store: Store, hits: Sequence[Hit]) -> None:
    """Keeps the ids of these hits as those of the last search of this library. Where a user's folder cannot
    be written to, nothing is kept, and the log says so: a search is no reason to fail for that."""
    with store.read() as snapshot:
        photos = _digests(snapshot, [hit.photo_id for hit in hits])
    kept = {
        "first": hits[0].rank if hits else 1,
        "hits": [
            {
                "region_id": None if hit.kind == "photo" else hit.region_id,
                "photo_id": hit.photo_id,
                "photo": photos.get(hit.photo_id),
            }
            for hit in hits
        ],
    }
    place = _place(store)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, written = tempfile.mkstemp(dir=place.parent, prefix=place.name)
        with open(descriptor, "w") as file:
            json.dump(kept, file)
        os.replace(written, place)
    except OSError as error:
        LOG.info("this search is not kept for --like @N: %s", error)


def recall_hit(store: Store, rank: int) -> Part:
    """Returns what the hit of this rank was, in the last search of this library.

    Raises:
        InputError: the last search had no such hit; none of this library is known; or the hit is no longer
            in it.
    """
    try:
        kept = json.loads(_place(store).read_text())
        first, hits = int(kept["first"]), [_read(hit) for hit in kept["hits"]]
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(
            f"@{rank} is a hit of your last search of this library, and none is known: search it first"
        ) from None
    if not first <= rank < first + len(hits):
        last = f"it had the hits @{first} to @{first + len(hits) - 1}" if hits else "it found nothing"
        raise InputError(f"your last search had no hit @{rank}: {last}")
    region, photo, digest = hits[rank - first]
    with store.read() as snapshot:
        there = snapshot.locate(region, photo if region is None else None)
        if there is None or there.photo_id != photo or _digests(snapshot, [photo]).get(photo) != digest:
            raise InputError(
                f"@{rank} of your last search is no longer in this library as it was: search it again"
            )
    return Part(photo_id=photo) if region is None else Part(region_id=region)


def _read(hit: dict[str, object]) -> tuple[int | None, int, str | None]:
    """Returns region_id, photo_id and digest.

    Raises:
        KeyError, TypeError, ValueError: they are not what was written.
    """
    region, photo, digest = hit["region_id"], hit["photo_id"], hit["photo"]
    if not isinstance(region, int | None) or not isinstance(photo, int) or not isinstance(digest, str | None):
        raise ValueError("no ids")
    return region, photo, digest


def _digests(snapshot: Snapshot, photos: Sequence[int]) -> dict[int, str]:
    images = snapshot.full_images({*photos})
    return {image.photo_id: hashlib.sha256(b"%d" % image.phash).hexdigest()[:16] for image in images}


def _place(store: Store) -> Path:
    from platformdirs import user_state_path

    library = os.path.realpath(store.folder) if store.folder else store.name
    name = hashlib.sha256(os.fsencode(library)).hexdigest()[:16]
    return user_state_path("virtue", appauthor=False) / "last_search" / f"{name}.json"
