"""Work that a caller can stop from another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from virtue.errors import StoppedError

T = TypeVar("T")


def check_stop(stop: threading.Event | None) -> None:
    """Raises StoppedError if the caller wants the work to end."""
    if stop is not None and stop.is_set():
        raise StoppedError("the work was stopped, as asked; what was done is kept")


def checking(items: Iterable[T], stop: threading.Event | None) -> Iterator[T]:
    """Yields the items until the work is to end."""
    for item in items:
        check_stop(stop)
        yield item


def with_stop(
    progress: Callable[..., None] | None, stop: threading.Event | None
) -> Callable[..., None] | None:
    """Returns a `progress` that ends the work if that is to end. Whoever reports progress can be stopped
    there."""
    if stop is None:
        return progress

    def tell(*values: Any) -> None:
        check_stop(stop)
        if progress is not None:
            progress(*values)

    return tell
