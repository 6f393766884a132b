"""Near-duplicates: the same bytes, the same picture, a similar one.

The bounds were measured with `mini` on 104 photos and on copies of them: half the size, JPEG of quality 30, a
twentieth or a tenth cut off, a quarter brighter (`benchmarks/similar.py`)."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from virtue.errors import InputError, PictureError
from virtue.formats import SUFFIXES
from virtue.paths import absolute, printable
from virtue.retrieval.checks import choose_embedder, nothing_indexed
from virtue.retrieval.one_file import are_copies, files_of, identify
from virtue.retrieval.same_picture import look, same_picture
from virtue.stopping import check_stop, checking
from virtue.store import Snapshot, Store
from virtue.store.catalogue.filters import RowFilter
from virtue.store.records import Copy

if TYPE_CHECKING:
    from virtue.embedder import Embedder

Tier = Literal["same-file", "same-bytes", "same-picture", "similar"]

MAX_DISTANCE = 8
"""Bits in which the hashes of the same picture may differ. Those of others may, too, so pixels decide."""
SAME = 0.55
"""Dot product that the same picture must have: photos of nearly one hash may show different things."""
SIMILAR = 0.8
"""Dot product from which on pictures are similar."""
TIERS: tuple[Tier, ...] = ("same-file", "same-bytes", "same-picture", "similar")
MAX_LOOKED_AT = 32
"""Pictures of which an overview is kept to be compared, 2.4 MB at most."""
MAX_COMPARED = 20
"""Photos that one which only looks alike is compared with, to find its own copies."""
DEPTH, DEEPER = 100, 4
"""Rows looked at first for similar photos, and by how many times more if all of them were."""


@dataclass(frozen=True, slots=True)
class Similar:
    """A file that is a near-duplicate.

    Attributes:
        tier: None: the file that the others of its group are compared with. "same-file": no copy, but another
            name of the file that stands before it.
        score: dot product of the whole photos, at most 1.
        distance: bits in which their perceptual hashes differ, of 64.
        raw_path: as the file system has it. `path` is the same as str.
        photo_id: None: it is not in the library.
        same_file_as: the path of which this is another name; None: it is a file of its own.
        kept: the first of its group, if that should have the same bytes.
    """

    tier: Tier | None
    score: float
    distance: int
    raw_path: bytes
    width: int
    height: int
    photo_id: int | None
    same_file_as: bytes | None = None
    kept: bytes | None = None

    @property
    def path(self) -> str:
        return os.fsdecode(self.raw_path)

    @property
    def removable(self) -> bool:
        """Whether the first of its group is another file with the same bytes. Reads both."""
        return self.kept is not None and are_copies(self.kept, self.raw_path)

    def as_json(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "score": round(self.score, 6),
            "distance": self.distance,
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "photo_id": self.photo_id,
            "same_file_as": None if self.same_file_as is None else os.fsdecode(self.same_file_as),
            "removable": self.removable,
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
    stop: threading.Event | None = None,
) -> list[list[Similar]]:
    """Finds groups of near-duplicates. The others of a group are compared with its first.

    Args:
        embedder: gives the model; called if a photo is not in the library.
        path: a photo, which need not be in the library, or a folder of photos: what the library has of
            each, one group a file. None: the duplicates within the library, same bytes and same picture
            only; the largest picture comes first.
        threshold: dot product from which on a photo is similar.
        stop: set by another thread, it ends the work by StoppedError.

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
            return _find_groups(snapshot, stop)
        groups = []
        for names in checking(_files(absolute(path)), stop):
            try:
                query = _read_query(snapshot, embedder, names[0])
            except PictureError as error:
                if not os.path.isdir(path):
                    raise
                warnings.warn(f"{error}: left out", stacklevel=2)
                continue
            group = _find_like(snapshot, query, names, threshold)
            if len(group) > 1:
                groups.append(group)
        return _keep_firsts(groups)


# -- a file against the library ---------------------------------------------------------------------------


def _files(path: bytes) -> list[list[bytes]]:
    """Returns the names of each file: of the one at this path, or of those that should be photos in the
    folder there."""
    if not os.path.lexists(path):
        raise InputError(f"there is no file or folder {printable(path)}: correct the path")
    if not os.path.isdir(path):
        return [[path]]
    found = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if os.path.splitext(os.fsdecode(name))[1].lower() in SUFFIXES:
                found.append(os.path.join(folder, name))
    return files_of(found)


