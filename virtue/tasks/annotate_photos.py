"""What a program says of photos: captions, tags, ratings, regions. Found at once, and kept when photos are
indexed again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np

from virtue.embedder.model import Item, Model, pools_alpha
from virtue.errors import InputError, PictureError, VirtueError
from virtue.geometry import Box
from virtue.indexer.embedding import MAX_CAPTION, MAX_CAPTIONS, region_item
from virtue.indexer.indexing import require_model
from virtue.indexer.masks import is_encoding
from virtue.indexer.metadata import MAX_TAG, MAX_TAGS
from virtue.paths import hash_file, printable
from virtue.pictures import Picture, load
from virtue.store import NewRegion, Snapshot
from virtue.store.catalogue.given import Given
from virtue.store.records import Photo, PhotoChange, Region
from virtue.whole_numbers import read_whole

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Store

MAX_REGIONS = 1_000
"""Regions that a photo may be given."""

BATCH = 64
"""Texts or regions that are embedded at once."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is said of a photo. What is given takes the place of what was there; what is not, stays.

    Attributes:
        captions: of the whole photo. Those that were read from its file, or from a text beside it, stay too.
        tags: in place of those that the photo says itself; None: they stay.
        rating: 0 to 5, or None for no rating; `...`: it stays.
        regions: all that the photo shall have beside those that the model proposes. One of `Photo.regions` is
            kept, or changed if `dataclasses.replace` changed it; what is left out goes, also if the photo's
            metadata mark it. A new one, or a new box, needs the photo's file.
    """

    photo_id: int
    captions: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    rating: int | EllipsisType | None = ...
    regions: Sequence[Region] | None = None


def annotate(store: Store, embedder: Callable[[], Embedder], annotations: Iterable[Annotation]) -> None:
    """Writes down what is said of photos, all of it or nothing.

    Args:
        embedder: gives the model; called if there are new captions or regions.

    Raises:
        InputError: the library has not one of the photos; something cannot be kept; or a new region needs a
            file that cannot be read. Names the photo.
        ModelMismatchError: the library's vectors are of another model.
        LockedError: another process is writing.
    """
    wanted = list(annotations)
    with store.write("annotate") as writer:
        with store.read() as snapshot:
            ids = [_photo_id(each) for each in wanted]
            if len(set(ids)) < len(ids):
                raise InputError("a photo is annotated twice: say all of it at once")
            known = {photo.photo_id: photo for photo in snapshot.photos(ids)}
            changes = []
            for each in wanted:
                try:
                    if each.photo_id not in known:
                        raise InputError("this library has no such photo")
                    changes.append(_change(snapshot, embedder, known[each.photo_id], each))
                except VirtueError as error:
                    raise type(error)(f"photo {each.photo_id}: {error}", hint=error.hint) from error
        if changes:
            writer.annotate(changes)


def _photo_id(said: Annotation) -> int:
    if not isinstance(said, Annotation):
        raise InputError(f"what is said of photos are virtue.Annotations, not {type(said).__name__}")
    return read_whole("photo_id", said.photo_id)


def _change(
    snapshot: Snapshot, embedder: Callable[[], Embedder], photo: Photo, said: Annotation
) -> PhotoChange:
    nothing = np.zeros((0, snapshot.generation.dim if snapshot.generation else 0), np.float32)
    change = PhotoChange(photo.photo_id, nothing, nothing, _metadata(snapshot, photo, said))
    if said.captions is not None:
        captions = _read_texts("captions", said.captions, MAX_CAPTIONS, MAX_CAPTION)
        change = replace(
            change,
            captions=tuple(text for text in captions if text not in photo.captions),
            dropped_captions=tuple(text for text in photo.captions if text not in captions),
        )
    if said.regions is not None:
        change = _with_regions(change, photo, said.regions)
    texts = [
        *change.captions,
        *(text for _, _, own in change.reworded for text in own),
        *(text for _, own in change.regions for text in own),
    ]
    if not (texts or change.regions):
        return change
    model = embedder()
    require_model(snapshot.generation, model)
    if texts:
        change = replace(change, caption_vectors=_embed(model, [Item(text=text) for text in texts]))
    if change.regions:
        (scene,) = model.scenes([_load(photo, model.model)])
        items = [region_item(scene, region) for region, _ in change.regions]
        change = replace(change, region_vectors=_embed(model, items))
    return change


def _embed(model: Embedder, items: Sequence[Item]) -> np.ndarray:
    return np.concatenate([model.embed(items[n : n + BATCH]) for n in range(0, len(items), BATCH)])


def _metadata(
    snapshot: Snapshot, photo: Photo, said: Annotation
) -> tuple[str, int | None, tuple[str, ...]] | None:
    if said.tags is None and isinstance(said.rating, EllipsisType) and said.regions is None:
        return None
    given = Given.from_json(snapshot.user_annotations(photo.hash).given)
    rating, tags = photo.rating, photo.tags
    if not isinstance(said.rating, EllipsisType):
        rating = _read_rating(said.rating)
        given = replace(given, has_rating=True, rating=rating)
    if said.tags is not None:
        tags = _read_texts("tags", said.tags, MAX_TAGS, MAX_TAG)
        given = replace(given, tags=tags)
    if said.regions is not None:
        given = replace(given, has_regions=True)
    return given.to_json(), rating, tags


def _with_regions(change: PhotoChange, photo: Photo, regions: Sequence[Region]) -> PhotoChange:
    """Adds to a change what becomes of the photo's regions."""
    before = {region.region_id: region for region in photo.regions}
    if isinstance(regions, Region) or len(regions) > MAX_REGIONS:
        raise InputError(f"regions are a list of at most {MAX_REGIONS:,} regions")
    new: list[tuple[NewRegion, tuple[str, ...]]] = []
    reworded, stay = [], set()
    for region in map(_read_region, regions, [photo] * len(regions)):
        own = before.get(region.region_id)
        if region.region_id is not None and (own is None or region.region_id in stay):
            raise InputError(
                f"it has no region {region.region_id} that was given, or it is named twice: take it from "
                "Photo.regions, or leave its region_id out"
            )
        if own is None or (own.box, own.mask) != (region.box, region.mask):
            new.append((NewRegion(region.box, "code", region.category, region.mask), region.captions))
            continue
        assert region.region_id is not None
        stay.add(region.region_id)
        if (own.category, own.captions) != (region.category, region.captions):
            reworded.append((region.region_id, region.category, region.captions))
    gone = tuple(id for id in before if id is not None and id not in stay)
    return replace(change, regions=tuple(new), reworded=tuple(reworded), dropped_regions=gone)


