"""What requests hold, field by field: the names are those of `Library.search` and of `--json`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr

MAX_PARTS = 32
"""Parts of a query."""
MAX_QUERIES = 256
"""Queries of a request."""
MAX_TOP = 1_000
"""Hits of an answer."""
MAX_OFFSET = 100_000
MAX_POINTS = 256
"""Points on a picture."""
MAX_TEXT = 100_000
"""Characters of a text or a filter."""
MAX_VECTOR = 65_536
"""Numbers of a vector."""
MAX_ID = (1 << 63) - 1
MAX_COUNTS = 1_000_000
"""Characters or runs of a mask in run lengths."""
MAX_INPUTS = 2_048
"""Inputs of a request for embeddings, as OpenAI has it."""
MAX_PATHS = 1_000

Goal = Literal["auto", "regions", "photos", "captions"]
Find = Literal["regions", "photos", "captions"]
Order = Literal[
    "photo_id", "path", "taken", "rating", "size", "-photo_id", "-path", "-taken", "-rating", "-size"
]

Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
BoxField = Annotated[
    list[Number], Field(min_length=4, max_length=4, description="x, y, w, h, in pixels, upright")
]
PointField = Annotated[
    list[Number],
    Field(min_length=2, max_length=3, description="x, y, and 1 for what is meant or 0 for what is not"),
]
Where = Text | Annotated[list[Text], Field(max_length=MAX_PARTS)]
PICTURE = "a picture as base64 or as a data URI"


class Body(BaseModel):
    """Takes no fields but those it names, and no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Uploading(Body):
    """May come as a form, with the content of files in place of fields.

    Attributes:
        uploads: the content of files by their fields.
    """

    _uploads: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @property
    def uploads(self) -> dict[str, bytes]:
        return self._uploads


class RunLengths(Body):
    """A mask as COCO's run-length encoding."""

    size: Annotated[
        list[Annotated[int, Field(ge=1, le=1 << 20)]],
        Field(min_length=2, max_length=2, description="height, width"),
    ]
    counts: (
        Annotated[str, Field(max_length=MAX_COUNTS)]
        | Annotated[list[Annotated[int, Field(ge=0, le=1 << 40)]], Field(max_length=MAX_COUNTS)]
    )


class Prompted(Uploading):
    """A picture, and what is drawn on it."""

    image: str | None = Field(default=None, description=PICTURE)
    picture_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="of POST /v1/pictures"
    )
    box: BoxField | None = None
    relative: bool = Field(default=False, description="the box is in fractions of the picture's sides")
    points: Annotated[list[PointField], Field(min_length=1, max_length=MAX_POINTS)] | None = None
    mask: str | RunLengths | None = Field(
        default=None, description=f"white where it is meant: {PICTURE}, or run lengths"
    )


class PartBody(Prompted):
    """A part of a query: a text, a picture perhaps with what is drawn on it, something of the library, or a
    vector."""

    text: Text | None = None
    photo_id: Id | None = None
    region_id: Id | None = None
    vector: (
        Annotated[list[Number], Field(min_length=1, max_length=MAX_VECTOR)]
        | Annotated[
            list[Annotated[list[Number], Field(min_length=1, max_length=MAX_VECTOR)]],
            Field(min_length=1, max_length=64),
        ]
        | None
    ) = None
    weight: Annotated[float, Field(allow_inf_nan=False)] = 1.0


class OptionsBody(PartBody):
    """A query with its options."""

    parts: Annotated[list[PartBody], Field(max_length=MAX_PARTS)] = Field(
        default_factory=list, description="what is added up, beside what stands here itself"
    )
    without: Annotated[list[PartBody], Field(max_length=MAX_PARTS)] | PartBody = Field(
        default_factory=list, description="what hits should not look like"
    )
    where: Where | None = Field(default=None, description="a filter that hits must fit, or several")
    find: Goal = "auto"
    top: Annotated[int, Field(ge=1, le=MAX_TOP)] = 10
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    all_regions: bool = False
    min_score: Annotated[float, Field(allow_inf_nan=False)] | Literal["auto"] | None = None


class SearchBody(OptionsBody):
    """A query, or several in `queries`, which have the options that stand here unless they say otherwise."""

    queries: Annotated[list[OptionsBody | Text], Field(min_length=1, max_length=MAX_QUERIES)] | None = None


class PictureBody(Uploading):
    """A picture to keep for a while: an upload, or a photo of the library."""

    image: str | None = Field(default=None, description=PICTURE)
    photo_id: Id | None = None


