"""Vectors, in the shapes of OpenAI's API and of vLLM's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydantic_core
from fastapi import APIRouter, Request, Response

from virtue.embedder.inputs import ModelInput
from virtue.service.bodies import (
    ContentItem,
    EmbeddingItem,
    EmbeddingsAnswer,
    EmbeddingsBody,
    Message,
    ModelsAnswer,
)
from virtue.service.model_thread import MAX_BATCH
from virtue.service.problems import Problem, in_field
from virtue.service.request_bodies import described, read_body
from virtue.service.routes.common import PROBLEMS, TheService, answer, as_json, to_base64
from virtue.service.service import AT_ONCE, Service
from virtue.vector_math import unit_rows

router = APIRouter(tags=["embeddings"], responses=PROBLEMS)


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer, openapi_extra=described(EmbeddingsBody))
async def embed(request: Request, service: TheService) -> Response:
    """Embeds texts and pictures, as OpenAI's API does; `messages` as vLLM's, with `box`, `points` and `mask`
    beside an image. Vectors are those of documents; with `find`, those of queries. `usage` counts words."""
    body = await read_body(request, EmbeddingsBody)

    async def do() -> Response:
        embedder = service.embedder
        if body.model not in (None, embedder.name):
            raise Problem(
                404, f"there is no model {body.model[:200]!r} here: {embedder.name} is", field="/model"
            )
        if body.dimensions is not None and body.dimensions > embedder.dim:
            raise Problem(422, f"vectors have {embedder.dim} numbers", field="/dimensions", kind="InputError")
        items = _items(body)
        values = await _read(service, items)
        rows = await _embed(service, values, [field for field, _ in items], body)
        words = sum(len(item.text.split()) for _, item in items if item.text is not None)
        return _answer(rows, body, embedder.name, words)

    return await answer(request, service, do())


@router.get("/v1/models", response_model=ModelsAnswer)
async def models(service: TheService) -> Response:
    """The model of this service, as OpenAI's API lists them."""
    embedder = service.embedder
    model = {
        "id": embedder.name,
        "object": "model",
        "created": 0,
        "owned_by": "virtue",
        "dim": embedder.dim,
        "fingerprint": embedder.fingerprint,
    }
    return as_json({"object": "list", "data": [model]})


def _items(body: EmbeddingsBody) -> list[tuple[str, EmbeddingItem]]:
    """Returns the inputs, each with the place that it has in the body."""
    if (body.input is None) == (body.messages is None):
        raise Problem(422, "give input or messages", field="/input", kind="InputError")
    if body.messages is not None:
        return [("/messages/0", _of_message(body.messages[0]))]
    if not isinstance(body.input, list):
        return [("/input", _of_input(body.input, "/input"))]
    named = [(f"/input/{number}", value) for number, value in enumerate(body.input)]
    return [(field, _of_input(value, field)) for field, value in named]


def _of_input(value: str | EmbeddingItem | None, field: str) -> EmbeddingItem:
    """Makes an input of a text, or of the data URI of a picture."""
    if isinstance(value, str):
        if value[:11].lower() == "data:image/":
            return EmbeddingItem(image=value)
        with in_field(field):
            return EmbeddingItem(text=value)
    assert value is not None
    return value


def _of_message(message: Message) -> EmbeddingItem:
    """Makes one input of what a message says and shows."""
    field = "/messages/0/content"
    if isinstance(message.content, str):
        return EmbeddingItem(text=message.content)
    texts: list[str] = []
    given: dict[str, Any] = {}
    for number, part in enumerate(message.content):
        if part.type in ("text", "input_text"):
            if part.text is None:
                raise Problem(422, "give its text", field=f"{field}/{number}/text", kind="InputError")
            texts.append(part.text)
            continue
        if given:
            raise Problem(422, "there are two images: one has one vector", field=f"{field}/{number}")
        given = _of_image(part, f"{field}/{number}")
    if texts:
        given["text"] = "\n".join(texts)
    return EmbeddingItem(**given)


def _of_image(part: ContentItem, field: str) -> dict[str, Any]:
    url = part.image_url if isinstance(part.image_url, str) or part.image_url is None else part.image_url.url
    if url is None:
        raise Problem(422, "give its address: a data URI", field=f"{field}/image_url", kind="InputError")
    drawn = {name: value for name in ("box", "points", "mask") if (value := getattr(part, name)) is not None}
    return {"image": url, "relative": part.relative, **drawn}


async def _read(service: Service, items: Sequence[tuple[str, EmbeddingItem]]) -> list[ModelInput]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def read(field: str, item: EmbeddingItem) -> ModelInput:
        async with limit:
            return await service.reader.item(item, field)

    if all(item.image is None and item.picture_id is None for _, item in items):
        return [await service.reader.item(item, field) for field, item in items]
    return list(await asyncio.gather(*(read(*each) for each in items)))


async def _embed(
    service: Service, values: Sequence[ModelInput], fields: Sequence[str], body: EmbeddingsBody
) -> list[np.ndarray]:
    """Embeds inputs in batches, between which others have their turn."""
    rows: list[np.ndarray] = []
    for first in range(0, len(values), MAX_BATCH):
        batch = values[first : first + MAX_BATCH]
        if body.find is None:
            futures = service.embedder.submit_documents(batch)
        else:
            futures = service.embedder.submit_queries(batch, body.find)
        try:
            for field, future in zip(fields[first:], futures, strict=False):
                with in_field(field):
                    row = await asyncio.wrap_future(future)
                rows.append(row if body.find is None else row[0])
        finally:
            for future in futures:  # of one that failed, or whose client is gone
                future.cancel()
    return rows


def _answer(rows: Sequence[np.ndarray], body: EmbeddingsBody, model: str, words: int) -> Response:
    table = np.stack(rows)
    if body.dimensions is not None:
        table = unit_rows(table[:, : body.dimensions])
    if body.encoding_format == "base64":
        vectors: list[Any] = [to_base64(row.astype("<f4").tobytes()) for row in table]
    else:
        vectors = table.tolist()
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    usage = {"prompt_tokens": words, "total_tokens": words}
    rest = json.dumps({"model": model, "usage": usage}).encode()
    # Several times as fast as `json` with so many numbers.
    content = b'{"object":"list","data":' + pydantic_core.to_json(data) + b"," + rest[1:]
    return Response(content, media_type="application/json")
