"""What all routes share: the service, how answers are made, what the document says of problems."""

from __future__ import annotations

import base64
from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response

from virtue.service.admission import ClientGone, while_connected
from virtue.service.bodies import MAX_ID, ProblemAnswer
from virtue.service.problems import MEDIA_TYPE, AsciiResponse
from virtue.service.service import Service

CLIENT_GONE = 499
"""Nobody gets this status: the client is gone. It is counted."""

PROBLEM = {
    "description": "What was wrong, and in which field (RFC 9457).",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
}
PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": PROBLEM, "5XX": PROBLEM}
"""What every route may answer."""
_ = ProblemAnswer  # named in the document

PhotoId = Annotated[int, Path(ge=1, le=MAX_ID, description="of a hit or a photo")]


def get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(get_service)]


async def answer(request: Request, service: Service, work: Coroutine[Any, Any, Response]) -> Response:
    """Does the work of an admitted request, unless its client goes before it is done.

    Raises:
        Problem: too many requests wait already.
    """
    try:
        with service.admission.admit():
            return await while_connected(request, work)
    except ClientGone:
        service.metrics.dropped.inc()
        return Response(status_code=CLIENT_GONE)
    finally:
        work.close()


def as_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return AsciiResponse(content, status_code=status, headers=headers)


def to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
