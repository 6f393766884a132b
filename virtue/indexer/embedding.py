"""Decoded photos -> regions and captions with their vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from virtue.embedder.model import BatchProposer, Item, Model, Proposal
from virtue.errors import InputError
from virtue.geometry import Box, Prompt
from virtue.indexer import masks
from virtue.indexer.messages import Decoded
from virtue.indexer.user_annotations import FittedAnnotations
from virtue.indexer.walk import Found
from virtue.paths import printable
from virtue.pictures import Picture
from virtue.store import CaptionUpdate, EmbeddedPhoto, NewCaption, NewRegion, PhotoInfo
from virtue.store.catalogue.given import Given
from virtue.store.records import INDEXED_SOURCES, ReadText

MIN_SAME_IOU = 0.7
"""Overlap (intersection over union) from which on a proposal adds nothing to a given region."""

MAX_CAPTIONS = 1_000
"""Captions of a photo that are kept, the user's own first."""
MAX_CAPTION = 100_000
"""Characters of a caption: what is longer is left out."""


class PhotoEmbedder(Protocol):
    """The part of `Embedder` that indexing needs."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def model(self) -> Model: ...
    def scenes(self, pictures: Sequence[Picture]) -> list[Any]: ...
    def embed(self, items: Sequence[Item]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A photo to embed: at most `limit` proposals beside what is given, in which what its metadata mark comes
    last. `decoded` has the metadata of its file and of those beside it; `sidecars` are texts; `metadata` is
    what code gave in place of that, as JSON (`Given`); `read` is the text that was read in it before."""

    file: Found
    hash: bytes
    decoded: Decoded
    settings: str
    limit: int
    given: FittedAnnotations
    sidecars: tuple[str, ...]
    metadata: str | None = None
    read: ReadText = field(default_factory=ReadText)

    def without_pixels(self) -> Job:
        """Returns the job without what only the model of pictures needs."""
        picture = replace(self.decoded.picture, pixels=np.zeros((0, 0, 3), np.uint8), alpha=None)
        return replace(self, decoded=replace(self.decoded, picture=picture))


def embed_photos(
    embedder: PhotoEmbedder, jobs: Sequence[Job], warn: Callable[[str], None]
) -> list[EmbeddedPhoto | InputError]:
    """Embeds photos: one pass over each picture, one call for all texts. A photo that the model cannot take
    gives an error in its place. `warn` is called for captions that had to be left out."""
    try:
        return list(_embed_batch(embedder, jobs, warn))
    except InputError as error:
        if len(jobs) == 1:
            return [error]
        return [one for job in jobs for one in embed_photos(embedder, [job], warn)]


def _embed_batch(
    embedder: PhotoEmbedder, jobs: Sequence[Job], warn: Callable[[str], None]
) -> Iterator[EmbeddedPhoto]:
    scenes = embedder.scenes([job.decoded.picture for job in jobs])
    regions = list(map(_regions, jobs, _propose(embedder, jobs, scenes)))
    region_vectors = _region_vectors(embedder, scenes, regions)
    captions = embed_captions(embedder, [_captions(job, warn) for job in jobs], warn)
    for job, own_regions, vectors, own_captions in zip(jobs, regions, region_vectors, captions, strict=True):
        yield EmbeddedPhoto(photo_info(job), job.settings, own_regions, vectors, *own_captions)


def embed_texts(
    embedder: PhotoEmbedder, jobs: Sequence[Job], warn: Callable[[str], None]
) -> list[CaptionUpdate]:
    """Embeds what was said anew of photos whose vectors are there, in their files and beside them."""
    embedded = embed_captions(embedder, [indexed_captions(job, warn) for job in jobs], warn)
    return [
        CaptionUpdate(job.hash, *captions, info=photo_info(job))
        for job, captions in zip(jobs, embedded, strict=True)
    ]


def indexed_captions(job: Job, warn: Callable[[str], None]) -> list[NewCaption]:
    """Returns the captions of the photo itself that indexing finds."""
    found = _captions(job, warn)
    return [caption for caption in found if caption.source in INDEXED_SOURCES and caption.region is None]


def embed_captions(
    embedder: PhotoEmbedder, captions: Sequence[Sequence[NewCaption]], warn: Callable[[str], None]
) -> list[tuple[tuple[NewCaption, ...], np.ndarray]]:
    """Embeds lists of captions: each with its vectors, (len(list), dim) float32. A caption that is too long
    for the model is left out, and `warn` is called."""
    # Lines of text come again and again, as on buttons of a page.
    told = {caption.text: caption for some in captions for caption in some}
    vectors = dict(zip(told, _embed_texts(embedder, [*told.values()], warn), strict=True))
    result = []
    for some in captions:
        pairs = [(caption, vector) for caption in some if (vector := vectors[caption.text]) is not None]
        rows = np.array([vector for _, vector in pairs], np.float32).reshape(len(pairs), embedder.dim)
        result.append((tuple(caption for caption, _ in pairs), rows))
    return result


