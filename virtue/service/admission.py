"""How many requests are answered at once, and what becomes of those whose client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import Request

from virtue.service.problems import Problem

T = TypeVar("T")

MAX_ADMITTED = 256
"""Requests that need the model or the store, answered or waiting."""
RETRY_SECONDS = 1
"""After which one that was refused may come again."""


class Admission:
    """Counts the requests that are being answered, and refuses those beyond a limit."""

    def __init__(self, limit: int = MAX_ADMITTED) -> None:
        self.limit = limit
        self.admitted = 0
        self._more = 0

    @property
    def expected(self) -> int:
        """How many items may be on their way to the model."""
        return self.admitted + self._more

    @contextmanager
    def expect(self, more: int) -> Iterator[None]:
        """Says that a request has so many more queries in hand."""
        self._more += more
        try:
            yield
        finally:
            self._more -= more

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Lets one more in for the block.

        Raises:
            Problem: there are too many.
        """
        if self.admitted >= self.limit:
            raise Problem(
                429,
                f"{self.limit} requests wait for an answer already: come again a little later",
                headers={"retry-after": str(RETRY_SECONDS)},
            )
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1


class ClientGone(Exception):
    """Whoever asked does not wait for the answer any more."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Awaits work for a request whose body was read; cancels it when the client is gone.

    Raises:
        ClientGone: it is.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_wait_until_gone(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
