"""What crosses the border of the store: plain frozen records, no rows of the database.

Boxes are in pixels of the upright original. Paths are bytes (`os.fsencode`), because file names in
no encoding exist. A photo is named by `hash`, the hash of its content.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from virtue.added_pictures import name_of
from virtue.geometry import Box

Kind = Literal["regions", "captions"]
Origin = Literal["whole", "proposal", "annotation", "code", "metadata"]
Source = Literal["sidecar", "metadata", "file", "annotation", "code", "ocr"]
FaultKind = Literal["catalogue", "value", "rows", "checksum", "count", "orphan", "index", "tokens", "photo"]
QueryKind = Literal["text", "image"]
"""What a query was made from. The store knows no model; but texts lie elsewhere in the space than the
rows do, and an index has to look further for them."""

Find = Literal["regions", "photos", "captions"]
"""What a query looks for."""

ProgressCallback = Callable[[str, int, int], None]
"""Called as (what is being done, how much is done, of how much)."""

Field = Literal["caption", "name"]
"""Where tokens are looked for: in captions, or in the tags and the names of files and folders of a photo."""

KINDS: tuple[Kind, ...] = ("regions", "captions")
QUERY_KINDS: tuple[QueryKind, ...] = ("image", "text")
FINDS: dict[Find, Kind] = {"regions": "regions", "photos": "regions", "captions": "captions"}
"""The rows that each is looked for among."""
MAX_SIDE = 1 << 31
"""Pixels that a side of a photo may have."""
MAX_DIM = 1 << 16
"""Dimensions that a vector may have."""
USER_SOURCES: tuple[Source, ...] = ("file", "annotation", "code")
"""Captions that a user handed over once, in a file or by code: the catalogue is the only place that has
them."""
USER_ORIGINS: tuple[Origin, ...] = ("annotation", "code")
"""Regions that a user handed over once."""
METADATA = "metadata"
"""Origin of regions that are marked in a photo's file or beside it, and source of what is said there."""
INDEXED_SOURCES: tuple[Source, ...] = ("sidecar", "metadata")
"""Captions that indexing finds again beside or inside the photo."""
KEPT_SOURCES: tuple[Source, ...] = (*USER_SOURCES, "ocr")
"""Captions that outlive their vectors: those, and what was read in the photo, which is not read again."""
MIN_DEAD_ROWS = 4096
"""Dead rows below which there is nothing to gain by compacting."""
LEFT_OUT = "-"
"""Stands for the reader of a photo that is not to be read."""


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """What is known of a photo: `phash` is 64 bits, unsigned; `taken` is ISO 8601; latitude and longitude are
    degrees. `given` says as JSON (`Given`) what of it code gave in place of the photo's own.
    `read_by` names the reader of the text in it; None: it was not read; `LEFT_OUT`: it is not to be."""

    hash: bytes
    width: int
    height: int
    taken: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    rating: int | None = None
    tags: tuple[str, ...] = ()
    phash: int = 0
    given: str | None = None
    read_by: str | None = None


@dataclass(frozen=True, slots=True)
class NewRegion:
    """A region to store; `mask` is a COCO run-length encoding as JSON. `objectness` (0 to 1) says how sure a
    detector is that the box holds one thing, and `object` what thing; None: it did not find it, or none
    looked."""

    box: Box
    origin: Origin
    category: str | None = None
    mask: str | None = None
    objectness: float | None = None
    object: str | None = None


