"""What a request says of pictures and prompts -> parts of a query, checked field by field."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from virtue.embedder.inputs import ModelInput
from virtue.errors import InputError
from virtue.geometry import Box, Point, Prompt
from virtue.indexer.masks import decode as decode_mask
from virtue.pictures import Picture
from virtue.retrieval.query import Part
from virtue.service.batched_embedder import whole_picture
from virtue.service.bodies import EmbeddingItem, PartBody, Prompted, RunLengths
from virtue.service.decoders import Decoders
from virtue.service.fetching import fetch_picture
from virtue.service.kept_pictures import KeptPictures
from virtue.service.problems import Problem, in_field

if TYPE_CHECKING:
    from concurrent.futures import Executor

T = TypeVar("T")

MAX_PICTURE = 48 << 20
"""Bytes of the file of a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPicture:
    """A picture and what is drawn on it: `upright` is what a prompt is on, `whole` what is meant without."""

    upright: Picture
    whole: Picture
    prompt: Prompt

    @property
    def shown(self) -> Picture:
        return self.upright if self.prompt else self.whole


class QueryReader:
    """Reads what requests hold. Pictures are decoded in other processes.

    Args:
        side: pixels on the long side that the model needs.
        allow_urls: whether an image may be an address on the net.
    """

    def __init__(
        self,
        decoders: Decoders,
        kept: KeptPictures,
        side: Callable[[], int | None],
        executor: Executor,
        *,
        allow_urls: bool,
    ) -> None:
        self._decoders, self._kept, self._side = decoders, kept, side
        self._executor, self._allow_urls = executor, allow_urls

    async def part(self, body: PartBody, field: str = "") -> Part | None:
        """Reads a part of a query; None: it holds nothing.

        Raises:
            Problem: something cannot be used; names the field.
        """
        drawn = await self.drawn(body, field)
        given: dict[str, Any] = {
            name: value
            for name in ("text", "photo_id", "region_id", "weight")
            if (value := getattr(body, name)) is not None
        }
        if body.vector is not None:
            with in_field(f"{field}/vector"):
                given["vector"] = _vector(body.vector)
        if drawn is not None:
            given |= _fields_of(drawn)
        if given.keys() <= {"weight"}:
            return None
        with in_field(f"{field}/{_named(body)}"):
            return Part(**given)

    async def item(self, body: EmbeddingItem, field: str = "") -> ModelInput:
        """Reads an input of a request for embeddings; raises as `part` does."""
        drawn = await self.drawn(body, field)
        with in_field(field or "/input"):
            return ModelInput(text=body.text, **({} if drawn is None else _fields_of(drawn)))

    async def drawn(self, body: Prompted, field: str = "") -> DrawnPicture | None:
        """Reads a picture and what is drawn on it; None: there is none.

        Raises:
            Problem: something cannot be used; names the field.
        """
        if body.image is None and body.picture_id is None and "image" not in body.uploads:
            for name in ("box", "points", "mask"):
                if getattr(body, name) is not None:
                    raise Problem(
                        422,
                        "a box, points or a mask need an image that they are drawn on: give image or "
                        "picture_id",
                        field=f"{field}/{name}",
                        kind="PromptError",
                    )
            return None
        upright, whole = await self.picture(body, field)
        return DrawnPicture(upright, whole, await self._prompt(body, upright.width, upright.height, field))

    async def picture(self, body: Prompted, field: str = "") -> tuple[Picture, Picture]:
        """Reads the picture alone: for what is drawn on it, and as a whole."""
        if body.picture_id is not None:
            if body.image is not None or "image" in body.uploads:
                raise Problem(
                    422, "there are an image and a picture_id: give one of them", field=f"{field}/picture_id",
                    kind="InputError",
                )  # fmt: skip
            kept = self._kept.get(body.picture_id)
            if kept is None:
                raise Problem(
                    422,
                    "there is no such picture, or no longer: send it to POST /v1/pictures again",
                    field=f"{field}/picture_id",
                    kind="InputError",
                )
            return kept.upright, kept.whole
        with in_field(f"{field}/image"):
            content = body.uploads.get("image") or await self.content(body.image or "")
            decoded = await self._run(self._decoders.picture, content, self._side())
        return decoded.upright, whole_picture(decoded)

    async def content(self, image: str) -> bytes:
        """Returns the file of a picture: base64, a data URI, or, where that is allowed, an address.

        Raises:
            InputError: it is none of these.
        """
        if image[:8].lower().startswith(("http://", "https://")):
            if not self._allow_urls:
                raise InputError(
                    "addresses are not fetched here: send the picture itself",
                    hint="virtue serve --allow-urls",
                )
            return await self._run(fetch_picture, image, MAX_PICTURE)
        return decode_base64(image)

    async def _prompt(self, body: Prompted, width: int, height: int, field: str) -> Prompt:
        box, mask = None, None
        points: tuple[Point, ...] = ()
        if body.box is not None:
            with in_field(f"{field}/box"):
                x, y, w, h = body.box
                box = Box(x, y, x + w, y + h, unit=body.relative)
                box = Prompt(box).within(width, height).box
        if body.points is not None:
            points = tuple(_point(values, f"{field}/points/{n}") for n, values in enumerate(body.points))
            with in_field(f"{field}/points"):
                Prompt(box, points).within(width, height)
        if body.mask is not None or "mask" in body.uploads:
            with in_field(f"{field}/mask"):
                mask = await self._mask(body.uploads.get("mask") or body.mask or "", width, height)
                Prompt(mask=mask).within(width, height)
        return Prompt(box, points, mask)

    async def _mask(self, mask: bytes | str | RunLengths, width: int, height: int) -> np.ndarray:
        if isinstance(mask, RunLengths):
            if mask.size != [height, width]:
                raise InputError(
                    f"the mask is {mask.size[1]} x {mask.size[0]} pixels, the picture {width} x {height} "
                    "(upright): they must agree"
                )
            try:
                return decode_mask({"size": mask.size, "counts": mask.counts})
            except ValueError as error:
                raise InputError(f"the mask cannot be read: {error}") from None
        content = mask if isinstance(mask, bytes) else await self.content(mask)
        return (await self._run(self._decoders.mask, content, width, height)).pixels

    async def _run(self, work: Callable[..., T], *values: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *values)


