"""Searching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from virtue.retrieval.hit import Hit
from virtue.service.bodies import HitsAnswer, ResultsAnswer, SearchBody
from virtue.service.problems import Problem
from virtue.service.request_bodies import described, read_body
from virtue.service.routes.common import PROBLEMS, TheService, answer, as_json

router = APIRouter(tags=["search"], responses=PROBLEMS)


@router.post(
    "/v1/search",
    response_model=HitsAnswer | ResultsAnswer,
    openapi_extra=described(SearchBody, "image", "mask"),
)
async def search(request: Request, service: TheService) -> Response:
    """Finds the best hits for a query, best first; the arguments are those of `Library.search`, and the keys
    of hits those of `virtue search --json`. With `queries`, several are answered at once: each has its hits
    or its problem, in their order."""
    body = await read_body(request, SearchBody)

    async def find() -> Response:
        if body.queries is None:
            return as_json(_hits(await service.search(body)))
        found = await service.search_many(body)
        return as_json({"results": [_result(each) for each in found]})

    return await answer(request, service, find())


def _result(found: list[Hit] | Problem) -> dict[str, Any]:
    return {"problem": found.as_json()} if isinstance(found, Problem) else _hits(found)


def _hits(found: Sequence[Hit]) -> dict[str, Any]:
    return {"hits": [hit.as_json() for hit in found]}
