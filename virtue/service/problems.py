"""What goes wrong, as RFC 9457 says it (`application/problem+json`): what was wrong, and in which field."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from virtue.errors import (
    DamagedError,
    EmptyLibraryError,
    InputError,
    LibraryNotFoundError,
    LockedError,
    ModelError,
    ModelMismatchError,
    PictureError,
    PromptError,
    SchemaError,
    StoppedError,
    StoreError,
    VirtueError,
)

LOG = logging.getLogger("virtue.service")

MEDIA_TYPE = "application/problem+json"
OPENAI_PATHS = frozenset({"/v1/embeddings", "/v1/models"})
"""Where a problem also has an `error` as OpenAI's clients read it."""
MAX_ERRORS = 20
"""Fields that a problem names."""

_STATUS: dict[type[VirtueError], int] = {
    PictureError: 422,
    PromptError: 422,
    InputError: 422,
    EmptyLibraryError: 409,
    LibraryNotFoundError: 409,
    LockedError: 409,
    ModelMismatchError: 409,
    SchemaError: 409,
    StoppedError: 409,
    ModelError: 422,
    DamagedError: 500,
    StoreError: 503,
    VirtueError: 500,
}
_TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not allowed",
    404: "There is no such thing",
    405: "Not with this method",
    408: "The request took too long",
    409: "Not as the library is now",
    410: "It is no longer there",
    413: "Too large",
    415: "Not of a kind that is read here",
    421: "Not the host that is served here",
    422: "Something given cannot be used",
    429: "Too many requests",
    500: "A mistake in virtue itself",
    503: "Not available now",
}


class AsciiResponse(JSONResponse):
    """JSON in ASCII: paths in no encoding are lone surrogates, which UTF-8 cannot hold."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Problem(Exception):
    """A problem to answer with.

    Attributes:
        status: of HTTP.
        detail: one sentence that names the thing and the way out.
        field: a JSON pointer to what was wrong, such as "/parts/0/box"; None: none was.
        kind: the name of the error in Python; None: there is none.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        kind: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.kind, self.hint = status, detail, field, kind, hint
        self.headers = dict(headers or {})
        self.errors = errors or ([{"pointer": f"#{field}", "detail": detail}] if field is not None else [])

    @classmethod
    def of(cls, error: Exception, field: str | None = None) -> Problem:
        """Makes the problem of an error."""
        if isinstance(error, Problem):
            return error
        if isinstance(error, ValidationError):
            return _of_validation(error, field or "", None)
        if isinstance(error, VirtueError):
            status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
            if status == 500:
                LOG.error("%s: %s", type(error).__name__, error)
            kind = type(error).__name__
            # Files of the library are not named to strangers in what nobody foresaw.
            return cls(status, str(error), field=field, kind=kind, hint=error.hint)
        LOG.error("unforeseen", exc_info=error)
        return cls(500, "this was not foreseen: see the log of the service")

    def as_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "type": f"urn:virtue:problem:{self.kind}" if self.kind else "about:blank",
            "title": _TITLES.get(self.status, "Problem"),
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = self.errors
        if self.hint:
            content["hint"] = self.hint
        return content

    def response(self, path: str) -> Response:
        """Returns the answer to a request for this path."""
        content = self.as_json()
        if path in OPENAI_PATHS:
            param = self.errors[0]["pointer"].removeprefix("#/") if self.errors else None
            content["error"] = {
                "message": self.detail, "type": content["title"], "param": param, "code": self.kind
            }  # fmt: skip
        return AsciiResponse(content, status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE)


@contextmanager
def in_field(field: str) -> Iterator[None]:
    """Says of what goes wrong in the block which field it was in."""
    try:
        yield
    except Problem as problem:
        if problem.field is None and not problem.errors:
            problem.field = field
            problem.errors = [{"pointer": f"#{field}", "detail": problem.detail}]
        raise
    except (VirtueError, ValidationError) as error:
        raise Problem.of(error, field) from error


def of_invalid(error: ValidationError, content: bytes) -> Problem:
    """Makes the problem of a body that is not as it must be."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Problem(400, f"this is no JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    try:
        given = json.loads(content)
    except ValueError:  # numbers longer than Python reads
        given = None
    return _of_validation(error, "", given)


def _of_validation(error: ValidationError, above: str, given: Any) -> Problem:
    errors: list[dict[str, str]] = []
    # Where a field may be of several kinds there is an error for each: the deepest says most.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    placed = [(_pointer(each["loc"], given), each) for each in found]
    deepest: dict[str, tuple[int, int]] = {}
    for number, (pointer, _) in enumerate(placed):
        top = pointer.split("/")[1] if "/" in pointer else ""
        depth = pointer.count("/")
        if depth > deepest.get(top, (-1, 0))[0]:
            deepest[top] = (depth, number)
    for _, number in list(deepest.values())[:MAX_ERRORS]:
        pointer, each = placed[number]
        errors.append({"pointer": f"#{above}{pointer}", "detail": _sentence(each["msg"])})
    named = errors[0]["pointer"].removeprefix("#").removeprefix("/").replace("/", ".") or "the request"
    return Problem(422, f"{named}: {errors[0]['detail']}", kind="InputError", errors=errors)


def _pointer(location: tuple[int | str, ...], given: Any) -> str:
    """The JSON pointer of a place, without the names of kinds that pydantic puts in between."""
    pointer = ""
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if isinstance(given, dict) and isinstance(part, str):
            if part not in given and not is_last:
                continue
            if part not in given and is_last and "[" in part:
                continue
        elif not (isinstance(given, list) and isinstance(part, int) and part < len(given)):
            continue
        pointer += f"/{_escape(part)}"
        given = given[part] if isinstance(part, int) or part in given else None
    return pointer


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ").replace(" after validation", "")
    return message[:1].lower() + message[1:]


def _escape(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Answers with the problem of what the framework refuses."""
    assert isinstance(error, HTTPException)
    details = {
        404: "there is nothing at this address: /docs lists all that there is",
        405: f"{request.method} is not what this address takes: /docs says what does",
    }
    detail = details.get(error.status_code) or str(error.detail)
    headers = error.headers
    if error.status_code == 405:  # the framework names the methods of the first route only
        headers = {"Allow": ", ".join(_methods(request))}
    return Problem(error.status_code, detail, headers=headers).response(request.url.path)


def _methods(request: Request) -> list[str]:
    found: set[str] = set()
    for route in request.app.state.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)


async def answer_problem(request: Request, error: Exception) -> Response:
    return Problem.of(error).response(request.url.path)
