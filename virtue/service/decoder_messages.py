"""What the service and the processes that decode for it say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from virtue.pictures import Picture


class PictureTask(NamedTuple):
    """The content of a file to decode as a query, at most `side` pixels long, within `timeout` seconds."""

    content: bytes
    side: int | None
    timeout: float


class MaskTask(NamedTuple):
    """The content of a file to decode as a mask of a picture of this size."""

    content: bytes
    width: int
    height: int
    timeout: float


class ThumbnailTask(NamedTuple):
    """The content of a file to make a JPEG of, at most `side` pixels long. `box`: only this part, x0, y0, x1,
    y1 in pixels of the upright original."""

    content: bytes
    side: int
    box: tuple[float, float, float, float] | None
    timeout: float


@dataclass(frozen=True, slots=True, eq=False)
class QueryPicture:
    """A picture as queries take it. Three are one, but where a part is transparent.

    Attributes:
        upright: for prompts; `alpha` says what is transparent.
        whole: where nothing is drawn on it: cropped to what is opaque.
        document: as a library has it.
    """

    upright: Picture
    whole: Picture
    document: Picture


class Mask(NamedTuple):
    """A mask (height, width) bool."""

    pixels: np.ndarray


class Thumbnail(NamedTuple):
    """A JPEG."""

    content: bytes


NAMES = frozenset(
    {
        *(
            ("virtue.service.decoder_messages", name)
            for name in ("PictureTask", "MaskTask", "ThumbnailTask", "QueryPicture", "Mask", "Thumbnail")
        ),
    }
)
"""What a message may name beside what those of the indexer may."""
