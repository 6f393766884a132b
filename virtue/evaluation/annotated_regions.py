"""A user's own boxes and captions: how well the library's model finds one by the other.

What is true comes from the library: regions that were given (by COCO files, metadata or code) and what was
said of them, their captions or else their category. Vectors are those of the library.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from virtue.errors import InputError, PictureError
from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.measures import Measured, hits_at
from virtue.evaluation.outcomes import Outcomes, digest_of, digest_of_code
from virtue.geometry import Box, compute_ious
from virtue.library import Library
from virtue.pictures import load
from virtue.store.records import Photo

RANKS = (1, 5, 10)
GOOD_OVERLAP = 0.5
QUERIES_AT_ONCE = 64
PHOTOS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class GivenRegion:
    """A region that was given, and what was said of it."""

    region_id: int
    photo: Photo
    box: Box
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RegionRows:
    """The rows of a library that are regions: `ids` and `owners` (photo_ids) are (n,), `corners` (n, 4) as
    x0, y0, x1, y1 in pixels, `vectors` (n, dim)."""

    ids: np.ndarray
    owners: np.ndarray
    corners: np.ndarray
    vectors: np.ndarray

    def over(self, photo_id: int, box: Box) -> list[int]:
        """Returns the places of rows that show the same: of this photo, and overlapping a box by half or
        more."""
        places = np.flatnonzero(self.owners == photo_id)
        ious = compute_ious(np.array([box.corners]), self.corners[places])[0]
        return [int(place) for place in places[ious >= GOOD_OVERLAP]]


def evaluate_library(library: Library, *, cache: Path | None = None, tell: Tell | None = None) -> Findings:
    """Measures how well a library's model finds given regions by texts and by each other.

    - `text_to_region`: a text finds a region of which it was said, or one that overlaps with it by half or
      more, among all regions of the library.
    - `region_to_text`: a region finds what was said of it, among all that was said of given regions.
    - `box_to_box`: a region finds one in another photo of which the same was said, or that overlaps with one.
    - `box_iou`, `box_iou_half`: a text is searched for in its photo, as the photo is without what was given;
      the overlap of the box that is shown with the one that was given, and the share of at least a half.

    Args:
        cache: a folder where overlaps are kept, since photos are indexed for them; None: nowhere.
        tell: called with how many photos were indexed for that, and of how many.

    Raises:
        InputError: no region with a caption or category was given.
        StoreError: the library cannot be read.
    """
    given = given_regions(library)
    if not given:
        raise InputError(
            "the library holds no boxes with captions or categories: index it with annotations, or annotate "
            "photos",
            hint="virtue index --annotations FILE",
        )
    embedder, rows = library.embedder, _read_rows(library, given)
    places = {int(each): place for place, each in enumerate(rows.ids)}
    bad = [
        (_name(each.photo), f"the region {each.region_id} has no vector yet: index the library")
        for each in given
        if each.region_id not in places
    ]
    given = [each for each in given if each.region_id in places]
    own = [places[each.region_id] for each in given]
    photos = [each.photo.photo_id for each in given]
    said: dict[str, list[int]] = {}
    for each in given:
        shown = rows.over(each.photo.photo_id, each.box)
        for text in each.texts:
            said.setdefault(text, []).extend(shown)
    numbers = {text: number for number, text in enumerate(said)}

    texts = list(said)
    figures = _recall("text_to_region", embedder.queries(texts, "regions"), rows.vectors, [*said.values()])
    asked = rows.vectors[own].astype(np.float32)
    queries = list(embedder.rows_as_queries(asked, "captions")[:, None])
    right = [[numbers[text] for text in each.texts] for each in given]
    figures |= _recall("region_to_text", queries, embedder.encode(texts), right, groups=photos)
    right = [
        [place for text in each.texts for place in said[text] if rows.owners[place] != each.photo.photo_id]
        for each in given
    ]
    able = [number for number, some in enumerate(right) if some]
    figures |= _recall(
        "box_to_box",
        list(embedder.rows_as_queries(asked[able], "regions")[:, None]) if able else [],
        rows.vectors,
        [right[number] for number in able],
        groups=[photos[number] for number in able],
        left_out=[np.flatnonzero(rows.owners == photos[number]) for number in able],
    )

    overlaps, unread = _overlaps(library, given, cache, tell)
    if overlaps:
        owners = [owner for owner, _ in overlaps]
        ious = np.array([iou for _, iou in overlaps])
        figures["box_iou"] = Measured.of(ious, owners)
        figures["box_iou_half"] = Measured.of((ious >= GOOD_OVERLAP).astype(float), owners)
    facts = {"photos": len(set(photos)), "regions": len(given), "texts": len(texts), "rows": len(rows.ids)}
    return Findings("library", figures, facts, [*bad, *unread])


def given_regions(library: Library) -> list[GivenRegion]:
    """Lists the given regions of which something was said."""
    found = []
    for photo in library.photos():
        for region in photo.regions:
            texts = region.captions or ((region.category,) if region.category else ())
            if texts and region.region_id is not None:
                found.append(GivenRegion(region.region_id, photo, region.box, tuple(dict.fromkeys(texts))))
    return found


def _name(photo: Photo) -> str:
    return photo.name or (photo.paths[0] if photo.paths else f"photo {photo.photo_id}")


def _read_rows(library: Library, given: Sequence[GivenRegion]) -> RegionRows:
    """Reads all rows that a search for regions compares with: full images are none, unless one was given."""
    kept = np.array([each.region_id for each in given])
    ids, owners, corners, vectors = [], [], [], []
    full = {row for block in library.vectors("photos") for row in map(_key, block.photo_ids, block.boxes)}
    for block in library.vectors("regions"):
        is_full = np.array([key in full for key in map(_key, block.photo_ids, block.boxes)])
        wanted = ~is_full | np.isin(block.ids, kept)
        ids.append(block.ids[wanted])
        owners.append(block.photo_ids[wanted])
        corners.append(block.boxes[wanted])
        vectors.append(block.vectors[wanted].astype(np.float16))  # as they are stored
    return RegionRows(*map(np.concatenate, (ids, owners, corners, vectors)))


def _key(photo_id: int, box: np.ndarray) -> tuple[float, ...]:
    return (photo_id, *box.tolist())


def _recall(
    name: str,
    queries: Sequence[np.ndarray],
    rows: np.ndarray,
    right: Sequence[Sequence[int]],
    *,
    groups: Sequence[int] | None = None,
    left_out: Sequence[np.ndarray] | None = None,
) -> dict[str, Measured]:
    """Computes the share of queries that find a right row among the first ranks; {} if nothing is asked.

    Args:
        queries: (k, dim) each; a row's score is its best.
        right: places of the right rows for each query.
        groups: what each query belongs to.
        left_out: places of rows that do not count for a query.
    """
    hits: dict[int, list[np.ndarray]] = {rank: [] for rank in RANKS}
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = range(start, min(start + QUERIES_AT_ONCE, len(queries)))
        scores = np.stack([_scores(queries[place], rows) for place in some])
        truth = np.zeros(scores.shape, bool)
        for number, place in enumerate(some):
            truth[number, right[place]] = True
            if left_out is not None:
                scores[number, left_out[place]] = -np.inf
        for rank in RANKS:
            hits[rank].append(hits_at(scores, truth, rank))
    if not len(queries):
        return {}
    return {
        f"{name}_recall@{rank}": Measured.of(np.concatenate(found), groups) for rank, found in hits.items()
    }


def _scores(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Computes the best dot product of each row with a (k, dim) query, (n,) float32."""
    blocks = [rows[start : start + 4096].astype(np.float32) @ query.T for start in range(0, len(rows), 4096)]
    return np.concatenate(blocks).max(axis=1)


