"""What the service does, whatever it is asked over: HTTP or the protocol of agents."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from virtue.cpu import usable_cores
from virtue.embedder.dtypes import Dtype
from virtue.errors import EmptyLibraryError, InputError
from virtue.library import Library
from virtue.paths import absolute, is_below_any
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part, Query
from virtue.service.admission import MAX_ADMITTED, Admission
from virtue.service.batched_embedder import BatchedEmbedder, Turns, whole_picture
from virtue.service.bodies import AddBody, IndexBody, OptionsBody, PartBody, SearchBody
from virtue.service.decoders import Decoders
from virtue.service.held_photos import HeldPhotos, OpenPhoto
from virtue.service.jobs import Job, Jobs
from virtue.service.kept_pictures import KeptPicture, KeptPictures
from virtue.service.metrics import Metrics
from virtue.service.model_thread import ModelThread
from virtue.service.problems import Problem, in_field
from virtue.service.query_parts import MAX_PICTURE, QueryReader
from virtue.service.thumbnails import Thumbnails, cache_folder
from virtue.store.catalogue.filters import parse_optional
from virtue.store.records import Photo
from virtue.wire import report_as_json

T = TypeVar("T")

SEARCH_THREADS = 16
"""Searches that are answered at once; those of them that compute have turns."""
LISTING_THREADS = 4
"""For what is only looked up, which no search holds up."""
AT_ONCE = 8
"""Queries of one request that are answered at once."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a service behaves.

    Attributes:
        read_only: nothing is written.
        offline, dtype, device: as of `Library`.
        allow_urls: images may be addresses on the net.
        roots: folders that may be indexed, beside those that were.
        max_requests: requests that are answered or wait at once.
        cache: where thumbnails are kept; None: the user's cache.
    """

    read_only: bool = False
    offline: bool = False
    dtype: Dtype = "auto"
    device: str | None = None
    allow_urls: bool = False
    roots: tuple[bytes, ...] = ()
    max_requests: int = MAX_ADMITTED
    cache: Path | None = None


class Service:
    """A library with its model, ready to be asked by many at once.

    Raises:
        VirtueError: the library or its model cannot be used; the sentence says why.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, options: Options) -> None:
        with Library(
            folder,
            offline=options.offline,
            read_only=options.read_only,
            dtype=options.dtype,
            device=options.device,
        ) as library:
            plain = library.embedder
        self.options = options
        self.metrics = Metrics()
        self.admission = Admission(options.max_requests)
        self.turns = Turns(usable_cores())
        self.thread = ModelThread(lambda: self.admission.expected, self.metrics.ran_batch)
        self.embedder = BatchedEmbedder(plain, self.thread, self.turns)
        self.library = Library(folder, embedder=self.embedder, read_only=options.read_only)
        self._check_model()
        self.executor = ThreadPoolExecutor(SEARCH_THREADS, "virtue search")
        self.listing = ThreadPoolExecutor(LISTING_THREADS, "virtue listing")
        self.decoding = ThreadPoolExecutor(SEARCH_THREADS, "virtue decoding")
        self.decoders = Decoders(self.metrics.decoders_lost.inc)
        self.kept = KeptPictures()
        self.files = HeldPhotos()
        self.thumbnails = Thumbnails(options.cache or cache_folder())
        self.reader = QueryReader(
            self.decoders,
            self.kept,
            lambda: self.embedder.model.side,
            self.decoding,
            allow_urls=options.allow_urls,
        )
        self.jobs = Jobs()
        self.metrics.admitted.set_function(lambda: self.admission.admitted)
        self.metrics.kept_pictures.set_function(lambda: len(self.kept))

    def _check_model(self) -> None:
        """Raises ModelMismatchError now rather than at every search."""
        with suppress(EmptyLibraryError):
            self.library.search("a photo", top=1)

    @property
    def can_segment(self) -> bool:
        """Whether the model makes masks of what is drawn."""
        return self.embedder.can_segment

    async def close(self) -> None:
        self.jobs.end()
        await self.jobs.wait()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.executor.shutdown(cancel_futures=True)
        self.listing.shutdown(cancel_futures=True)
        self.decoding.shutdown(cancel_futures=True)
        self.decoders.close()
        self.thread.close()
        self.library.close()

    # -- searching ---------------------------------------------------------------------------------------

    async def search(
        self, body: OptionsBody, field: str = "", shared: OptionsBody | None = None
    ) -> list[Hit]:
        """Answers one query; options that it does not name are those of `shared`.

        Raises:
            Problem: something cannot be used; names the field.
        """
        query = await self._query(body, field)
        asked: dict[str, Any] = {}
        for name in ("find", "top", "offset", "all_regions", "min_score", "where"):
            source = body if shared is None or name in body.model_fields_set else shared
            asked[name] = getattr(source, name)
        if query is None and not asked["where"]:
            raise Problem(
                422,
                "nothing to search for: give text, image, photo_id, region_id, picture_id, vector or where",
                field=f"{field}/text",
                kind="InputError",
            )
        if asked["where"] is not None:
            with in_field(f"{field}/where"):
                parse_optional(asked["where"])
        try:
            return await self.run(lambda: self.library.search(query, **asked))
        except InputError as error:
            raise Problem.of(error, _blame(error, body, field)) from error

    async def search_many(self, body: SearchBody) -> list[list[Hit] | Problem]:
        """Answers several queries, in their order; one that cannot be used costs itself alone."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def answer(number: int, query: OptionsBody | str) -> list[Hit] | Problem:
            field = f"/queries/{number}"
            async with limit:
                try:
                    one = OptionsBody(text=query) if isinstance(query, str) else query
                    return await self.search(one, field, body)
                except Exception as error:  # noqa: BLE001 - each query has a problem of its own
                    return Problem.of(error)

        queries = body.queries or ()
        with self.admission.expect(min(AT_ONCE, len(queries)) - 1):
            return list(await asyncio.gather(*(answer(*each) for each in enumerate(queries))))

    async def _query(self, body: OptionsBody, field: str) -> Query | None:
        """Reads a query; None: nothing is asked for but what fits a filter."""
        parts = [await self.reader.part(body, field)]
        parts += [await self._part(part, f"{field}/parts/{n}") for n, part in enumerate(body.parts)]
        wanted = tuple(part for part in parts if part is not None)
        left_out = [body.without] if isinstance(body.without, PartBody) else body.without
        without = tuple([await self._part(part, f"{field}/without/{n}") for n, part in enumerate(left_out)])
        if not wanted and not without:
            return None
        with in_field(f"{field}/without" if not wanted else f"{field}/parts"):
            return Query(wanted, without)

    async def _part(self, body: PartBody, field: str) -> Part:
        part = await self.reader.part(body, field)
        if part is None:
            raise Problem(
                422, "this part is empty: give a text, an image, or an id", field=field, kind="InputError"
            )
        return part

    async def run(self, work: Callable[[], T]) -> T:
        """Does work of the store on a thread that waits for its turn; work that nobody waits for any more is
        not begun, and ends where it asks the model."""
        gone = threading.Event()

        def run_in_turn() -> T:
            with self.turns.take(lambda: not gone.is_set()):
                return work()

        future = asyncio.get_running_loop().run_in_executor(self.executor, run_in_turn)
        try:
            return await future
        except asyncio.CancelledError:
            gone.set()
            raise

    async def look_up(self, work: Callable[[], T]) -> T:
        """Does light work of the store."""
        return await asyncio.get_running_loop().run_in_executor(self.listing, work)

    # -- pictures ----------------------------------------------------------------------------------------

    async def keep(self, content: bytes, field: str) -> tuple[str, int, int]:
        """Keeps a picture with what the model sees in it; returns its id, width and height.

        Raises:
            Problem: it is no picture.
        """
        with in_field(field):
            decoded = await self.decode(self.decoders.picture, content, self.embedder.model.side)
            upright = await asyncio.wrap_future(self.embedder.submit_prepared(decoded.upright))
        whole = upright if decoded.whole is decoded.upright else whole_picture(decoded)
        picture_id = self.kept.add(KeptPicture(upright, whole))
        return picture_id, upright.width, upright.height

    async def decode(self, work: Callable[..., T], *values: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.decoding, work, *values)

    # -- photos ------------------------------------------------------------------------------------------

    async def photo(self, photo_id: int) -> Photo:
        """Returns a photo of the library.

        Raises:
            Problem: it has none of this id.
        """

        def find() -> list[Photo]:
            with self.library.store.read() as snapshot:
                return snapshot.photos([photo_id])

        found = await self.look_up(find)
        if not found:
            raise Problem(404, f"this library has no photo {photo_id}: take the photo_id of a hit")
        return found[0]

    async def open_photo(self, photo_id: int) -> OpenPhoto:
        """Opens the file of a photo; raises a Problem if it is not what the library holds."""
        photo = await self.photo(photo_id)
        return await self.decode(self.files.open, photo)

    async def read_photo(self, photo_id: int) -> bytes:
        """Returns the content of the file of a photo; raises as `open_photo` does."""
        opened = await self.open_photo(photo_id)

        def read() -> bytes:
            with opened.stream:
                if opened.size > MAX_PICTURE:
                    raise Problem(422, f"the file of photo {photo_id} is too large to be decoded here")
                return opened.stream.read()

        return await self.decode(read)

    async def thumbnail(
        self, photo_id: int, side: int, box: tuple[float, float, float, float] | None = None
    ) -> bytes:
        """Returns a JPEG of a photo or of a part of it, `side` pixels long at most.

        Raises:
            Problem: its file is gone or changed, or cannot be decoded.
        """
        photo = await self.photo(photo_id)

        def make() -> bytes:
            opened = self.files.open(photo)
            with opened.stream:
                if opened.size > MAX_PICTURE:
                    raise Problem(422, f"the file of photo {photo_id} is too large to be decoded here")
                return self.decoders.thumbnail(opened.stream.read(), side, box)

        key = f"{photo.hash.hex()} {side} {box}"
        return await self.decode(self.thumbnails.get, key, make)

    # -- indexing ----------------------------------------------------------------------------------------

    async def roots(self) -> dict[bytes, bool]:
        """Returns the folders that may be indexed, and whether they were."""

        def find() -> dict[bytes, bool]:
            with self.library.store.read() as snapshot:
                return {root.path: True for root in snapshot.roots()}

        indexed = await self.look_up(find)
        return {**dict.fromkeys(self.options.roots, False), **indexed}

    async def start_index(self, body: IndexBody) -> Job:
        """Starts to index.

        Raises:
            Problem: the service is read-only, a path may not be indexed, or another job runs.
        """
        self.check_writable()
        paths = await self.allowed(body.paths)
        settings = body.model_dump(exclude={"paths"})

        def work(tell: Callable[..., None], stop: threading.Event) -> dict[str, Any]:
            return report_as_json(self.library.index(paths, progress=tell, stop=stop, **settings))

        return self.jobs.start("index", work)

    async def start_add(self, body: AddBody) -> Job:
        """Starts to add pictures; raises as `start_index` does."""
        self.check_writable()
        pictures: list[tuple[str, bytes]] = []
        for number, each in enumerate(body.pictures):
            with in_field(f"/pictures/{number}/image"):
                pictures.append((each.name, await self.reader.content(each.image)))
        settings = body.model_dump(exclude={"pictures"})

        def work(tell: Callable[..., None], stop: threading.Event) -> dict[str, Any]:
            return report_as_json(self.library.add(pictures, progress=tell, stop=stop, **settings))

        return self.jobs.start("add", work)

    def check_writable(self) -> None:
        """Raises a Problem if nothing may be written."""
        if self.options.read_only:
            raise Problem(403, "this service was started read-only: nothing is changed over it")

    async def allowed(self, paths: Sequence[str], field: str = "/paths/{}") -> list[bytes]:
        """Returns paths, if they lie below the roots.

        Raises:
            Problem: one does not.
        """
        roots = await self.roots()
        real = {os.path.realpath(root) for root in roots}
        allowed = []
        for number, path in enumerate(paths):
            place = field.format(number)
            try:
                whole = os.fsencode(path)
            except UnicodeEncodeError:
                raise Problem(422, "this is no path", field=place, kind="InputError") from None
            if b"\0" in whole or not os.path.isabs(whole):
                raise Problem(422, "name whole paths, from the root on", field=place, kind="InputError")
            whole = absolute(whole)
            if not (is_below_any(whole, roots) and is_below_any(os.path.realpath(whole), real)):
                raise Problem(
                    403,
                    f"the service opens only what lies below its roots, not {path}: GET /v1/roots lists them",
                    field=place,
                    hint="virtue serve --root FOLDER",
                )
            allowed.append(whole)
        return allowed


def _blame(error: Exception, body: OptionsBody, field: str) -> str | None:
    """The field that a search most likely failed by, once all was read."""
    text = str(error)
    for name in ("region_id", "photo_id"):
        if getattr(body, name) is not None and name.replace("_id", " ") in text:
            return f"{field}/{name}"
    if "min_score" in text:
        return f"{field}/min_score"
    if "vector" in text and body.vector is not None:
        return f"{field}/vector"
    named = body.model_fields_set & {"text", "image", "picture_id", "region_id", "photo_id", "parts"}
    return f"{field}/{next(iter(sorted(named)))}" if named else None
