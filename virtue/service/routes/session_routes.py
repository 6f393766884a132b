"""A cookie in place of the token, for a page in a browser: pictures on a page cannot send headers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from virtue.service.routes.common import PROBLEMS
from virtue.service.safety import COOKIE, SESSION_SECONDS, Door

router = APIRouter(tags=["service"], responses=PROBLEMS)


@router.post("/v1/session", status_code=204, response_class=Response)
async def open_session(request: Request) -> Response:
    """Gives a browser that has sent the token a cookie that stands for it, which no script can read."""
    door: Door = request.app.state.door
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE, door.open_session(), max_age=SESSION_SECONDS, httponly=True, samesite="strict", path="/"
    )
    return response


@router.delete("/v1/session", status_code=204, response_class=Response)
async def close_session(request: Request) -> Response:
    """Ends the session of this browser."""
    door: Door = request.app.state.door
    door.close_session(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response