def _read_query(snapshot: Snapshot, embedder: Callable[[], Embedder], path: bytes) -> _Query:
    from virtue.pictures import check_file, load

    try:
        check_file(path)
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
    except PictureError as error:
        raise PictureError(f"{printable(path)}: {error}") from None
    except OSError as error:
        raise PictureError(f"{printable(path)}: {(error.strerror or str(error)).lower()}") from None
    photo = snapshot.photo_id(digest)
    if photo is not None:
        for image in snapshot.full_images([photo]):
            here = snapshot.copies([photo])[photo][0]._replace(path=path)
            return _Query(here, photo, snapshot.vectors_of("regions", [image.row])[0], image.phash)
    from virtue.embedder.model import Item, pools_alpha
    from virtue.phash import perceptual_hash

    assert snapshot.generation is not None
    model = choose_embedder(snapshot.generation, embedder())
    picture = load(os.fsdecode(path), side=model.model.side, keep_alpha=pools_alpha(model.model))
    (vector,) = model.embed([Item(model.scenes([picture])[0])])
    phash = perceptual_hash(picture.pixels)
    return _Query(Copy(path, picture.width, picture.height), None, vector, phash)


def _find_like(snapshot: Snapshot, query: _Query, names: Sequence[bytes], threshold: float) -> list[Similar]:
    found: dict[int, tuple[Tier, float]] = {}
    near = [
        image for image in snapshot.near_hashes(query.phash, MAX_DISTANCE) if image.photo_id != query.photo_id
    ]
    scores = snapshot.scores("regions", [image.row for image in near], query.vector[None])
    places = snapshot.copies([image.photo_id for image in near])
    pixels = _Pixels()
    for image, score in zip(near, scores.tolist(), strict=True):
        if score >= SAME:
            same = pixels.are_same([query.copy], places[image.photo_id])
            found[image.photo_id] = ("same-picture" if same else "similar", score)
    for photo, score in _above(snapshot, query.vector, threshold):
        found.setdefault(photo, ("similar", score))
    found.pop(query.photo_id or 0, None)
    images = {image.photo_id: image for image in snapshot.full_images(found)}
    members = [
        _Member(photo, tier, score, (images[photo].phash ^ query.phash).bit_count())
        for photo, (tier, score) in found.items()
    ]
    own = _Member(query.photo_id, None, 1, 0)
    copies = snapshot.copies([*found, *([] if query.photo_id is None else [query.photo_id])])
    here = [query.copy._replace(path=name) for name in names]
    there = [] if query.photo_id is None else copies[query.photo_id]
    return _group(own, here, there, [(member, copies[member.photo_id or 0]) for member in members])


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


def _find_groups(snapshot: Snapshot, stop: threading.Event | None) -> list[list[Similar]]:
    """Forms groups. Each photo is compared with the largest of its group itself, so that no chains form."""
    near: dict[int, dict[int, tuple[float, int]]] = {}
    for pair in checking(snapshot.same_pictures(MAX_DISTANCE, SAME), stop):
        near.setdefault(pair.one, {})[pair.other] = pair.score, pair.distance
        near.setdefault(pair.other, {})[pair.one] = pair.score, pair.distance
    images = snapshot.full_images({*snapshot.repeated(), *near})
    copies = snapshot.copies([image.photo_id for image in images])
    pixels = _Pixels()
    grouped: set[int] = set()
    groups = []
    for photo in (
        image.photo_id for image in sorted(images, key=lambda image: (-image.area, image.photo_id))
    ):
        check_stop(stop)
        if photo in grouped:
            continue
        grouped.add(photo)
        others: list[tuple[_Member, Sequence[Copy]]] = []
        left = {other: each for other, each in near.get(photo, {}).items() if other not in grouped}
        for other, (score, distance) in left.items():
            same = pixels.are_same(copies[photo], copies[other])
            # What only looks alike may have copies of its own, and then a group of its own.
            if same or not _has_copies(other, near, copies, grouped, pixels):
                grouped.add(other)
                tier: Tier = "same-picture" if same else "similar"
                others.append((_Member(other, tier, score, distance), copies[other]))
        group = _group(_Member(photo, None, 1, 0), [], copies[photo], others)
        if len(group) > 1:
            groups.append(group)
    return sorted(groups, key=lambda group: group[0].raw_path)


