"""The application: routes, what stands before them, and what it says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from virtue import __version__
from virtue.errors import VirtueError
from virtue.service.bodies import ProblemAnswer
from virtue.service.docs_page import docs_page
from virtue.service.metrics import CountRequests
from virtue.service.problems import Problem, answer_http_exception, answer_problem
from virtue.service.request_bodies import schemas_of_bodies
from virtue.service.routes import (
    embedding_routes,
    health_routes,
    job_routes,
    keeping_routes,
    page_routes,
    photo_routes,
    picture_routes,
    search_routes,
    session_routes,
)
from virtue.service.safety import Door, Safety
from virtue.service.service import Service

ROUTERS = (
    search_routes.router,
    photo_routes.router,
    picture_routes.router,
    embedding_routes.router,
    job_routes.router,
    keeping_routes.router,
    session_routes.router,
    health_routes.router,
    page_routes.router,
)


def make_app(service: Service, door: Door) -> FastAPI:
    """Makes the application of a service; closing it closes the service."""

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(
        title="virtue",
        version=__version__,
        summary="Finds things in pictures: by words, by a picture, or by a box drawn on one.",
        lifespan=live,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        exception_handlers={
            Problem: answer_problem,
            VirtueError: answer_problem,
            HTTPException: answer_http_exception,
            RequestValidationError: _answer_validation,
            Exception: answer_problem,
        },
    )
    app.state.service, app.state.door = service, door
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [*app.routes, *(route for router in ROUTERS for route in router.routes)]
    app.add_middleware(Safety, door=door)
    app.add_middleware(CountRequests, metrics=service.metrics)
    app.openapi = _openapi(app)  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return docs_page(app.openapi())

    return app


def _openapi(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas |= schemas_of_bodies()
            schemas["ProblemAnswer"] = ProblemAnswer.model_json_schema(
                ref_template="#/components/schemas/{model}"
            )
            schemas |= schemas["ProblemAnswer"].pop("$defs", {})
            app.openapi_schema = document
        return app.openapi_schema

    return make


async def _answer_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = []
    for each in error.errors():
        _, *path = each["loc"]  # path, query or header
        pointer = "".join(f"/{part}" for part in path)
        message = each["msg"]
        errors.append({"pointer": f"#{pointer}", "detail": message[:1].lower() + message[1:]})
    named = errors[0]["pointer"].removeprefix("#/").replace("/", ".")
    return Problem(422, f"{named}: {errors[0]['detail']}", kind="InputError", errors=errors).response(
        request.url.path
    )
