"""An embedder whose work is done on the model's thread, together with that of other requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from virtue.embedder import Embedder
from virtue.embedder.inputs import Input, ModelInput
from virtue.embedder.model import Find
from virtue.errors import StoppedError
from virtue.pictures import Picture
from virtue.service.decoder_messages import QueryPicture
from virtue.service.model_thread import ModelThread


class Turns:
    """Lets as many threads compute as there are cores. A thread gives its turn away while it waits."""

    def __init__(self, count: int) -> None:
        self._slots = threading.Semaphore(count)
        self._own = threading.local()

    @contextmanager
    def take(self, is_wanted: Callable[[], bool]) -> Iterator[None]:
        """Waits for a turn, and has it for the block, in which `is_wanted` tells whether anybody still waits
        for the result."""
        with self._slots:
            self._own.is_wanted = is_wanted
            try:
                self.check()
                yield
            finally:
                del self._own.is_wanted

    def check(self) -> None:
        """Raises StoppedError if nobody waits for what this thread does."""
        if not getattr(self._own, "is_wanted", lambda: True)():
            raise StoppedError("nobody waits for the answer any more")

    def wait_for(self, future: Future[Any]) -> Any:
        """Waits for a result, while another thread may have the turn of this one."""
        if not hasattr(self._own, "is_wanted"):
            return future.result()
        self._slots.release()
        try:
            return future.result()
        finally:
            self._slots.acquire()


@dataclass(frozen=True, slots=True, eq=False)
class SplitPicture(Picture):
    """A query picture with a transparent part; `document` is what a library would have of it."""

    document: Picture | None = None


def whole_picture(decoded: QueryPicture) -> Picture:
    """Returns what a query has where nothing is drawn on a picture."""
    whole = decoded.whole
    if decoded.document is whole:
        return whole
    return SplitPicture(whole.pixels, whole.width, whole.height, whole.resized, whole.alpha, decoded.document)


class BatchedEmbedder(Embedder):
    """The same vectors as those of the embedder it stands for."""

    def __init__(self, embedder: Embedder, thread: ModelThread, turns: Turns) -> None:
        super().__init__(embedder.model, embedder.devices)
        self._options = embedder._options
        self._plain, self._thread, self._turns = embedder, thread, turns
        self._for_rows: dict[str, BatchedEmbedder] = {}

    def query(self, value: Input, find: Find = "regions") -> np.ndarray:
        self._turns.check()
        rows: np.ndarray = self._turns.wait_for(self.submit_queries([value], find)[0])
        return rows

    def encode(self, inputs: Any, *values: Any, **options: Any) -> Any:
        """Encodes one part of a query on the model's thread, all else as its embedder does."""
        if values or options or not isinstance(inputs, ModelInput):
            return self._plain.encode(inputs, *values, **options)
        if isinstance(inputs.image, SplitPicture):
            inputs = replace(inputs, image=inputs.image.document)
        return self._turns.wait_for(self.submit_documents([inputs])[0])

    def submit_documents(self, values: Sequence[Input]) -> list[Future[Any]]:
        """Has documents embedded; each future gets a row (dim,)."""
        plain = self._plain

        def run(values: Sequence[Any]) -> list[Any]:
            # One alone is not called "input 0" if it cannot be used.
            return [plain.encode(values[0])] if len(values) == 1 else [*plain.encode(values)]

        return self._thread.submit_all(("document", id(plain)), values, run)

    def submit_queries(self, values: Sequence[Input], find: Find) -> list[Future[Any]]:
        """Has queries embedded; each future gets rows (k, dim)."""
        plain = self._plain

        def run(values: Sequence[Any]) -> list[Any]:
            return [plain.query(values[0], find)] if len(values) == 1 else plain.queries(values, find)

        return self._thread.submit_all(("query", id(plain), find), values, run)

    def submit_prepared(self, picture: Picture) -> Future[Any]:
        """Has the image work of a picture done; the future gets a `PreparedPicture`."""
        plain = self._plain
        return self._thread.submit(
            ("prepare", id(plain)), picture, lambda pictures: [plain.prepare(each) for each in pictures]
        )

    def submit_drawn(self, value: Input) -> Future[Any]:
        """Has the model say what is meant on a picture; the future gets a mask (height, width) bool, or how
        much each cell counts (rows, columns) float32."""
        plain = self._plain
        work = plain.segment if plain.can_segment else plain.weigh_cells
        return self._thread.submit(
            ("drawn", id(plain)), value, lambda values: [work(each) for each in values]
        )

    def for_rows(self, fingerprint: str) -> Embedder | None:
        chosen = self._plain.for_rows(fingerprint)
        if chosen is None or chosen is self._plain:
            return None if chosen is None else self
        if fingerprint not in self._for_rows:
            self._for_rows[fingerprint] = BatchedEmbedder(chosen, self._thread, self._turns)
        return self._for_rows[fingerprint]