class SegmentBody(Prompted):
    """What is drawn on a picture, of which the mask is asked."""

    photo_id: Id | None = None


class IndexBody(Body):
    """What to index; the arguments are those of `Library.index`."""

    paths: Annotated[list[Text], Field(max_length=MAX_PATHS)] = Field(
        default_factory=list, description="below the roots of GET /v1/roots; none: all that were indexed"
    )
    regions: str | int | None = None
    exclude: Annotated[list[Text], Field(max_length=MAX_PATHS)] = Field(default_factory=list)
    follow_links: bool | None = None
    ocr: bool | None = None
    rehash: bool = False


class AddedPicture(Body):
    """A picture to add, under a name of one's own."""

    name: Annotated[str, Field(min_length=1, max_length=1_000)]
    image: str = Field(description=PICTURE)


class AddBody(Body):
    """What to add; the arguments are those of `Library.add`."""

    pictures: Annotated[list[AddedPicture], Field(min_length=1, max_length=MAX_PATHS)]
    regions: str | int | None = None
    ocr: bool | None = None


class GivenRegionBody(Body):
    """A region that a photo shall have; `region_id` is that of one that it has."""

    box: BoxField
    category: Text | None = None
    captions: Annotated[list[Text], Field(max_length=MAX_PATHS)] = Field(default_factory=list)
    mask: RunLengths | None = None
    region_id: Id | None = None


class AnnotationBody(Body):
    """What is said of a photo; what is not named stays, and a `rating` of null is none."""

    photo_id: Id
    captions: Annotated[list[Text], Field(max_length=MAX_PATHS)] | None = None
    tags: Annotated[list[Text], Field(max_length=MAX_PATHS)] | None = None
    rating: int | None = None
    regions: Annotated[list[GivenRegionBody], Field(max_length=MAX_PATHS)] | None = None


class AnnotationsBody(Body):
    """What is said of photos; all of it is kept, or none."""

    annotations: Annotated[list[AnnotationBody], Field(min_length=1, max_length=MAX_PATHS)]


class ForgetBody(Body):
    """What to forget; the arguments are those of `Library.forget`."""

    paths: Annotated[list[Text], Field(max_length=MAX_PATHS)] = Field(default_factory=list)
    where: Where | None = None
    photo_ids: Annotated[list[Id], Field(max_length=100_000)] | None = None
    undo: bool = False


class SimilarBody(Body):
    """What to find near-duplicates of: a photo or folder below the roots; none: those within the library."""

    path: Text | None = None
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None


class EmbeddingItem(Prompted):
    """One input: a text, a picture perhaps with what is drawn on it, or both."""

    text: Text | None = None


class ImageUrl(BaseModel):
    url: str
    detail: str | None = None


class ContentItem(Body):
    """A part of a message: a text, or an image with what is drawn on it."""

    type: Literal["text", "input_text", "image_url", "input_image"]
    text: Text | None = None
    image_url: str | ImageUrl | None = None
    box: BoxField | None = None
    relative: bool = False
    points: Annotated[list[PointField], Field(min_length=1, max_length=MAX_POINTS)] | None = None
    mask: str | RunLengths | None = None


class Message(BaseModel):
    """A message as vLLM takes it: its content is one input."""

    role: str = "user"
    content: Text | Annotated[list[ContentItem], Field(min_length=1, max_length=MAX_PARTS)]


class EmbeddingsBody(BaseModel):
    """A request as OpenAI's; `messages` as vLLM's. Other fields of theirs are passed by."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: Annotated[str, Field(max_length=1_000)] | None = None
    input: (
        str
        | EmbeddingItem
        | Annotated[list[str | EmbeddingItem], Field(min_length=1, max_length=MAX_INPUTS)]
        | None
    ) = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=1)] | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=MAX_VECTOR)] | None = None
    find: Find | None = Field(default=None, description="queries for this; none: documents, what is stored")


# -- answers ----------------------------------------------------------------------------------------------


class HitAnswer(BaseModel):
    """A hit, with the keys of `virtue search --json`."""

    rank: int
    score: float
    percentile: float | None
    sureness: str | None
    path: str
    box: list[float]
    width: int
    height: int
    kind: Literal["region", "photo", "caption"]
    caption: str | None
    region_id: int | None
    region_box: list[float] | None
    object: str | None
    photo_id: int
    via: list[str]
    taken: str | None
    camera: str | None
    rating: int | None
    tags: list[str]
    other_paths: list[str]
    copies: list[str]
    name: str | None


class FieldError(BaseModel):
    pointer: str
    detail: str


class ProblemAnswer(BaseModel):
    """A problem as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    hint: str | None = None