def decode_base64(image: str) -> bytes:
    """Reads base64, as it is or in a data URI.

    Raises:
        InputError: it is none, or too long.
    """
    text = image
    if image[:5].lower() == "data:":
        head, comma, text = image.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise InputError("a data URI must be of base64: data:image/jpeg;base64,...")
    if len(text) > MAX_PICTURE * 4 // 3 + 4:
        raise InputError(f"the picture has more than {MAX_PICTURE >> 20} MB: give a smaller copy")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(
            "this is no picture: give a file's content as base64 or as a data URI, not a path"
        ) from None
    if not content:
        raise InputError("the picture is empty (0 bytes)")
    return content


def _fields_of(drawn: DrawnPicture) -> dict[str, Any]:
    prompt = drawn.prompt
    return {"image": drawn.shown, "box": prompt.box, "points": prompt.points, "mask": prompt.mask}


def _point(values: Sequence[float], field: str) -> Point:
    x, y, label = (*values, 1.0) if len(values) == 2 else values
    if label not in (0.0, 1.0):
        raise Problem(
            422, "a point ends in 1 for what is meant or 0 for what is not", field=field, kind="PromptError"
        )
    return Point(x, y, label == 1.0)


def _vector(rows: Sequence[Any]) -> np.ndarray:
    try:
        return np.array(rows, np.float64)
    except ValueError:
        raise InputError("the rows of a vector must be of one length") from None


def _named(body: PartBody) -> str:
    """The field that most likely is to blame if the parts do not go together."""
    names = ("region_id", "photo_id", "vector", "text", "image", "picture_id", "weight")
    if body.weight == 0:
        return "weight"
    return next((name for name in names if getattr(body, name) is not None), "text")
