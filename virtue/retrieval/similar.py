"""Near-duplicates: the same bytes, the same picture, a similar one.

The bounds were measured with `mini` on 104 photos and on copies of them: half the size, JPEG of quality 30, a
twentieth or a tenth cut off, a quarter brighter (`benchmarks/similar.py`)."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from virtue.errors import InputError, PictureError
from virtue.formats import SUFFIXES
from virtue.paths import absolute, printable
from virtue.retrieval.checks import choose_embedder, nothing_indexed
from virtue.retrieval.library_duplicates import MAX_DISTANCE, SAME, find_duplicates
from virtue.retrieval.one_file import files_of, identify
from virtue.retrieval.similar_group import Member, Pixels, Similar, Tier, form_group
from virtue.stopping import checking
from virtue.store import Snapshot, Store
from virtue.store.catalogue.filters import RowFilter
from virtue.store.records import Copy

if TYPE_CHECKING:
    from virtue.embedder import Embedder

SIMILAR = 0.8
"""Dot product from which on pictures are similar."""
DEPTH, DEEPER = 100, 4
"""Rows looked at first for similar photos, and by how many times more if all of them were."""


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
) -> Iterator[list[Similar]]:
    """Yields groups of near-duplicates. The others of a group are compared with its first.

    Args:
        embedder: gives the model; called if a photo is not in the library.
        path: a photo, which need not be in the library, or a folder of photos: what the library has of
            each, one group a file. None: the duplicates within the library, same bytes and same picture
            only; the largest picture comes first. Of these no more than some are held at once.
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
            yield from find_duplicates(snapshot, stop)
            return
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
        yield from _keep_firsts(groups)


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
    pixels = Pixels()
    for image, score in zip(near, scores.tolist(), strict=True):
        if score >= SAME:
            same = pixels.are_same([query.copy], places[image.photo_id])
            found[image.photo_id] = ("same-picture" if same else "similar", score)
    for photo, score in _above(snapshot, query.vector, threshold):
        found.setdefault(photo, ("similar", score))
    found.pop(query.photo_id or 0, None)
    images = {image.photo_id: image for image in snapshot.full_images(found)}
    members = [
        Member(photo, tier, score, (images[photo].phash ^ query.phash).bit_count())
        for photo, (tier, score) in found.items()
    ]
    own = Member(query.photo_id, None, 1, 0)
    copies = snapshot.copies([*found, *([] if query.photo_id is None else [query.photo_id])])
    here = [query.copy._replace(path=name) for name in names]
    there = [] if query.photo_id is None else copies[query.photo_id]
    return form_group(own, here, there, [(member, copies[member.photo_id or 0]) for member in members])


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


def _keep_firsts(groups: list[list[Similar]]) -> list[list[Similar]]:
    """Makes no first of a group removable in another."""
    firsts = {identify(group[0].raw_path) for group in groups}
    return [
        [line if line.kept is None or identify(line.raw_path) not in firsts else replace(line, kept=None)
         for line in group]
        for group in groups
    ]  # fmt: skip
