"""The bodies of requests: JSON, or forms with files, and how both are described in the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from virtue.service.bodies import Uploading
from virtue.service.problems import Problem, of_invalid
from virtue.service.query_parts import MAX_PICTURE

Model = TypeVar("Model", bound=BaseModel)

MAX_JSON_FIELD = 1 << 20
"""Bytes of a field of a form that is no file."""
REF = "#/components/schemas/{model}"

_TEXTS = frozenset({"text", "where", "find", "picture_id", "image", "mask", "min_score"})
"""Fields that a form gives as they are; all others are JSON."""
_MODELS: set[type[BaseModel]] = set()


def described(model: type[BaseModel], *files: str) -> dict[str, Any]:
    """Returns what the OpenAPI document says of a body; with `files`, it may be a form with these."""
    _MODELS.add(model)
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}
    if files:
        properties: dict[str, Any] = {name: {"type": "string", "format": "binary"} for name in files}
        properties["query"] = {"type": "string", "description": "all other fields, as one JSON object"}
        content["multipart/form-data"] = {
            "schema": {"type": "object", "properties": properties, "additionalProperties": {"type": "string"}}
        }
    return {"requestBody": {"required": True, "content": content}}


def schemas_of_bodies() -> dict[str, Any]:
    """Returns the schemas of all bodies that were described."""
    _, found = models_json_schema(
        [(model, "validation") for model in sorted(_MODELS, key=lambda model: model.__name__)],
        ref_template=REF,
    )
    definitions: dict[str, Any] = found["$defs"]
    return definitions


async def read_body(request: Request, model: type[Model]) -> Model:
    """Reads a body.

    Raises:
        Problem: it is of no kind that is read here, or holds what cannot be used.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data" and issubclass(model, Uploading):
        return await _read_form(request, model)
    if kind != "application/json":
        also = " or multipart/form-data" if issubclass(model, Uploading) else ""
        raise Problem(415, f"the Content-Type must be application/json{also}, not {kind or 'nothing'}")
    content = await request.body()
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise of_invalid(error, content) from None


async def _read_form(request: Request, model: type[Model]) -> Model:
    given: dict[str, Any] = {}
    uploads: dict[str, bytes] = {}
    try:
        async with request.form(max_files=2, max_fields=40, max_part_size=MAX_JSON_FIELD) as form:
            for name, value in form.multi_items():
                if name in given or name in uploads:
                    raise Problem(422, "there are two of it: give one", field=f"/{name}", kind="InputError")
                if isinstance(value, UploadFile):
                    uploads[name] = await _read_file(name, value)
                elif name == "query":
                    given |= _read_object(value)
                else:
                    given[name] = value if name in _TEXTS else _read_value(name, value)
    except HTTPException as error:
        raise Problem(400, f"the form cannot be read: {error.detail}") from None
    if isinstance(given.get("min_score"), str) and given["min_score"] != "auto":
        given["min_score"] = _read_value("min_score", given["min_score"])
    content = json.dumps(given).encode()
    try:
        body = model.model_validate_json(content)
    except ValidationError as error:
        raise of_invalid(error, content) from None
    assert isinstance(body, Uploading)
    body._uploads.update(uploads)
    return body


async def _read_file(name: str, file: UploadFile) -> bytes:
    if name not in ("image", "mask"):
        raise Problem(422, "only image and mask may be files", field=f"/{name}", kind="InputError")
    content = await file.read(MAX_PICTURE + 1)
    if len(content) > MAX_PICTURE:
        raise Problem(413, f"the picture has more than {MAX_PICTURE >> 20} MB: give a smaller copy")
    if not content:
        raise Problem(422, "the picture is empty (0 bytes)", field=f"/{name}", kind="PictureError")
    return content


def _read_object(text: str) -> dict[str, Any]:
    value = _read_value("query", text)
    if not isinstance(value, dict):
        raise Problem(422, "give an object", field="/query", kind="InputError")
    return value


def _read_value(name: str, text: str) -> Any:
    if name == "box" and not text.lstrip().startswith("["):
        text = f"[{text}]"  # x,y,w,h, as on the command line
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(422, "give it as JSON", field=f"/{name}", kind="InputError") from None