@dataclass(frozen=True, slots=True)
class NewCaption:
    """A caption to store; `region` is an index into the regions stored with it; None: the full image. A line
    of text that was read in the photo has a `box` of its own instead, since no vector belongs to that."""

    text: str
    source: Source
    region: int | None = None
    box: Box | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhoto:
    """One photo with all its vectors: replaces whatever its generation had of that photo.

    `region_vectors` (len(regions), dim) and `caption_vectors` (len(captions), dim) are float32 with
    unit rows. `settings` is opaque: whether a photo must be embedded again is told by comparing it.
    """

    info: PhotoInfo
    settings: str
    regions: tuple[NewRegion, ...]
    region_vectors: np.ndarray
    captions: tuple[NewCaption, ...]
    caption_vectors: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class CaptionUpdate:
    """The captions that a photo now has of these sources, in place of those it had. They belong to
    the photo, not to regions; `vectors` is (len(captions), dim) float32 with unit rows. `read_by` is as in
    `PhotoInfo`; None: it stays. `info` is what is known of the photo now; None: that stays."""

    hash: bytes
    captions: tuple[NewCaption, ...]
    vectors: np.ndarray
    sources: tuple[Source, ...] = INDEXED_SOURCES
    read_by: str | None = None
    info: PhotoInfo | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file was when it was read: a photo (`hash`), a `problem`, or both: a photo whose file cannot
    be read at the moment. `sidecar` is an opaque stamp of the file beside it that holds its caption.
    `judged_by` names the reader that found the content to be no picture; None: the problem is a state of
    the file, such as a right that lacks, and may be gone at the next run. `ctime_ns` is the time of the last
    change of anything about the file, in nanoseconds, which no program can put back; None: not known.
    `beside` is an opaque stamp of the pictures beside a RAW photo, to one of which it may belong; its photo
    is then that picture, as long as it is there. None: there are none, or it is no RAW."""

    path: bytes
    size: int
    mtime_ns: int
    sidecar: str | None
    hash: bytes | None = None
    problem: str | None = None
    judged_by: str | None = None
    ctime_ns: int | None = None
    beside: str | None = None

    def __post_init__(self) -> None:
        if self.hash is None and self.problem is None:
            raise ValueError(f"a file has a hash or a problem: {self.path!r}")


class FileState(NamedTuple):
    """What the catalogue knows of a path. `settings` are those of its photo's embedding in the
    generation that was asked for; None: it is not embedded there. The others are as in `FileRecord`."""

    size: int
    mtime_ns: int
    sidecar: str | None
    hash: bytes | None
    problem: str | None
    missing: bool
    settings: str | None
    judged_by: str | None = None
    ctime_ns: int | None = None
    beside: str | None = None


class ForgottenPhoto(NamedTuple):
    """A photo that is not indexed again unless it is named. `path`, `size` and `mtime_ns` are of its file as
    it was; `forgotten_at` is ISO 8601."""

    hash: bytes
    path: bytes
    size: int
    mtime_ns: int
    forgotten_at: str


@dataclass(frozen=True, slots=True)
class Generation:
    """All vectors of one model. Searches run on the active one."""

    id: int
    model: str
    fingerprint: str
    dim: int
    active: bool


@dataclass(frozen=True, slots=True)
class Root:
    """A folder or file that was indexed by name, with the options (JSON) it was indexed with."""

    path: bytes
    options: str


@dataclass(frozen=True, slots=True)
class UserAnnotations:
    """Regions and captions that a user handed over for a photo; `NewCaption.region` counts in
    `regions`. `given` is as in `PhotoInfo`."""

    regions: tuple[NewRegion, ...] = ()
    captions: tuple[NewCaption, ...] = ()
    given: str | None = None


@dataclass(frozen=True, slots=True)
class KnownMetadata:
    """What is known of a photo from its file and from those beside it; `NewCaption.region` counts in
    `regions`."""

    info: PhotoInfo
    regions: tuple[NewRegion, ...] = ()
    captions: tuple[NewCaption, ...] = ()


class ReadText(NamedTuple):
    """What was read in a photo, as captions, by whom (`PhotoInfo.read_by`)."""

    captions: tuple[NewCaption, ...] = ()
    read_by: str | None = None


class UnreadPhoto(NamedTuple):
    """A photo whose text is still to be read, or to be read again; `paths` are those where it is, in order;
    `read_by` is as in `PhotoInfo`."""

    hash: bytes
    paths: tuple[bytes, ...]
    read_by: str | None


@dataclass(frozen=True, slots=True, eq=False)
class PhotoChange:
    """A change of what is said of a photo.

    Attributes:
        metadata: what `PhotoInfo.given` becomes, the rating and the tags; None: they stay.
        captions: new ones of the whole photo.
        dropped_captions: those of the whole photo that go.
        regions: new ones, each with its captions.
        region_vectors: (len(regions), dim) float32, unit rows.
        dropped_regions: ids of those that go.
        reworded: (id, category, captions) of regions that stay where they are.
        caption_vectors: (n, dim) float32, unit rows: of `captions`, then of those of `reworded`, then of
            those of `regions`.
    """

    photo_id: int
    region_vectors: np.ndarray
    caption_vectors: np.ndarray
    metadata: tuple[str, int | None, tuple[str, ...]] | None = None
    captions: tuple[str, ...] = ()
    dropped_captions: tuple[str, ...] = ()
    regions: tuple[tuple[NewRegion, tuple[str, ...]], ...] = ()
    dropped_regions: tuple[int, ...] = ()
    reworded: tuple[tuple[int, str | None, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class RegionRecord:
    """A region and the photo it lies in. `path` is the first path where that photo still is;
    `is_full_image`: it is the whole photo; `is_only_region`: the photo has no other; `caption`: its own, else
    the photo's first. `objectness` and `object` are as in `NewRegion`."""

    row: int
    region_id: int
    photo_id: int
    path: bytes
    width: int
    height: int
    box: Box
    origin: Origin
    category: str | None
    objectness: float | None
    object: str | None
    is_full_image: bool
    is_only_region: bool
    caption: str | None