def _overlaps(
    library: Library, given: Sequence[GivenRegion], cache: Path | None, tell: Tell | None
) -> tuple[list[tuple[int, float]], list[tuple[str, str]]]:
    """Returns for each text of each given region its photo, and the overlap of the box that is shown for it;
    and the photos that could not be read."""
    embedder = library.embedder
    outcomes = Outcomes(cache, "library", embedder.fingerprint, embedder.dtype, digest_of_code())
    photos = {each.photo.photo_id: each.photo for each in given}
    digests = {
        (each.region_id, text): digest_of(each.photo.hash.hex(), each.box.corners, text)
        for each in given
        for text in each.texts
    }
    todo = {each.photo.photo_id for each in given for text in each.texts
            if outcomes.get(digests[each.region_id, text]) is None}  # fmt: skip
    bad: list[tuple[str, str]] = []
    order = sorted(todo)
    for start in range(0, len(order), PHOTOS_AT_ONCE):
        some = [photos[each] for each in order[start : start + PHOTOS_AT_ONCE]]
        asked = {
            photo.photo_id: [each for each in given if each.photo.photo_id == photo.photo_id]
            for photo in some
        }
        for overlaps, fault in _search_alone(library, some, asked):
            outcomes.add({digests[key]: [iou] for key, iou in overlaps.items()})
            if fault is not None:
                bad.append(fault)
        if tell:
            tell(start + len(some), len(order))
    known_overlaps = [
        (each.photo.photo_id, known[0])
        for each in given
        for text in each.texts
        if (known := outcomes.get(digests[each.region_id, text])) is not None
    ]
    return known_overlaps, bad


def _search_alone(
    library: Library, photos: Sequence[Photo], asked: dict[int, list[GivenRegion]]
) -> Iterator[tuple[dict[tuple[int, str], float], tuple[str, str] | None]]:
    """Indexes the pixels of photos in a library of their own, without what was given, and asks each for its
    texts. Yields for each photo the overlaps, or its name and why there are none."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve() / "photos"
        folder.mkdir()
        copies = {}
        for photo in photos:
            try:
                copies[photo.photo_id] = _copy_pixels(photo, folder)
            except PictureError as error:
                yield {}, (_name(photo), str(error))
        if not copies:
            return
        with Library(folder.parent / "library", embedder=library.embedder) as alone:
            alone.index(folder, ocr=False)
            for photo_id, copy in copies.items():
                where = "path = '{}'".format(os.fspath(copy).replace("'", "''"))
                found = {}
                for region in asked[photo_id]:
                    for text in region.texts:
                        hits = alone.search(text, find="regions", top=1, where=where)
                        found[region.region_id, text] = hits[0].box.iou(region.box) if hits else 0.0
                yield found, None


def _copy_pixels(photo: Photo, folder: Path) -> Path:
    """Writes the picture of a photo alone, upright: its metadata may hold what was given.

    Raises:
        PictureError: no file of it can be read.
    """
    source = next((path for path in photo.paths if os.path.isfile(path)), None)
    if source is None:
        raise PictureError("its file is not there")
    copy = folder / f"{photo.photo_id}.png"
    Image.fromarray(load(source).pixels).save(copy, compress_level=1)
    return copy