def _read_region(region: Any, photo: Photo) -> Region:
    if not isinstance(region, Region):
        raise InputError(f"a region is a virtue.Region, not {type(region).__name__}")
    box = Box.of(region.box).within(photo.width, photo.height)
    category = None
    if region.category is not None:
        (category,) = _read_texts("categories", [region.category], 1, MAX_TAG)
    if region.mask is not None and not is_encoding(region.mask, photo.width, photo.height):
        raise InputError("the mask of a region is no run-length encoding of the photo's size, as JSON")
    captions = _read_texts("captions", region.captions, MAX_CAPTIONS, MAX_CAPTION)
    return Region(box, category, captions, region.mask, region.region_id)


def _read_rating(rating: Any) -> int | None:
    if rating is not None and (type(rating) is not int or not 0 <= rating <= 5):
        raise InputError(f"a rating is a whole number from 0 to 5, or None, not {rating!r}")
    return rating


def _read_texts(what: str, texts: Any, most: int, length: int) -> tuple[str, ...]:
    """Returns texts as the catalogue keeps them, each once."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InputError(f"{what} are a list of texts, not {type(texts).__name__}")
    kept: dict[str, None] = {}
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{what} are texts, not {type(text).__name__}")
        clean = " ".join(text.encode("utf-8", "replace").decode().replace("\0", " ").split())
        if not clean or len(clean) > length:
            raise InputError(f"one of the {what} is empty, or longer than {length:,} characters")
        kept[clean] = None
    if len(kept) > most:
        raise InputError(f"a photo may have {most:,} {what}, not {len(kept):,}")
    return tuple(kept)


def _load(photo: Photo, model: Model) -> Picture:
    """Reads the photo's picture, of a file that still holds it."""
    reason = "it has no file that is there"
    for path in photo.raw_paths:
        if hash_file(path) != photo.hash:
            reason = f"{printable(path)} cannot be read, or was changed since it was indexed"
            continue
        try:
            return load(os.fsdecode(path), side=model.side, keep_alpha=pools_alpha(model))
        except PictureError as error:
            reason = str(error)
    raise InputError(f"a new region needs the photo's file, and {reason}: index again")