@dataclass(frozen=True, slots=True)
class Region:
    """A region that was given for a photo, by a file of annotations or captions or by code.

    Attributes:
        box: in pixels of the upright photo.
        category: what it shows, in a word.
        captions: texts about it.
        mask: a COCO run-length encoding as JSON, of the photo's size; None: the box is all there is.
        region_id: None for one that is not in the library yet.
    """

    box: Box
    category: str | None = None
    captions: tuple[str, ...] = ()
    mask: str | None = None
    region_id: int | None = None


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text that was read in a photo; `box` is in pixels of the upright photo."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of the library, with all that is known of it.

    Attributes:
        raw_paths: where it is, as the file system has it, in order; `paths` is the same as str.
        width, height: upright, in pixels.
        hash: SHA-256 of the file's content.
        size: of the file, in bytes.
        taken: ISO 8601, with an offset if the camera knew one.
        latitude, longitude: degrees, north and east positive.
        rating: 0 to 5.
        captions: of the whole photo, but for what was read in it.
        regions: those that were given, or are marked in its metadata; not those that the model proposed.
        phash: perceptual hash, 64 bits.
        lines: the text that was read in it; None: it was not read.
    """

    photo_id: int
    raw_paths: tuple[bytes, ...]
    width: int
    height: int
    hash: bytes
    size: int
    taken: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    rating: int | None = None
    tags: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    phash: int = 0
    lines: tuple[TextLine, ...] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as Python's file functions take them."""
        return tuple(map(os.fsdecode, self.raw_paths))

    @property
    def name(self) -> str | None:
        """The name under which it was added as bytes (`Library.add`); None: it is a file of the user's."""
        return next(filter(None, map(name_of, self.raw_paths)), None)


class PhotoFacts(NamedTuple):
    """What a hit tells of its photo; `paths` are those that are still there, in order."""

    taken: str | None
    camera: str | None
    rating: int | None
    tags: tuple[str, ...]
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class VectorBlock:
    """Some vectors of a library.

    Attributes:
        ids: (n,) int64, region_ids; for captions, the ids of captions; for photos, photo_ids.
        photo_ids: (n,) int64.
        boxes: (n, 4) float64, x0, y0, x1, y1 in pixels of the upright photo: of the region, or of that
            which a caption belongs to; NaN if it belongs to none.
        vectors: (n, dim) float32, of unit length as half precision stores them (within a thousandth).
    """

    ids: np.ndarray
    photo_ids: np.ndarray
    boxes: np.ndarray
    vectors: np.ndarray


class RegionLocation(NamedTuple):
    """The place of a region: its row, and its photo."""

    row: int
    photo_id: int


class Copy(NamedTuple):
    """A path where a photo is, and the size of the photo in pixels."""

    path: bytes
    width: int
    height: int


class FullImage(NamedTuple):
    """A photo that is still there: the row of its full image, its perceptual hash (64 bits, unsigned), and
    its area in pixels."""

    photo_id: int
    row: int
    phash: int
    area: int