def _embed_texts(
    embedder: PhotoEmbedder, captions: Sequence[NewCaption], warn: Callable[[str], None]
) -> list[np.ndarray | None]:
    if not captions:
        return []
    try:
        return list(embedder.embed([Item(text=caption.text) for caption in captions]))
    except InputError as error:
        half = len(captions) // 2
        if half:
            return [
                v for some in (captions[:half], captions[half:]) for v in _embed_texts(embedder, some, warn)
            ]
        (caption,) = captions
        if caption.source == "ocr" and len(caption.text) > 1:
            # A page has more text than some models read: its beginning stands for it.
            shorter = replace(caption, text=caption.text[: len(caption.text) // 2])
            return _embed_texts(embedder, [shorter], warn)
        warn(f"the caption {caption.text[:40]!r}... is left out: {error}")
        return [None]


def photo_info(job: Job) -> PhotoInfo:
    decoded, meta, given = job.decoded, job.decoded.metadata, Given.from_json(job.metadata)
    return PhotoInfo(
        job.hash,
        decoded.picture.width,
        decoded.picture.height,
        taken=meta.taken,
        camera=meta.camera,
        latitude=meta.latitude,
        longitude=meta.longitude,
        rating=given.rating if given.has_rating else meta.rating,
        tags=meta.all_tags if given.tags is None else given.tags,
        phash=decoded.phash,
        given=job.metadata,
        read_by=job.read.read_by,
    )


def _propose(embedder: PhotoEmbedder, jobs: Sequence[Job], scenes: Sequence[Any]) -> list[list[Proposal]]:
    """Makes proposals for the photos that have fewer regions than they may have."""
    proposals: list[list[Proposal]] = [[] for _ in jobs]
    wanting = [number for number, job in enumerate(jobs) if job.limit > len(job.given.regions)]
    limits = [jobs[number].limit for number in wanting]
    model = embedder.model
    if isinstance(model, BatchProposer):
        made = model.propose_all([scenes[number] for number in wanting], limits)
    else:
        made = [model.propose(scenes[number], limit) for number, limit in zip(wanting, limits, strict=True)]
    for number, some in zip(wanting, made, strict=True):
        proposals[number] = some
    return proposals


def _regions(job: Job, proposals: Sequence[Proposal]) -> tuple[NewRegion, ...]:
    """Returns the regions of a photo: the full image, the user's annotations, then proposals up to the
    limit. A given region that a proposal adds nothing to is the thing that the proposal is."""
    given, new = [*job.given.regions], []
    for proposal in proposals:
        ious = [proposal.box.iou(region.box) for region in given]
        if max(ious, default=0) < MIN_SAME_IOU:
            new.append(NewRegion(proposal.box, "proposal", None, None, proposal.objectness, proposal.object))
            continue
        same = ious.index(max(ious))
        if given[same].object is None:  # the best proposal comes first
            given[same] = replace(given[same], objectness=proposal.objectness, object=proposal.object)
    picture = job.decoded.picture
    full_image = NewRegion(Box(0, 0, picture.width, picture.height), "whole")
    return (full_image, *given, *new[: job.limit - len(given)])


def _captions(job: Job, warn: Callable[[str], None]) -> tuple[NewCaption, ...]:
    """Returns the captions of a photo, every text once, the user's own first, within limits, and then what
    was read in it. Regions are numbered from the full image, which is 0."""
    given = [
        NewCaption(caption.text, caption.source, None if caption.region is None else caption.region + 1)
        for caption in job.given.captions
    ]
    given += [NewCaption(text, "sidecar") for text in job.sidecars]
    given += [NewCaption(text, "metadata") for text in job.decoded.metadata.captions]
    told = tuple({(caption.text, caption.region): caption for caption in reversed(given)}.values())[::-1]
    kept = tuple(caption for caption in told if len(caption.text) <= MAX_CAPTION)[:MAX_CAPTIONS]
    if len(kept) < len(told):
        warn(
            f"{printable(job.file.path)}: the first {MAX_CAPTIONS:,} captions of at most {MAX_CAPTION:,} "
            f"characters are kept, of {len(told):,}"
        )
    return kept + job.read.captions


def _region_vectors(
    embedder: PhotoEmbedder, scenes: Sequence[Any], regions: Sequence[tuple[NewRegion, ...]]
) -> list[np.ndarray]:
    """Embeds regions: those with masks one at a time, since a mask is as large as the original; the others
    together."""
    pairs = [(scene, region) for scene, some in zip(scenes, regions, strict=True) for region in some]
    vectors = np.zeros((len(pairs), embedder.dim), np.float32)
    plain = [index for index, (_, region) in enumerate(pairs) if region.mask is None]
    vectors[plain] = embedder.embed([region_item(*pairs[index]) for index in plain])
    for index in set(range(len(pairs))).difference(plain):
        vectors[index] = embedder.embed([region_item(*pairs[index])])[0]
    return np.split(vectors, np.cumsum([len(some) for some in regions])[:-1])


def region_item(scene: Any, region: NewRegion) -> Item:
    """Returns what to embed of a region: the whole picture, its mask, or its box."""
    if region.origin == "whole":
        return Item(scene=scene)
    mask = masks.decode(json.loads(region.mask)) if region.mask else None
    return Item(scene=scene, prompt=Prompt(mask=mask) if mask is not None else Prompt(box=region.box))
