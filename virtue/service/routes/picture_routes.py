"""Pictures that are kept for a while, and what is meant by what is drawn on them."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from PIL import Image

from virtue.embedder.inputs import ModelInput
from virtue.geometry import Prompt
from virtue.indexer.masks import encode
from virtue.retrieval.hit import xywh
from virtue.service.bodies import KeptAnswer, PictureBody, SegmentAnswer, SegmentBody
from virtue.service.kept_pictures import KEPT_SECONDS
from virtue.service.problems import Problem, in_field
from virtue.service.query_parts import DrawnPicture
from virtue.service.request_bodies import described, read_body
from virtue.service.routes.common import PROBLEMS, TheService, answer, as_json, to_base64
from virtue.service.service import Service

router = APIRouter(tags=["pictures"], responses=PROBLEMS)

PREVIEW_SIDE = 2048
"""Pixels of the long side of a preview, at most."""
COUNTS = 0.1
"""Share of the weight of the heaviest cell from which on a cell counts."""


@router.post(
    "/v1/pictures", status_code=201, response_model=KeptAnswer, openapi_extra=described(PictureBody, "image")
)
async def keep(request: Request, service: TheService) -> Response:
    """Keeps a picture with what the model sees in it, so that each box on it is a light step: an upload, or a
    photo of the library. It goes a while after it was last used."""
    body = await read_body(request, PictureBody)

    async def do() -> Response:
        content, field = await _content(service, body)
        picture_id, width, height = await service.keep(content, field)
        kept = {"picture_id": picture_id, "width": width, "height": height, "expires_in": KEPT_SECONDS}
        return as_json(kept, 201)

    return await answer(request, service, do())


async def _content(service: Service, body: PictureBody) -> tuple[bytes, str]:
    upload = body.uploads.get("image")
    if (upload is not None) + (body.image is not None) + (body.photo_id is not None) != 1:
        raise Problem(422, "give one picture: image or photo_id", field="/image", kind="InputError")
    if body.photo_id is not None:
        with in_field("/photo_id"):
            return await service.read_photo(body.photo_id), "/photo_id"
    with in_field("/image"):
        return upload or await service.reader.content(body.image or ""), "/image"


@router.post(
    "/v1/preview",
    response_class=Response,
    responses={200: {"description": "A JPEG, upright.", "content": {"image/jpeg": {}}}},
    openapi_extra=described(PictureBody, "image"),
)
async def preview(request: Request, service: TheService) -> Response:
    """Makes a JPEG of a picture, for those who cannot show what it is (HEIC, RAW, TIFF); nothing is kept."""
    body = await read_body(request, PictureBody)

    async def do() -> Response:
        content, field = await _content(service, body)
        with in_field(field):
            made = await service.decode(service.decoders.thumbnail, content, PREVIEW_SIDE)
        return Response(made, media_type="image/jpeg")

    return await answer(request, service, do())


@router.delete("/v1/pictures/{picture_id}", status_code=204, response_class=Response)
async def forget(service: TheService, picture_id: str) -> Response:
    """Lets a kept picture go."""
    if not service.kept.remove(picture_id):
        raise Problem(404, "there is no such picture, or no longer")
    return Response(status_code=204)


@router.post(
    "/v1/segment", response_model=SegmentAnswer, openapi_extra=described(SegmentBody, "image", "mask")
)
async def segment(request: Request, service: TheService) -> Response:
    """Says what is meant by what is drawn: a mask where the model segments, else the cells that it weighs."""
    body = await read_body(request, SegmentBody)

    async def do() -> Response:
        if body.photo_id is not None and body.image is None and body.picture_id is None:
            with in_field("/photo_id"):
                body.uploads.setdefault("image", await service.read_photo(body.photo_id))
        drawn = await service.reader.drawn(body)
        if drawn is None:
            raise Problem(
                422, "give a picture: image, picture_id or photo_id", field="/image", kind="InputError"
            )
        if not drawn.prompt:
            raise Problem(422, "draw a box, points or a mask on it", field="/box", kind="PromptError")
        prompt = drawn.prompt
        value = ModelInput(image=drawn.upright, box=prompt.box, points=prompt.points, mask=prompt.mask)
        found = await asyncio.wrap_future(service.embedder.submit_drawn(value))
        return as_json(await service.decode(_describe, drawn, found))

    return await answer(request, service, do())


def _describe(drawn: DrawnPicture, found: np.ndarray) -> dict[str, Any]:
    width, height = drawn.upright.width, drawn.upright.height
    is_mask = found.dtype == bool
    mask = found if is_mask else _spread(found >= COUNTS * found.max(), height, width)
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    meant = Prompt(mask=mask) if mask.any() else drawn.prompt
    described = {
        "kind": "mask" if is_mask else "cells",
        "width": width,
        "height": height,
        "box": xywh(meant.outline(width, height)),
        "mask": encode(mask),
        "png": to_base64(stream.getvalue()),
    }
    if not is_mask:
        rows, columns = found.shape
        weights = [round(weight, 6) for weight in found.ravel().tolist()]
        described["cells"] = {"rows": rows, "columns": columns, "weights": weights}
    return described


def _spread(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Lays cells (rows, columns) out over a picture: (height, width)."""
    rows = np.arange(height) * cells.shape[0] // height
    columns = np.arange(width) * cells.shape[1] // width
    spread: np.ndarray = cells[rows][:, columns]
    return spread
