"""Near-duplicates: the same bytes, the same picture, a similar one.

The bounds were measured with `mini` on 104 photos and on copies of them: half the size, JPEG of quality 30, a
twentieth or a tenth cut off, a quarter brighter (`benchmarks/similar.py`)."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from virtue.errors import InputError, PictureError
from virtue.retrieval.search import check_model, nothing_indexed
from virtue.store import Snapshot, Store
from virtue.store.catalogue.photos import Copy, Wholes
from virtue.store.vectors.exact import decode

if TYPE_CHECKING:
    from virtue.embedder import Embedder

Tier = Literal["same-bytes", "same-picture", "similar"]

BITS = 8
"""Bits in which the hashes of the same picture may differ."""
SAME = 0.55
"""Dot product that the same picture must have too: photos of nearly one hash may show different things."""
SIMILAR = 0.8
"""Dot product from which on pictures are similar."""
PLAIN = 4
"""Hashes of which fewer bits are set, or unset, say nothing: those of a picture in one colour, or of a slow
change from side to side."""
DEPTH, DEEPER = 100, 4
"""Rows looked at first for similar photos, and by how many times more if all of them were."""
BLOCK = 256
"""Hashes that are compared at once with all of their band; 16 times as many pairs of vectors are."""


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
class _Asked:
    """A file to compare with the library: `vector` (dim,) float32."""

    copy: Copy
    photo_id: int | None
    vector: np.ndarray
    phash: np.uint64


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
        whole = snapshot.wholes()
        if path is None:
            return list(_groups(snapshot, whole))
        groups = []
        for file in _files(os.path.abspath(os.fsencode(path))):
            try:
                asked = _asked(snapshot, whole, embedder, file)
            except PictureError as error:
                if not os.path.isdir(path):
                    raise
                warnings.warn(f"{error}: left out", stacklevel=2)
                continue
            found = _like(snapshot, whole, asked, threshold)
            if found:
                groups.append([_line(None, 1, 0, asked.copy, asked.photo_id), *found])
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


def _asked(snapshot: Snapshot, whole: Wholes, embedder: Callable[[], Embedder], path: bytes) -> _Asked:
    from virtue.pictures import load

    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise PictureError(f"{os.fsdecode(path)}: {(error.strerror or str(error)).lower()}") from None
    photo = snapshot.photo_id(digest)
    place = None if photo is None else np.flatnonzero(whole.ids == photo)
    if photo is not None and place is not None and len(place):
        here = snapshot.copies([photo])[photo][0]._replace(path=path)
        return _Asked(here, photo, _vectors(snapshot, whole, place)[0], whole.phashes[place[0]])
    from virtue.embedder.model import Item
    from virtue.phash import perceptual_hash

    model = embedder()
    assert snapshot.generation is not None
    check_model(snapshot.generation, model)
    picture = load(os.fsdecode(path), side=model.model.side)
    (vector,) = model.embed([Item(model.scenes([picture])[0])])
    phash = np.uint64(perceptual_hash(picture.pixels))
    return _Asked(Copy(path, picture.width, picture.height), None, vector, phash)


def _like(snapshot: Snapshot, whole: Wholes, asked: _Asked, threshold: float) -> list[Similar]:
    distances = np.bitwise_count(whole.phashes ^ asked.phash)
    scores: dict[int, float] = {}
    tiers: dict[int, Tier] = {}
    if asked.photo_id is not None:
        place = int(np.flatnonzero(whole.ids == asked.photo_id)[0])
        tiers[place], scores[place] = "same-bytes", 1.0
    if not _plain(asked.phash):
        near = np.flatnonzero(distances <= BITS)
        for place, score in zip(near.tolist(), _vectors(snapshot, whole, near) @ asked.vector, strict=True):
            if score >= SAME and place not in tiers:
                tiers[place], scores[place] = "same-picture", float(score)
    for place, score in _above(snapshot, whole, asked.vector, threshold):
        if place not in tiers:
            tiers[place], scores[place] = "similar", score
    copies = snapshot.copies([int(whole.ids[place]) for place in tiers])
    found = [
        _line(tier, scores[place], int(distances[place]), copy, int(whole.ids[place]))
        for place, tier in tiers.items()
        for copy in copies[int(whole.ids[place])]
        if copy.path != asked.copy.path
    ]
    return sorted(found, key=_order)


def _above(
    snapshot: Snapshot, whole: Wholes, vector: np.ndarray, threshold: float
) -> Iterator[tuple[int, float]]:
    """Places of the photos that score at least so much."""
    allowed = np.zeros(len(snapshot.vectors("regions")), bool)
    allowed[whole.rows] = True
    depth = DEPTH
    while True:
        ranked = snapshot.search("regions", vector, depth, allowed)
        if len(ranked.rows) < depth or ranked.scores[-1] < threshold:
            break
        depth *= DEEPER
    order = np.argsort(whole.rows)
    places = order[np.searchsorted(whole.rows, ranked.rows, sorter=order)]
    for place, score in zip(places.tolist(), ranked.scores.tolist(), strict=True):
        if score >= threshold:
            yield place, score


# -- the library against itself ---------------------------------------------------------------------------


def _groups(snapshot: Snapshot, whole: Wholes) -> Iterator[list[Similar]]:
    """Each photo is compared with the largest of its group itself, not with one that is like another."""
    near: dict[int, dict[int, float]] = {}
    for one, other, score in _same_pictures(snapshot, whole):
        near.setdefault(one, {})[other] = score
        near.setdefault(other, {})[one] = score
    places = {photo: place for place, photo in enumerate(whole.ids.tolist())}
    repeated = {places[photo] for photo in snapshot.repeated() if photo in places}
    copies = snapshot.copies([int(whole.ids[place]) for place in repeated | near.keys()])
    taken: set[int] = set()
    found = []
    for place in sorted(repeated | near.keys(), key=lambda place: (-whole.areas[place], place)):
        if place in taken:
            continue
        taken.add(place)
        members = {other: score for other, score in near.get(place, {}).items() if other not in taken}
        taken |= members.keys()
        first, *rest = copies[int(whole.ids[place])]
        id = int(whole.ids[place])
        group = [_line("same-bytes", 1, 0, copy, id) for copy in rest]
        for other, score in members.items():
            distance = int(np.bitwise_count(whole.phashes[place] ^ whole.phashes[other]))
            id_of_other = int(whole.ids[other])
            group += [
                _line("same-picture", score, distance, copy, id_of_other) for copy in copies[id_of_other]
            ]
        if group:
            found.append([_line(None, 1, 0, first, id), *sorted(group, key=_order)])
    yield from sorted(found, key=lambda group: group[0].raw_path)


def _same_pictures(snapshot: Snapshot, whole: Wholes) -> Iterator[tuple[int, int, float]]:
    for ones, others in near_hashes(whole.phashes):
        for first in range(0, len(ones), 16 * BLOCK):
            one, other = ones[first : first + 16 * BLOCK], others[first : first + 16 * BLOCK]
            scores = np.vecdot(_vectors(snapshot, whole, one), _vectors(snapshot, whole, other))
            same = scores >= SAME
            yield from zip(one[same].tolist(), other[same].tolist(), scores[same].tolist(), strict=True)


def near_hashes(phashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Finds pairs of hashes within `BITS` of each other, by their places, some of them several times. They
    are cut into one band more than they may differ in bits, so that near ones share a band, and only those
    that do are compared (M. Norouzi et al., "Fast search in Hamming space with multi-index hashing", CVPR
    2012)."""
    telling = np.flatnonzero(~_plain(phashes))
    edges = np.linspace(0, 64, BITS + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        band = (phashes[telling] >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = telling[np.argsort(band, kind="stable")]
        ends = np.cumsum(np.unique(band, return_counts=True)[1])
        for places in np.split(order, ends[:-1]):
            for first in range(0, len(places), BLOCK):
                some, rest = places[first : first + BLOCK], places[first:]
                close = np.bitwise_count(phashes[some][:, None] ^ phashes[rest]) <= BITS
                one, other = np.nonzero(np.triu(close, 1))
                if len(one):
                    yield some[one], rest[other]


# -- what both need ---------------------------------------------------------------------------------------


def _plain(phashes: Any) -> Any:
    bits = np.bitwise_count(phashes)
    return (bits < PLAIN) | (bits > 64 - PLAIN)


def _vectors(snapshot: Snapshot, whole: Wholes, places: np.ndarray) -> np.ndarray:
    return decode(snapshot.vectors("regions")[whole.rows[places]])


def _line(tier: Tier | None, score: float, distance: int, copy: Copy, photo: int | None) -> Similar:
    return Similar(tier, min(score, 1.0), distance, *copy, photo)


def _order(found: Similar) -> tuple[int, float, bytes]:
    tiers = ("same-bytes", "same-picture", "similar")
    return (tiers.index(found.tier or tiers[0]), -found.score, found.raw_path)
