"""`Hit`: one answer to a query."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Literal

from virtue.added_pictures import name_of
from virtue.geometry import Box
from virtue.retrieval.sureness_levels import Sureness, name_sureness

Kind = Literal["region", "photo", "caption"]
Via = Literal["picture", "caption", "ocr", "name"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer, in the frame of the photo's upright original (pixels).

    Attributes:
        rank: 1 for the best.
        score: of what matched best, at most 1: its dot product with the query. Never rises from one hit to
            the next; does not compare between queries of different kinds.
        percentile: how many of a hundred best hits score less, of sample queries of this kind, most of which
            this library has nothing for. None: the library was not measured yet (`virtue index` does that).
        raw_path: of the photo, as the file system has it. `path` is the same as str.
        box: of the region that is shown, which need not be the one that scored: among those of its photo, the
            larger is preferred for words. The whole photo for a photo, and for a caption of a whole photo.
        width, height: of the photo.
        kind: what this hit is.
        caption: the caption that was found or that matched; else the region's own, else its photo's
            first.
        region_id, region_box: the region that is shown (for a caption: that it belongs to), if any. A line of
            text that was read has a box, and no id.
        object: what the model's detector calls the thing in that region; None: it found none, or none looked.
        taken, camera, rating, tags: of the photo; taken is ISO 8601, and the rating 0 to 5.
        raw_other_paths: where else the photo is. `other_paths` is the same as str.
        raw_copies: other photos that show the same picture, saved again or in another size, as far as
            overviews tell; they are no hits of their own. `copies` is the same as str.
        via: what matched, the strongest first: the picture, a caption, text that was read in the photo
            (ocr), or a name of it (its tags, its file or folders).
    """

    rank: int
    score: float
    raw_path: bytes
    box: Box
    width: int
    height: int
    kind: Kind
    caption: str | None
    region_id: int | None
    region_box: Box | None
    photo_id: int
    via: tuple[Via, ...] = ("picture",)
    percentile: float | None = None
    taken: str | None = None
    camera: str | None = None
    rating: int | None = None
    tags: tuple[str, ...] = ()
    raw_other_paths: tuple[bytes, ...] = ()
    raw_copies: tuple[bytes, ...] = ()
    object: str | None = None

    @property
    def sureness(self) -> Sureness | None:
        """How sure this is to be an answer, by its percentile; None where that is."""
        return name_sureness(self.percentile)

    @property
    def path(self) -> str:
        """The path as Python's file functions take it; bytes that cannot be decoded are lone surrogates."""
        return os.fsdecode(self.raw_path)

    @property
    def name(self) -> str | None:
        """The name under which the photo was added as bytes (`Library.add`); None: it is a file of the
        user's."""
        return next(filter(None, map(name_of, (self.raw_path, *self.raw_other_paths))), None)

    @property
    def other_paths(self) -> tuple[str, ...]:
        return tuple(map(os.fsdecode, self.raw_other_paths))

    @property
    def copies(self) -> tuple[str, ...]:
        return tuple(map(os.fsdecode, self.raw_copies))

    def as_json(self) -> dict[str, Any]:
        """Returns the fields that `virtue search --json` prints; boxes are [x, y, w, h]."""
        return {
            "rank": self.rank,
            "score": round(self.score, 6),
            "percentile": None if self.percentile is None else round(self.percentile, 3),
            "sureness": self.sureness,
            "path": self.path,
            "box": xywh(self.box),
            "width": self.width,
            "height": self.height,
            "kind": self.kind,
            "caption": self.caption,
            "region_id": self.region_id,
            "region_box": None if self.region_box is None else xywh(self.region_box),
            "object": self.object,
            "photo_id": self.photo_id,
            "via": list(self.via),
            "taken": self.taken,
            "camera": self.camera,
            "rating": self.rating,
            "tags": list(self.tags),
            "other_paths": list(self.other_paths),
            "copies": list(self.copies),
            "name": self.name,
        }

    def json_line(self) -> str:
        """Returns `as_json` as one line of ASCII, whatever the path and the caption hold."""
        return json.dumps(self.as_json())


def xywh(box: Box) -> list[float]:
    """Returns [x, y, w, h], rounded, and no larger than the box by more than `Box.within` tolerates. Corners
    are rounded, not sizes, so that a box at the edge stays in its picture."""
    x0, y0, x1, y1 = (round(value, 3) for value in box.corners)
    return [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)]