class HitsAnswer(BaseModel):
    hits: list[HitAnswer]


class ProblemResult(BaseModel):
    problem: ProblemAnswer


class ResultsAnswer(BaseModel):
    results: list[HitsAnswer | ProblemResult]


class RegionAnswer(BaseModel):
    """A region of a photo; `box` is [x, y, w, h]."""

    region_id: int
    box: list[float]
    origin: str
    category: str | None
    object: str | None
    objectness: float | None
    caption: str | None
    is_full_image: bool


class GivenRegionAnswer(BaseModel):
    """A region that was given for a photo, not proposed by the model."""

    region_id: int | None
    box: list[float]
    category: str | None
    captions: list[str]
    mask: RunLengths | None


class LineAnswer(BaseModel):
    text: str
    box: list[float]


class PhotoAnswer(BaseModel):
    """A photo with all that is known of it."""

    photo_id: int
    paths: list[str]
    name: str | None
    width: int
    height: int
    hash: str
    size: int
    taken: str | None
    camera: str | None
    latitude: float | None
    longitude: float | None
    rating: int | None
    tags: list[str]
    captions: list[str]
    regions: list[GivenRegionAnswer]
    phash: str
    lines: list[LineAnswer] | None


class PhotosAnswer(BaseModel):
    """`total`: how many fit in all."""

    photos: list[PhotoAnswer]
    total: int


class RegionsAnswer(BaseModel):
    regions: list[RegionAnswer]


class CaptionAnswer(BaseModel):
    """`source`: "caption" of the whole photo, "region" of a part, "ocr" read in it."""

    text: str
    source: Literal["caption", "region", "ocr"]
    region_id: int | None
    box: list[float] | None


class CaptionsAnswer(BaseModel):
    captions: list[CaptionAnswer]


class KeptAnswer(BaseModel):
    """A picture that is kept, `expires_in` seconds after it was last used."""

    picture_id: str
    width: int
    height: int
    expires_in: int


class CellsAnswer(BaseModel):
    """Which cells of the picture count, and how much; weights sum to 1, row by row."""

    rows: int
    columns: int
    weights: list[float]


class SegmentAnswer(BaseModel):
    """What is meant by what was drawn. `kind`: "mask": the model segments; "cells": it weighs cells, and the
    mask is of those that count."""

    kind: Literal["mask", "cells"]
    width: int
    height: int
    box: list[float]
    mask: RunLengths
    png: str
    cells: CellsAnswer | None = None


class EmbeddingAnswer(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class UsageAnswer(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"]
    data: list[EmbeddingAnswer]
    model: str
    usage: UsageAnswer


class ModelAnswer(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dim: int
    fingerprint: str


class ModelsAnswer(BaseModel):
    object: Literal["list"]
    data: list[ModelAnswer]


class ProgressAnswer(BaseModel):
    stage: str
    done: int
    total: int | None
    problems: int
    seconds: float
    what: str


class JobAnswer(BaseModel):
    """A job. `state`: "running", "done", "failed" or "cancelled"."""

    job_id: str
    kind: str
    state: Literal["running", "done", "failed", "cancelled"]
    progress: ProgressAnswer | None
    report: dict[str, JsonValue] | None
    problem: ProblemAnswer | None


class JobsAnswer(BaseModel):
    jobs: list[JobAnswer]


class SimilarAnswer(BaseModel):
    """A file that is a near-duplicate of the first of its group."""

    tier: str | None
    score: float
    distance: int
    path: str
    width: int
    height: int
    photo_id: int | None
    same_file_as: str | None
    removable: bool
    kept: str | None


class GroupsAnswer(BaseModel):
    groups: list[list[SimilarAnswer]]


class FitsAnswer(BaseModel):
    fits: bool


class CountAnswer(BaseModel):
    count: int


class RootAnswer(BaseModel):
    path: str
    indexed: bool


class SuggestionsAnswer(BaseModel):
    """What filters may compare with, the most frequent first."""

    cameras: list[str]
    tags: list[str]
    objects: list[str]
    folders: list[str]


class RootsAnswer(BaseModel):
    roots: list[RootAnswer]


class StatusAnswer(BaseModel):
    """What the library holds."""

    library: str
    version: str
    model: str
    fingerprint: str
    dim: int
    read_only: bool
    can_segment: bool
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


class StateAnswer(BaseModel):
    status: Literal["ok"]
