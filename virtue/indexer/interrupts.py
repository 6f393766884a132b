"""Being told to stop in the middle of the work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stopping_softly(finish: Callable[[], None]) -> Iterator[None]:
    """Keeps what is done when Ctrl-C or SIGTERM stops the work inside: `finish` runs before KeyboardInterrupt
    or SystemExit goes on."""
    try:
        with _ending_by_exit():
            yield
    except (KeyboardInterrupt, SystemExit):
        with _undisturbed():
            finish()
        raise


@contextmanager
def _ending_by_exit() -> Iterator[None]:
    """Makes SIGTERM end the work as Ctrl-C does, unless the program has a handler of its own."""
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _in_main_thread() -> bool:
    """Returns whether this is the main thread: only there can signal handlers be set."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignores Ctrl-C in this block: it is often pressed twice, and the second must not stop the commit."""
    if not _in_main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
