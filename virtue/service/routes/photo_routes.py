"""The photos of the library, by id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from virtue.errors import InputError
from virtue.geometry import Box
from virtue.retrieval.hit import xywh
from virtue.service.bodies import (
    MAX_OFFSET,
    MAX_TEXT,
    CaptionsAnswer,
    Order,
    PhotoAnswer,
    PhotosAnswer,
    RegionsAnswer,
)
from virtue.service.held_photos import OpenPhoto
from virtue.service.problems import Problem, in_field
from virtue.service.routes.common import PROBLEMS, PhotoId, TheService, answer, as_json
from virtue.service.thumbnails import SIDES
from virtue.wire import photo_as_json, record_as_json

router = APIRouter(tags=["photos"], responses=PROBLEMS)

MAX_PHOTOS = 1_000
"""Photos of one answer."""
CHUNK = 1 << 18
"""Bytes of a file that are sent at once."""
CACHING = "private, max-age=3600"
"""Of what is named by the hash of its content."""

Where = Annotated[
    list[Annotated[str, Query(max_length=MAX_TEXT)]] | None,
    Query(description="a filter, or several, all of which must fit"),
]


@router.get("/v1/photos", response_model=PhotosAnswer)
async def list_photos(
    request: Request,
    service: TheService,
    where: Where = None,
    order: Order = "photo_id",
    limit: Annotated[int, Query(ge=0, le=MAX_PHOTOS)] = 100,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Response:
    """Lists photos with all that is known of them; `total` is how many fit in all."""

    def find() -> dict[str, Any]:
        with in_field("/where"):
            photos = service.library.photos(where, order=order, offset=offset, limit=limit)
            return {
                "photos": [photo_as_json(photo) for photo in photos],
                "total": service.library.count(where),
            }

    async def list_them() -> Response:
        return as_json(await service.run(find))

    return await answer(request, service, list_them())


@router.get("/v1/photos/{photo_id}", response_model=PhotoAnswer)
async def photo(service: TheService, photo_id: PhotoId) -> Response:
    """All that is known of a photo."""
    return as_json(photo_as_json(await service.photo(photo_id)))


@router.get("/v1/photos/{photo_id}/regions", response_model=RegionsAnswer)
async def regions(service: TheService, photo_id: PhotoId) -> Response:
    """All regions of a photo that searches compare with, whoever found them."""
    await service.photo(photo_id)

    def find() -> list[dict[str, Any]]:
        with service.library.store.read() as snapshot:
            return [record_as_json(region) for region in snapshot.regions(snapshot.rows_of([photo_id]))]

    return as_json({"regions": await service.look_up(find)})


@router.get("/v1/photos/{photo_id}/captions", response_model=CaptionsAnswer)
async def captions(service: TheService, photo_id: PhotoId) -> Response:
    """What is said of a photo and of its regions, and the text that was read in it."""
    found = await service.photo(photo_id)
    listed: list[dict[str, Any]] = [
        {"text": text, "source": "caption", "region_id": None, "box": None} for text in found.captions
    ]
    for region in found.regions:
        listed += [
            {"text": text, "source": "region", "region_id": region.region_id, "box": xywh(region.box)}
            for text in region.captions
        ]
    for line in found.lines or ():
        listed.append({"text": line.text, "source": "ocr", "region_id": None, "box": xywh(line.box)})
    return as_json({"captions": listed})


@router.get(
    "/v1/photos/{photo_id}/file",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"image/*": {}}},
        304: {"description": "As it was."},
    },
)
async def file(request: Request, service: TheService, photo_id: PhotoId) -> Response:
    """The file of a photo as it is, if its content is what the library knows."""
    found = await service.photo(photo_id)
    etag = f'"{found.hash.hex()}"'
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"etag": etag, "cache-control": CACHING})
    opened = await service.open_photo(photo_id)
    headers = {
        "etag": etag,
        "cache-control": CACHING,
        "content-length": str(opened.size),
        "content-disposition": f"inline; filename*=UTF-8''{quote(opened.name, safe='', errors='replace')}",
    }
    return StreamingResponse(_read(opened), media_type=opened.media_type, headers=headers)


@router.get(
    "/v1/photos/{photo_id}/thumbnail",
    response_class=Response,
    responses={
        200: {"description": "A JPEG, upright.", "content": {"image/jpeg": {}}},
        304: {"description": "As it was."},
    },
)
async def thumbnail(
    request: Request,
    service: TheService,
    photo_id: PhotoId,
    side: Annotated[int, Query(description=f"pixels of the long side: {', '.join(map(str, SIDES))}")] = 256,
    box: Annotated[
        str | None, Query(max_length=200, description="x,y,w,h: only this part, in pixels, upright")
    ] = None,
) -> Response:
    """A small JPEG of a photo, or of a part of it. It is made once."""
    if side not in SIDES:
        raise Problem(
            422, f"side must be one of {', '.join(map(str, SIDES))}", field="/side", kind="InputError"
        )
    found = await service.photo(photo_id)
    corners = None
    if box is not None:
        with in_field("/box"):
            corners = Box.parse(box).within(found.width, found.height).corners
    etag = f'"{found.hash.hex()}-{side}-{box or ""}"'
    if etag.isascii() and etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"etag": etag, "cache-control": CACHING})

    async def make() -> Response:
        try:
            content = await service.thumbnail(photo_id, side, corners)
        except InputError as error:
            raise Problem.of(error) from error
        headers = {"cache-control": CACHING} | ({"etag": etag} if etag.isascii() else {})
        return Response(content, media_type="image/jpeg", headers=headers)

    return await answer(request, service, make())


def _read(opened: OpenPhoto) -> Iterator[bytes]:
    with opened.stream:
        left = opened.size
        while left and (chunk := opened.stream.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