def _has_copies(
    photo: int,
    near: Mapping[int, Mapping[int, tuple[float, int]]],
    copies: Mapping[int, Sequence[Copy]],
    grouped: Set[int],
    pixels: _Pixels,
) -> bool:
    """Returns whether a photo lies in several files, or has the same picture as others in no group yet."""
    if len(copies[photo]) > 1:
        return True
    nearest = sorted(near[photo], key=lambda other: near[photo][other], reverse=True)
    left = [other for other in nearest if other not in grouped][:MAX_COMPARED]
    return any(pixels.are_same(copies[photo], copies[other]) for other in left)


# -- what both need ---------------------------------------------------------------------------------------


class _Pixels:
    """Compares photos by the pixels of their files, of which it keeps the last few."""

    def __init__(self) -> None:
        self._look = lru_cache(maxsize=MAX_LOOKED_AT)(look)
        self._are_same = lru_cache(maxsize=None)(self._compare)

    def are_same(self, one: Sequence[Copy], other: Sequence[Copy]) -> bool:
        """Returns whether two photos are the same picture; False too where that cannot be told."""
        return self._are_same(_openable(one), _openable(other))

    def _compare(self, one: bytes, other: bytes) -> bool:
        first, second = self._look(os.fsdecode(one)), self._look(os.fsdecode(other))
        return first is not None and second is not None and same_picture(first, second)


def _openable(copies: Sequence[Copy]) -> bytes:
    """Returns the first path where there is a file; the first if there is none."""
    return next((copy.path for copy in copies if os.path.isfile(copy.path)), copies[0].path)


@dataclass(frozen=True, slots=True)
class _Member:
    """A photo of a group, as it is told of each of its files."""

    photo_id: int | None
    tier: Tier | None
    score: float
    distance: int

    def order(self) -> tuple[int, float]:
        return TIERS.index(self.tier or TIERS[0]), -self.score


def _group(
    first: _Member,
    here: Sequence[Copy],
    there: Sequence[Copy],
    others: Sequence[tuple[_Member, Sequence[Copy]]],
) -> list[Similar]:
    """Forms a group of its first photo and others.

    Args:
        here: names of the file that stays the first; empty: the first of `there`, a file that is no link.
        there: where else the first photo lies.
    """
    copies = {copy.path: copy for copy in (*here, *there)}
    files = files_of(copies)
    if here:
        files.sort(key=lambda names: here[0].path not in names)
    lines: list[Similar] = []
    for names in files:
        if not lines:
            lines += _lines(first, [copies[name] for name in names])
        else:
            again = replace(first, tier="same-bytes")
            lines += _lines(again, [copies[name] for name in names], kept=files[0][0])
    taken = {line.raw_path for line in lines}
    rest = []
    for member, some in others:
        copies = {copy.path: copy for copy in some if copy.path not in taken}
        rest += [(member, [copies[name] for name in names]) for names in files_of(copies)]
    for member, own in sorted(rest, key=lambda each: (*each[0].order(), each[1][0].path)):
        lines += _lines(member, own)
    return lines


def _lines(member: _Member, names: Sequence[Copy], kept: bytes | None = None) -> Iterator[Similar]:
    """Yields the lines of one file, which has these names."""
    for copy in names:
        is_first = copy is names[0]
        yield Similar(
            member.tier if is_first else "same-file", min(member.score, 1.0), member.distance, *copy,
            member.photo_id, None if is_first else names[0].path, kept if is_first else None,
        )  # fmt: skip


def _keep_firsts(groups: list[list[Similar]]) -> list[list[Similar]]:
    """Makes no first of a group removable in another."""
    firsts = {identify(group[0].raw_path) for group in groups}
    return [
        [line if line.kept is None or identify(line.raw_path) not in firsts else replace(line, kept=None)
         for line in group]
        for group in groups
    ]  # fmt: skip