class SamePicture(NamedTuple):
    """Two photos that may show the same picture: the dot product of their full images, and the bits in which
    their perceptual hashes differ."""

    one: int
    other: int
    score: float
    distance: int


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """A caption and the photo it belongs to; `region_id` and `box` are None for a whole photo. A line of text
    that was read has a box, and no region."""

    row: int
    caption_id: int
    text: str
    source: Source
    photo_id: int
    path: bytes
    width: int
    height: int
    region_id: int | None
    box: Box | None


class TokenDocument(NamedTuple):
    """What tokens are held by: a caption, or the names of a photo.

    Attributes:
        row: of the caption, or of the photo's full image.
        tokens: all that it holds, in their order.
        is_read: whether it was read in the photo.
    """

    row: int
    photo_id: int
    tokens: list[str]
    is_read: bool


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What filters may compare with, the most frequent first: cameras, tags, things that the detector names,
    folders with photos."""

    cameras: tuple[str, ...]
    tags: tuple[str, ...]
    objects: tuple[str, ...]
    folders: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a library holds.

    `photos`: with a path that is still there. `files`: paths of photos that are still there. `missing`: paths
    that are gone. `problems`: files that could not be read, some of them files of photos. `regions`,
    `captions`: what searches can find. `bytes`: size on disk of the whole library. `forgotten`: photos that
    indexing passes by, since they were forgotten. `read`: photos whose text was read; `with_text`: those of
    them that hold some."""

    photos: int
    files: int
    missing: int
    problems: int
    regions: int
    captions: int
    bytes: int
    forgotten: int
    read: int
    with_text: int


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Ranked rows: `rows` (n,) int64 and `scores` (n,) float32, best first; of equal scores the lower row
    first."""

    rows: np.ndarray
    scores: np.ndarray


class Ranking(Protocol):
    """The rows of one search in order of their scores, as far down as is asked for: what was read and
    scored once is not read again."""

    def top(self, count: int) -> Ranked:
        """Returns the best `count` rows, or all that may be found."""


class TextChecks(NamedTuple):
    """How to tell whether texts that the rooms above keep in the catalogue can be read.

    Attributes:
        is_settings: of the settings of a photo's embedding.
        is_options: of the options of a root.
        is_mask: of the mask of a region, with the width and height of its photo.
        default_options: what takes the place of options that cannot be read.
    """

    is_settings: Callable[[str], bool]
    is_options: Callable[[str], bool]
    is_mask: Callable[[str, int, int], bool]
    default_options: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a library. `hashes` and `paths` name the photos that lose
    vectors by it; `repairable`: `Writer.repair` mends it (those photos are embedded again by the
    next indexing)."""

    kind: FaultKind
    what: str
    hashes: tuple[bytes, ...] = ()
    paths: tuple[bytes, ...] = ()
    repairable: bool = True


@dataclass(frozen=True, slots=True)
class SearchParams:
    """How far a search goes in an index: `nprobe` lists, `refine_factor` candidates for each hit.

    Attributes:
        nprobe: lists that are read.
        refine_factor: rows that are scored exactly, for each row that is wanted.
        recall: the share of the ten best rows that it found when it was measured; None: it was not.
        microseconds: what a query cost, of one processor.
    """

    nprobe: int
    refine_factor: int
    recall: float | None = None
    microseconds: float | None = None


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What tuning found for one kind of query.

    Attributes:
        query_kind: what the queries were made from.
        queries: how many it was measured with.
        curve: for each number of lists the cheapest parameters that reach the target recall, or the
            best there is.
        chosen: the cheapest of those that reach it, now in use; if none does, the one of highest recall.
    """

    kind: Kind
    query_kind: QueryKind
    queries: int
    curve: tuple[SearchParams, ...]
    chosen: SearchParams


@dataclass(frozen=True, slots=True)
class Waste:
    """What `compact` can free: `dead` of `total` rows are tombstones, and take `bytes` on disk."""

    dead: int = 0
    total: int = 0
    bytes: int = 0

    @property
    def is_much(self) -> bool:
        """Whether indexing should compact by itself."""
        return self.dead >= MIN_DEAD_ROWS and 2 * self.dead > self.total
