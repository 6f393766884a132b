"""Being told to stop in the middle of the work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from virtue.errors import ModelError, StoppedError


@contextmanager
def stopping_softly(finish: Callable[[], None]) -> Iterator[None]:
    """Keeps what is done when Ctrl-C, SIGTERM, SIGHUP, the caller's `stop` or a model that fails ends the
    work inside: `finish` runs before KeyboardInterrupt, SystemExit, StoppedError or ModelError goes on."""
    try:
        with ending_by_exit():
            yield
    except (KeyboardInterrupt, SystemExit, StoppedError, ModelError):
        with _undisturbed():
            finish()
        raise


STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What tells a process to end, or that its terminal is gone."""


@contextmanager
def ending_by_exit() -> Iterator[None]:
    """Makes these signals end the work as Ctrl-C does, unless the program has a handler of its own, or
    `nohup` lets them be ignored."""
    numbers = [number for number in STOPS if signal.getsignal(number) is signal.SIG_DFL]
    if not _in_main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _in_main_thread() -> bool:
    """Returns whether this is the main thread: only there can signal handlers be set."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignores these signals in this block: Ctrl-C is often pressed twice, and the second must not stop the
    commit."""
    if not _in_main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *STOPS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
