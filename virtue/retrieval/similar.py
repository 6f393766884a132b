"""Near-duplicates: the same bytes, the same picture, a similar one.

The bounds were measured with `mini` on 104 photos and on copies of them: half the size, JPEG of quality 30, a
twentieth or a tenth cut off, a quarter brighter (`benchmarks/similar.py`)."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from virtue.errors import InputError, PictureError
from virtue.paths import absolute
from virtue.retrieval.search import check_model, nothing_indexed
from virtue.store import Snapshot, Store
from virtue.store.catalogue.filters import RowFilter
from virtue.store.records import Copy, FullImage

if TYPE_CHECKING:
    from virtue.embedder import Embedder

Tier = Literal["same-bytes", "same-picture", "similar"]

MAX_DISTANCE = 8
"""Bits in which the hashes of the same picture may differ."""
SAME = 0.55
"""Dot product that the same picture must have too: photos of nearly one hash may show different things."""
SIMILAR = 0.8
"""Dot product from which on pictures are similar."""
DEPTH, DEEPER = 100, 4
"""Rows looked at first for similar photos, and by how many times more if all of them were."""


@dataclass(frozen=True, slots=True)
class Similar:
    """A file that is a near-duplicate.

    Attributes:
        tier: None: the file that the others of its group are compared with.
        score: dot product of the whole photos, at most 1.
        distance: bits in which their perceptual hashes differ, of 64.
        raw_path: as the file system has it. `path` is the same as str.
        photo_id: None: it is not in the library.
    """

    tier: Tier | None
    score: float
    distance: int
    raw_path: bytes
    width: int
    height: int
    photo_id: int | None

    @property
    def path(self) -> str:
        return os.fsdecode(self.raw_path)

    def as_json(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "score": round(self.score, 6),
            "distance": self.distance,
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "photo_id": self.photo_id,
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """A file to compare with the library: `vector` (dim,) float32; `photo_id` None: it is not in it."""

    copy: Copy
    photo_id: int | None
    vector: np.ndarray
    phash: int


def similar(
    store: Store,
    embedder: Callable[[], Embedder],
    path: str | os.PathLike[str] | None = None,
    threshold: float = SIMILAR,
) -> list[list[Similar]]:
    """Finds groups of near-duplicates. The others of a group are compared with its first.

    Args:
        embedder: gives the model; called if a photo is not in the library.
        path: a photo, which need not be in the library, or a folder of photos: what the library has of
            each, one group a file. None: the duplicates within the library, same bytes and same picture
            only; the largest picture comes first.
        threshold: dot product from which on a photo is similar.

    Raises:
        EmptyLibraryError: nothing is indexed.
        InputError: the path does not exist.
        ModelMismatchError: the library's vectors are of another model.
        PictureError: the photo cannot be read. In a folder it is left out, with a warning.
    """
    with store.read() as snapshot:
        if snapshot.generation is None:
            raise nothing_indexed(store)
        if path is None:
            return _find_groups(snapshot)
        groups = []
        for file in _files(absolute(path)):
            try:
                query = _read_query(snapshot, embedder, file)
            except PictureError as error:
                if not os.path.isdir(path):
                    raise
                warnings.warn(f"{error}: left out", stacklevel=2)
                continue
            found = _find_like(snapshot, query, threshold)
            if found:
                groups.append([_line(None, 1, 0, query.copy, query.photo_id), *found])
        return groups


# -- a file against the library ---------------------------------------------------------------------------


def _files(path: bytes) -> Iterator[bytes]:
    from virtue.pictures import SUFFIXES, printable

    if not os.path.lexists(path):
        raise InputError(f"there is no file or folder {printable(path)}: correct the path")
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if os.path.splitext(os.fsdecode(name))[1].lower() in SUFFIXES:
                yield os.path.join(folder, name)


def _read_query(snapshot: Snapshot, embedder: Callable[[], Embedder], path: bytes) -> _Query:
    from virtue.pictures import load

    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise PictureError(f"{os.fsdecode(path)}: {(error.strerror or str(error)).lower()}") from None
    photo = snapshot.photo_id(digest)
    if photo is not None:
        for image in snapshot.full_images([photo]):
            here = snapshot.copies([photo])[photo][0]._replace(path=path)
            return _Query(here, photo, snapshot.vectors_of("regions", [image.row])[0], image.phash)
    from virtue.embedder.model import Item
    from virtue.phash import perceptual_hash

    model = embedder()
    assert snapshot.generation is not None
    check_model(snapshot.generation, model)
    picture = load(os.fsdecode(path), side=model.model.side)
    (vector,) = model.embed([Item(model.scenes([picture])[0])])
    phash = perceptual_hash(picture.pixels)
    return _Query(Copy(path, picture.width, picture.height), None, vector, phash)


def _find_like(snapshot: Snapshot, query: _Query, threshold: float) -> list[Similar]:
    found: dict[int, tuple[Tier, float]] = {}
    if query.photo_id is not None:
        found[query.photo_id] = ("same-bytes", 1.0)
    near = snapshot.near_hashes(query.phash, MAX_DISTANCE)
    scores = snapshot.scores("regions", [image.row for image in near], query.vector[None])
    for image, score in zip(near, scores.tolist(), strict=True):
        if score >= SAME:
            found.setdefault(image.photo_id, ("same-picture", score))
    for photo, score in _above(snapshot, query.vector, threshold):
        found.setdefault(photo, ("similar", score))
    images = {image.photo_id: image for image in snapshot.full_images(found)}
    copies = snapshot.copies(found)
    lines = [
        _line(tier, score, _distance(images[photo], query.phash), copy, photo)
        for photo, (tier, score) in found.items()
        for copy in copies[photo]
        if copy.path != query.copy.path
    ]
    return sorted(lines, key=_order)


def _above(snapshot: Snapshot, vector: np.ndarray, threshold: float) -> Iterator[tuple[int, float]]:
    """Photos that score at least so much, with their scores."""
    ranking = snapshot.rank("regions", vector, filter=RowFilter(full_images="only"))
    depth = DEPTH
    ranked = ranking.top(depth)
    while len(ranked.rows) == depth and ranked.scores[-1] >= threshold:
        depth *= DEEPER
        ranked = ranking.top(depth)
    above = ranked.scores >= threshold
    scores = dict(zip(ranked.rows[above].tolist(), ranked.scores[above].tolist(), strict=True))
    for region in snapshot.regions([*scores]):
        yield region.photo_id, scores[region.row]


# -- the library against itself ---------------------------------------------------------------------------


def _find_groups(snapshot: Snapshot) -> list[list[Similar]]:
    """Forms groups. Each photo is compared with the largest of its group itself, so that no chains form."""
    near: dict[int, dict[int, tuple[float, int]]] = {}
    for pair in snapshot.same_pictures(MAX_DISTANCE, SAME):
        near.setdefault(pair.one, {})[pair.other] = pair.score, pair.distance
        near.setdefault(pair.other, {})[pair.one] = pair.score, pair.distance
    images = snapshot.full_images({*snapshot.repeated(), *near})
    copies = snapshot.copies([image.photo_id for image in images])
    grouped: set[int] = set()
    groups = []
    for photo in (
        image.photo_id for image in sorted(images, key=lambda image: (-image.area, image.photo_id))
    ):
        if photo in grouped:
            continue
        grouped.add(photo)
        members = {other: each for other, each in near.get(photo, {}).items() if other not in grouped}
        grouped |= members.keys()
        first, *rest = copies[photo]
        group = [_line("same-bytes", 1, 0, copy, photo) for copy in rest]
        for other, (score, distance) in members.items():
            group += [_line("same-picture", score, distance, copy, other) for copy in copies[other]]
        if group:
            groups.append([_line(None, 1, 0, first, photo), *sorted(group, key=_order)])
    return sorted(groups, key=lambda group: group[0].raw_path)


# -- what both need ---------------------------------------------------------------------------------------


def _distance(image: FullImage, phash: int) -> int:
    return (image.phash ^ phash).bit_count()


def _line(tier: Tier | None, score: float, distance: int, copy: Copy, photo: int | None) -> Similar:
    return Similar(tier, min(score, 1.0), distance, *copy, photo)


def _order(found: Similar) -> tuple[int, float, bytes]:
    tiers = ("same-bytes", "same-picture", "similar")
    return (tiers.index(found.tier or tiers[0]), -found.score, found.raw_path)
