"""What else a back end does with a library: annotate, forget, find duplicates, read vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json
from starlette.responses import StreamingResponse

from virtue.geometry import Box
from virtue.service.bodies import (
    AnnotationBody,
    AnnotationsBody,
    CountAnswer,
    FitsAnswer,
    ForgetBody,
    GivenRegionBody,
    Goal,
    GroupsAnswer,
    SimilarBody,
)
from virtue.service.problems import in_field
from virtue.service.request_bodies import described, read_body
from virtue.service.routes.common import PROBLEMS, TheService, answer, as_json, to_base64
from virtue.service.routes.photo_routes import Where
from virtue.store.records import Region, VectorBlock
from virtue.tasks.annotate_photos import Annotation
from virtue.wire import similar_as_json

router = APIRouter(tags=["keeping"], responses=PROBLEMS)

MAX_BLOCK = 16_384
"""Vectors of one line of an answer."""


@router.post(
    "/v1/annotations", status_code=204, response_class=Response, openapi_extra=described(AnnotationsBody)
)
async def annotate(request: Request, service: TheService) -> Response:
    """Says something of photos, as `Library.annotate` does: all of it is kept, or none."""
    service.check_writable()
    body = await read_body(request, AnnotationsBody)
    annotations = [_annotation(each, f"/annotations/{n}") for n, each in enumerate(body.annotations)]

    async def do() -> Response:
        with in_field("/annotations"):
            await service.run(lambda: service.library.annotate(annotations))
        return Response(status_code=204)

    return await answer(request, service, do())


def _annotation(body: AnnotationBody, field: str) -> Annotation:
    rating = body.rating if "rating" in body.model_fields_set else ...
    regions = None
    if body.regions is not None:
        regions = [_region(each, f"{field}/regions/{n}") for n, each in enumerate(body.regions)]
    return Annotation(body.photo_id, body.captions, body.tags, rating, regions)


def _region(body: GivenRegionBody, field: str) -> Region:
    with in_field(f"{field}/box"):
        box = Box.from_xywh(*body.box)
    mask = None if body.mask is None else body.mask.model_dump_json()
    return Region(box, body.category, tuple(body.captions), mask, body.region_id)


@router.post("/v1/forget", response_model=CountAnswer, openapi_extra=described(ForgetBody))
async def forget(request: Request, service: TheService) -> Response:
    """Takes photos out of the library, as `Library.forget` does; their files stay."""
    service.check_writable()
    body = await read_body(request, ForgetBody)

    async def do() -> Response:
        paths = [os.fsencode(path) for path in body.paths]
        chosen = {"where": body.where, "photo_ids": body.photo_ids, "undo": body.undo}

        def forget_them() -> int:
            return service.library.forget(*([paths] if paths else []), **chosen)  # type: ignore[arg-type]

        return as_json({"count": await service.run(forget_them)})

    return await answer(request, service, do())


@router.post("/v1/similar", response_model=GroupsAnswer, openapi_extra=described(SimilarBody))
async def similar(request: Request, service: TheService) -> Response:
    """Finds near-duplicates, in groups, as `Library.similar` does."""
    body = await read_body(request, SimilarBody)

    async def do() -> Response:
        path = None if body.path is None else (await service.allowed([body.path], "/path"))[0]
        name = None if path is None else os.fsdecode(path)

        def find() -> list[list[dict[str, Any]]]:
            groups = service.library.similar(name, threshold=body.threshold)
            return [[similar_as_json(file) for file in group] for group in groups]

        return as_json({"groups": await service.run(find)})

    return await answer(request, service, do())


@router.get("/v1/fits", response_model=FitsAnswer)
async def fits(request: Request, service: TheService, where: Where = None, find: Goal = "auto") -> Response:
    """Whether anything at all matches a filter."""

    async def do() -> Response:
        with in_field("/where"):
            return as_json({"fits": await service.run(lambda: service.library.fits(where, find=find))})

    return await answer(request, service, do())


@router.get(
    "/v1/vectors",
    response_class=Response,
    responses={200: {"description": "A block a line.", "content": {"application/x-ndjson": {}}}},
)
async def vectors(
    service: TheService,
    where: Where = None,
    kind: Literal["regions", "photos", "captions"] = "regions",
    block: Annotated[int, Query(ge=1, le=MAX_BLOCK)] = 4096,
) -> Response:
    """The vectors of the library as it is now, a block a line: `ids`, `photo_ids` (int64), `boxes` (float64,
    x0, y0, x1, y1) and `vectors` (float32), each as base64 of its bytes, little end first, row by row."""
    with in_field("/where"):
        blocks = await service.run(lambda: service.library.vectors(kind, where=where, block=block))
    return StreamingResponse(_lines(blocks), media_type="application/x-ndjson")


def _lines(blocks: Iterator[VectorBlock]) -> Iterator[bytes]:
    for each in blocks:
        parts = {"ids": (each.ids, "<i8"), "photo_ids": (each.photo_ids, "<i8"), "boxes": (each.boxes, "<f8")}
        parts["vectors"] = (each.vectors, "<f4")
        line = {name: to_base64(np.asarray(array, kind).tobytes()) for name, (array, kind) in parts.items()}
        yield to_json({"count": len(each.ids), **line}) + b"\n"
