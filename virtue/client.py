"""`Client`: a library that another process serves, with the names and types of `Library`."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Unpack
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from virtue import errors
from virtue.embedder.inputs import Input, ModelInput, is_single
from virtue.errors import InputError, ServiceError, StoppedError, VirtueError
from virtue.library import PathLike, SearchOptions, as_list
from virtue.paths import absolute
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part, Query
from virtue.store.records import Photo, Region, VectorBlock
from virtue.whole_numbers import read_whole
from virtue.wire import (
    hit_from_json,
    photo_from_json,
    progress_from_json,
    region_as_json,
    report_from_json,
    similar_from_json,
)

if TYPE_CHECKING:
    from virtue.indexer import Progress, Report
    from virtue.retrieval.checks import Goal
    from virtue.retrieval.similar_group import Similar
    from virtue.store.catalogue.listing import Order
    from virtue.tasks.annotate_photos import Annotation

TIMEOUT_SECONDS = 300.0
"""For one answer."""
POLL_SECONDS = 0.2
"""Between two looks at a job."""
MAX_QUERIES = 256
"""Queries sent at once."""
MAX_PHOTOS = 1_000
"""Photos listed at once."""
MAX_INPUTS = 256
"""Inputs embedded at once."""
MAX_TRIES = 5
"""How often a request is made that the service has no room for."""


class Client:
    """A library that `virtue serve` serves, here or elsewhere. What it has not, of `Library`, is what keeps a
    library: that is done where it lies. Threads may share it.

    Args:
        address: such as "http://127.0.0.1:8427".
        token: where the service wants one.

    Raises:
        InputError: this is no address.
        ServiceError: on any use, when the service does not answer.
    """

    def __init__(self, address: str = "http://127.0.0.1:8427", *, token: str | None = None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{address!r} is no address of a service: give http://HOST:PORT")
        self.address = address.rstrip("/")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._below = parts.path.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._own = threading.local()
        self._all: set[http.client.HTTPConnection] = set()
        self._changing = threading.Lock()

    # -- as Library -------------------------------------------------------------------------------------

    def search(
        self,
        query: Any = None,
        *,
        without: Any = (),
        find: Goal = "auto",
        top: int = 10,
        offset: int = 0,
        all_regions: bool = False,
        min_score: float | Literal["auto"] | None = None,
        where: str | Sequence[str] | None = None,
    ) -> list[Hit]:
        """Returns the best hits for a query, best first; see `Library.search`. Scores and percentiles are
        rounded as `--json` has them."""
        body: dict[str, Any] = {}
        if query is not None or not where or without:
            body = _query_as_json(Query.of(query, without))
        options = SearchOptions(
            find=find, top=top, offset=offset, all_regions=all_regions, min_score=min_score, where=where
        )
        found = self._ask("POST", "/v1/search", {**body, **_options_as_json(options)})
        return [hit_from_json(hit) for hit in found["hits"]]

    def search_many(self, queries: Iterable[Any], **options: Unpack[SearchOptions]) -> list[list[Hit]]:
        """Returns the hits of each query, in the order of the queries; see `Library.search_many`."""
        if isinstance(queries, str | bytes | Mapping | Hit) or not isinstance(queries, Iterable):
            raise InputError(f"queries are a list of them, not {type(queries).__name__}; `search` takes one")
        bodies = []
        for number, query in enumerate(queries):
            try:
                bodies.append(_query_as_json(Query.of(query)))
            except VirtueError as error:
                raise type(error)(f"query {number}: {error}", hint=error.hint) from error
        found: list[list[Hit]] = []
        for first in range(0, len(bodies), MAX_QUERIES):
            body = {"queries": bodies[first : first + MAX_QUERIES], **_options_as_json(options)}
            for number, result in enumerate(self._ask("POST", "/v1/search", body)["results"], first):
                if "problem" in result:
                    raise _error_of(result["problem"], f"query {number}: ")
                found.append([hit_from_json(hit) for hit in result["hits"]])
        return found

    def fits(self, where: str | Sequence[str] | None, *, find: Goal = "auto") -> bool:
        """Returns whether anything at all matches this filter; see `Library.fits`."""
        return bool(self._ask("GET", "/v1/fits", asked={"where": where, "find": find})["fits"])

    def photos(
        self,
        where: str | Sequence[str] | None = None,
        *,
        order: Order = "photo_id",
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Photo]:
        """Returns photos with all that is known of them; see `Library.photos`."""
        offset = read_whole("offset", offset, 0)
        limit = None if limit is None else read_whole("limit", limit, 0)
        found: list[Photo] = []
        while limit is None or len(found) < limit:
            count = MAX_PHOTOS if limit is None else min(MAX_PHOTOS, limit - len(found))
            asked = {"where": where, "order": order, "offset": offset + len(found), "limit": count}
            page = self._ask("GET", "/v1/photos", asked=asked)["photos"]
            found += map(photo_from_json, page)
            if len(page) < count:
                break
        return found

    def count(self, where: str | Sequence[str] | None = None) -> int:
        """Returns how many photos there are, or fit a filter."""
        return int(self._ask("GET", "/v1/photos", asked={"where": where, "limit": 0})["total"])

    def vectors(
        self,
        kind: Literal["regions", "photos", "captions"] = "regions",
        *,
        where: str | Sequence[str] | None = None,
        block: int = 4096,
    ) -> Iterator[VectorBlock]:
        """Yields the vectors of the library, at most `block` in memory at once; see `Library.vectors`."""
        asked = _encode_asked({"kind": kind, "where": where, "block": read_whole("block", block, 1)})
        connection = self._connect()  # of its own: it may be read slowly, between other requests
        return self._blocks(connection, f"/v1/vectors?{asked}")

    def _blocks(self, connection: http.client.HTTPConnection, target: str) -> Iterator[VectorBlock]:
        try:
            response = self._send(connection, "GET", target, None)
            if response.status != 200:
                raise _error_of(json.loads(response.read()))
            for line in response:
                each = json.loads(line)
                count = each["count"]
                yield VectorBlock(
                    _array(each["ids"], "<i8").astype(np.int64),
                    _array(each["photo_ids"], "<i8").astype(np.int64),
                    _array(each["boxes"], "<f8").reshape(count, 4).astype(np.float64),
                    _array(each["vectors"], "<f4").reshape(count, -1).astype(np.float32),
                )
        finally:
            self._drop(connection)

    def annotate(
        self,
        photo: int | Iterable[Annotation],
        *,
        captions: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        rating: int | EllipsisType | None = ...,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Says something of a photo, or of several at once; see `Library.annotate`."""
        from virtue.tasks.annotate_photos import Annotation

        said = (captions, tags, regions) != (None, None, None) or rating is not ...
        if not isinstance(photo, Iterable):
            photo = [Annotation(photo, captions, tags, rating, regions)]
        elif said:
            raise InputError("name one photo, or give Annotations that say all there is to say")
        self._ask("POST", "/v1/annotations", {"annotations": [_annotation_as_json(each) for each in photo]})

    def similar(
        self, path: str | os.PathLike[str] | None = None, *, threshold: float | None = None
    ) -> list[list[Similar]]:
        """Finds near-duplicates, in groups; see `Library.similar`. A path must lie below the service's
        roots."""
        where = None if path is None else os.fsdecode(absolute(path))
        found = self._ask("POST", "/v1/similar", {"path": where, "threshold": threshold})
        return [[similar_from_json(file) for file in group] for group in found["groups"]]

    def index(
        self,
        paths: PathLike | Iterable[PathLike] = (),
        *,
        regions: str | int | None = None,
        exclude: Sequence[str] = (),
        follow_links: bool | None = None,
        ocr: bool | None = None,
        rehash: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Report:
        """Has folders indexed that lie below the service's roots; see `Library.index`."""
        body = {
            "paths": [os.fsdecode(absolute(path)) for path in as_list(paths)],
            "regions": regions,
            "exclude": list(exclude),
            "follow_links": follow_links,
            "ocr": ocr,
            "rehash": rehash,
        }
        return self._follow(self._ask("POST", "/v1/index", body), progress, stop)

    def add(
        self,
        pictures: bytes | Mapping[str, bytes] | Iterable[tuple[str, bytes]],
        name: str | None = None,
        *,
        regions: str | int | None = None,
        ocr: bool | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Report:
        """Adds pictures under names of your own; see `Library.add`. One request holds them all."""
        if isinstance(pictures, bytes) == (name is None):
            raise InputError(
                "give the bytes of one picture with its name, or several pictures by their names"
            )
        if isinstance(pictures, bytes):
            pictures = [(name or "", pictures)]
        named = pictures.items() if isinstance(pictures, Mapping) else pictures
        given = [{"name": each, "image": _to_base64(content)} for each, content in named]
        body = {"pictures": given, "regions": regions, "ocr": ocr}
        return self._follow(self._ask("POST", "/v1/add", body), progress, stop)

    def forget(
        self,
        paths: PathLike | Iterable[PathLike] = (),
        *,
        where: str | Sequence[str] | None = None,
        photo_ids: Iterable[int] | None = None,
        undo: bool = False,
    ) -> int:
        """Removes files or photos from the library; see `Library.forget`."""
        body = {
            "paths": [os.fsdecode(absolute(path)) for path in as_list(paths)],
            "where": _where_as_json(where),
            "photo_ids": None if photo_ids is None else [read_whole("photo_id", id) for id in photo_ids],
            "undo": undo,
        }
        return int(self._ask("POST", "/v1/forget", body)["count"])

    @property
    def embedder(self) -> RemoteEmbedder:
        """The model of the library."""
        return RemoteEmbedder(self)

    def close(self) -> None:
        with self._changing:
            left, self._all = self._all, set()
        for connection in left:
            connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- requests ----------------------------------------------------------------------------------------

    def _follow(
        self,
        job: Mapping[str, Any],
        progress: Callable[[Progress], None] | None,
        stop: threading.Event | None,
    ) -> Report:
        """Waits for the end of a job, and tells how far it is."""
        target, told = f"/v1/jobs/{quote(job['job_id'])}", None
        while job["state"] == "running":
            if progress and job["progress"] and job["progress"] != told:
                told = job["progress"]
                progress(progress_from_json(told))
            if stop is not None and stop.is_set():
                self._ask("DELETE", target)
            time.sleep(POLL_SECONDS)
            job = self._ask("GET", target)
        if job["state"] == "cancelled":
            raise StoppedError("the work was stopped, as asked; what was done is kept")
        if job["state"] == "failed":
            raise _error_of(job["problem"])
        if progress and job["progress"] and job["progress"] != told:
            progress(progress_from_json(job["progress"]))
        return report_from_json(job["report"])

    def _ask(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> Any:
        """Makes a request, and returns what its answer holds.

        Raises:
            VirtueError: the error that the service had, as it is in Python.
        """
        if asked:
            target += "?" + _encode_asked(asked)
        content = None if body is None else json.dumps(body).encode("ascii")
        for tries in range(MAX_TRIES):
            connection = getattr(self._own, "connection", None) or self._connect()
            self._own.connection = connection
            try:
                response = self._send(connection, method, target, content)
                answer, status = response.read(), response.status
            except (OSError, http.client.HTTPException) as error:
                self._forget(connection)
                raise self._no_answer(error) from None
            except BaseException:  # half an answer would be read by the next
                self._forget(connection)
                raise
            if status == 429 and tries < MAX_TRIES - 1:
                time.sleep(float(response.headers.get("retry-after") or 1))
                continue
            break
        if status >= 400:
            raise self._read_problem(answer, status)
        return json.loads(answer) if answer else None

    def _send(
        self, connection: http.client.HTTPConnection, method: str, target: str, content: bytes | None
    ) -> http.client.HTTPResponse:
        headers = self._headers | ({} if content is None else {"content-type": "application/json"})
        fresh = connection.sock is None
        try:
            connection.request(method, self._below + target, content, headers)
            return connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The service closes connections that were idle; what was just opened is another matter.
            if fresh:
                raise
            connection.close()
            connection.request(method, self._below + target, content, headers)
            return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_SECONDS)
        with self._changing:
            self._all.add(connection)
        return connection

    def _forget(self, connection: http.client.HTTPConnection) -> None:
        self._own.connection = None
        self._drop(connection)

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with self._changing:
            self._all.discard(connection)
        connection.close()

    def _no_answer(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"the service at {self.address} does not answer ({error or type(error).__name__}): start it",
            hint="virtue serve",
        )

    def _read_problem(self, answer: bytes, status: int) -> VirtueError:
        with suppress(ValueError, KeyError, TypeError):
            return _error_of(json.loads(answer))
        return ServiceError(f"{self.address} answers with {status}, and not as virtue does: is it virtue?")


class RemoteEmbedder:
    """The model of a library that is served: embeds as an `Embedder` does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        (about,) = client._ask("GET", "/v1/models")["data"]
        self.name: str = about["id"]
        self.dim: int = about["dim"]
        self.fingerprint: str = about["fingerprint"]

    def encode(
        self,
        inputs: Input | Iterable[Input],
        *,
        truncate_dim: int | None = None,
        find: Literal["regions", "photos", "captions"] | None = None,
    ) -> np.ndarray:
        """Embeds documents, or with `find` queries: (n, dim) float32 unit rows, (dim,) for one input."""
        single = is_single(inputs)
        values: list[Any] = [inputs] if single else list(inputs)  # type: ignore[arg-type]
        bodies = [_input_as_json(ModelInput.of(value)) for value in values]
        rows = [np.empty((0, truncate_dim or self.dim), np.float32)]
        for first in range(0, len(bodies), MAX_INPUTS):
            body = {
                "input": bodies[first : first + MAX_INPUTS],
                "encoding_format": "base64",
                "dimensions": truncate_dim,
                "find": find,
            }
            data = self._client._ask("POST", "/v1/embeddings", body)["data"]
            rows.append(np.stack([_array(each["embedding"], "<f4") for each in data]).astype(np.float32))
        table = np.concatenate(rows)
        return table[0] if single else table

    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        *,
        truncate_dim: int | None = None,
        find: Literal["regions", "photos", "captions"] | None = None,
    ) -> np.ndarray:
        """Embeds queries, one vector each, as `Embedder.encode_query` does."""
        return self.encode(inputs, truncate_dim=truncate_dim, find=find or "regions")


def _error_of(problem: Mapping[str, Any], before: str = "") -> VirtueError:
    """Makes the error that a problem was made of."""
    name = str(problem.get("type", "")).rpartition(":")[2]
    kind: Any = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, VirtueError)):
        kind = InputError if problem["status"] < 500 else ServiceError
    error: VirtueError = kind(before + str(problem["detail"]), hint=problem.get("hint"))
    return error


def _encode_asked(asked: Mapping[str, Any]) -> str:
    given = {name: value for name, value in asked.items() if value is not None}
    given = {name: list(value) if name == "where" and not isinstance(value, str) else value
             for name, value in given.items()}  # fmt: skip
    return urlencode(given, doseq=True, errors="surrogateescape")


def _where_as_json(where: str | Sequence[str] | None) -> str | list[str] | None:
    return where if where is None or isinstance(where, str) else list(where)


def _options_as_json(options: SearchOptions) -> dict[str, Any]:
    given: dict[str, Any] = dict(options)
    for name in ("top", "offset"):
        if name in given:
            given[name] = read_whole(name, given[name], 1 if name == "top" else 0)
    if "where" in given:
        given["where"] = _where_as_json(given["where"])
    if isinstance(given.get("min_score"), np.floating | np.integer):
        given["min_score"] = float(given["min_score"])
    return given


def _query_as_json(query: Query) -> dict[str, Any]:
    return {
        "parts": [_part_as_json(part) for part in query.parts],
        "without": [_part_as_json(part) for part in query.without],
    }


def _part_as_json(part: Part) -> dict[str, Any]:
    body = _input_as_json(part)
    given = {"photo_id": part.photo_id, "region_id": part.region_id}
    body |= {name: value for name, value in given.items() if value is not None}
    if part.vector is not None:
        body["vector"] = part.vector.tolist()
    return body if part.weight == 1 else {**body, "weight": float(part.weight)}


def _input_as_json(given: ModelInput) -> dict[str, Any]:
    body: dict[str, Any] = {} if given.text is None else {"text": given.text}
    if given.image is not None:
        body["image"] = _to_base64(_content_of(given.image))
    if given.box is not None:
        body["box"] = list(given.box.xywh)
        if given.box.unit:
            body["relative"] = True
    if given.points:
        body["points"] = [[point.x, point.y, int(point.positive)] for point in given.points]
    if given.mask is not None:
        body["mask"] = _mask_as_json(given.mask)
    return body


def _mask_as_json(mask: Any) -> Any:
    if isinstance(mask, np.ndarray) and mask.ndim == 2:
        from virtue.indexer.masks import encode

        return encode(mask if mask.dtype == bool else mask > (127 if mask.max(initial=0) > 1 else 0.5))
    return _to_base64(_content_of(mask))


def _content_of(image: Any) -> bytes:
    """Returns the content of a file of this picture.

    Raises:
        PictureError: it cannot be read.
    """
    from PIL.Image import Image

    from virtue.pictures import check_file, load

    if isinstance(image, bytes):
        return image
    if isinstance(image, os.PathLike):
        check_file(image)
        return Path(image).read_bytes()
    stream = io.BytesIO()
    if not isinstance(image, Image):
        from PIL import Image as images

        image = images.fromarray(load(image).pixels)
    image.save(stream, "PNG")
    return stream.getvalue()


def _annotation_as_json(said: Annotation) -> dict[str, Any]:
    body: dict[str, Any] = {"photo_id": read_whole("photo_id", said.photo_id)}
    if said.captions is not None:
        body["captions"] = list(said.captions)
    if said.tags is not None:
        body["tags"] = list(said.tags)
    if said.rating is not ...:
        body["rating"] = said.rating
    if said.regions is not None:
        body["regions"] = [region_as_json(region) for region in said.regions]
    return body


def _array(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def _to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
