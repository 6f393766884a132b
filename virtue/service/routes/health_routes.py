"""Whether it lives, what it holds, what it counts."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from virtue import __version__
from virtue.service.bodies import RootsAnswer, StateAnswer, StatusAnswer, SuggestionsAnswer
from virtue.service.problems import Problem
from virtue.service.routes.common import PROBLEMS, TheService, as_json

router = APIRouter(tags=["service"], responses=PROBLEMS)


@router.get("/healthz", response_model=StateAnswer)
async def health() -> Response:
    """Whether the process answers. It needs no token."""
    return as_json({"status": "ok"})


@router.get("/readyz", response_model=StateAnswer)
async def readiness(service: TheService) -> Response:
    """Whether the library can be read and the model is loaded."""

    def look() -> None:
        with service.library.store.read() as snapshot:
            _ = snapshot.version

    try:
        await service.look_up(look)
    except Exception as error:
        raise Problem(503, f"the library cannot be read: {Problem.of(error).detail}") from error
    return as_json({"status": "ok"})


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "As Prometheus reads them.", "content": {"text/plain": {}}}},
)
async def metrics(service: TheService) -> Response:
    """What the service counts."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/status", response_model=StatusAnswer)
async def status(service: TheService) -> Response:
    """What the library holds, as `virtue status` says it."""

    def look() -> dict[str, Any]:
        with service.library.store.read() as snapshot:
            return asdict(snapshot.counts())

    embedder = service.embedder
    about = {
        "library": service.library.name,
        "version": __version__,
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
        "dim": embedder.dim,
        "read_only": service.options.read_only,
        "can_segment": service.can_segment,
    }
    return as_json(about | await service.look_up(look))


@router.get("/v1/suggestions", response_model=SuggestionsAnswer)
async def suggestions(service: TheService) -> Response:
    """What filters may compare with: cameras, tags, things, folders, as far as a quick look tells."""

    def look() -> dict[str, Any]:
        with service.library.store.read() as snapshot:
            found = asdict(snapshot.suggestions())
        return {**found, "folders": list(map(os.fsdecode, found["folders"]))}

    return as_json(await service.look_up(look))


@router.get("/v1/roots", response_model=RootsAnswer)
async def roots(service: TheService) -> Response:
    """The folders that may be indexed over the service, and whether they were."""
    found = await service.roots()
    return as_json(
        {"roots": [{"path": os.fsdecode(path), "indexed": is_in} for path, is_in in found.items()]}
    )
