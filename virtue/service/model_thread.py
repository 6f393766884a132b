"""The model on a thread of its own: what many clients ask at once goes through it together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from virtue.errors import VirtueError

WAIT_SECONDS = 0.003
"""That an item may wait for others to share its batch."""
MAX_BATCH = 32
"""Items that go through the model together."""


@dataclass(slots=True, eq=False)
class _Item:
    kind: Hashable
    value: Any
    run: Callable[[Sequence[Any]], Sequence[Any]]
    future: Future[Any] = field(default_factory=Future)


class ModelThread:
    """Runs what is given to it, on one thread, in batches of one kind.

    Args:
        expected: how many items may still come, by what is being answered now; one that waits for no other
            is not kept waiting.
        ran: told the size of each batch, and the seconds that it took.
    """

    def __init__(
        self,
        expected: Callable[[], int] = lambda: MAX_BATCH,
        ran: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._expected, self._ran = expected, ran
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="virtue model", daemon=True)
        self._thread.start()

    def submit(
        self, kind: Hashable, value: Any, run: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> Future[Any]:
        """Has `run` called with this value and others of its kind; the future gets its own result. One that
        is cancelled before is left out."""
        return self.submit_all(kind, [value], run)[0]

    def submit_all(
        self, kind: Hashable, values: Sequence[Any], run: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> list[Future[Any]]:
        """Submits several values at once, so that none has to wait for the others."""
        items = [_Item(kind, value, run) for value in values]
        with self._changed:
            if self._is_closed:
                raise VirtueError("the service ends")
            self._waiting.extend(items)
            self._changed.notify()
        return [item.future for item in items]

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Ends the thread, after what it does now; what still waits is cancelled."""
        with self._changed:
            self._is_closed = True
            left = [*self._waiting]
            self._waiting.clear()
            self._changed.notify()
        for item in left:
            item.future.cancel()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            batch = [item for item in batch if item.future.set_running_or_notify_cancel()]
            if batch:
                began = time.perf_counter()
                _run(batch)
                self._ran(len(batch), time.perf_counter() - began)
            del batch

    def _next(self) -> list[_Item]:
        """Waits for the next batch; an empty one: that is all."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            until = time.monotonic() + WAIT_SECONDS
            while not self._is_closed and len(self._waiting) < min(MAX_BATCH, self._expected()):
                if not self._changed.wait(until - time.monotonic()):
                    break
            if self._is_closed:
                return []
            kind = self._waiting[0].kind
            batch = [item for item in self._waiting if item.kind == kind][:MAX_BATCH]
            chosen = set(map(id, batch))
            self._waiting = deque(item for item in self._waiting if id(item) not in chosen)
            return batch


def _run(batch: Sequence[_Item]) -> None:
    try:
        results = batch[0].run([item.value for item in batch])
    except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
        if len(batch) == 1 or not isinstance(error, VirtueError):
            for item in batch:
                item.future.set_exception(error)
            return
        for item in batch:  # one cannot be used: each for itself
            _run([item])
        return
    for item, result in zip(batch, results, strict=True):
        item.future.set_result(result)
