"""Being told to stop in the middle of the work: by Ctrl-C, by SIGTERM, or by a terminal that is gone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import TypeVar

from virtue.errors import ModelError, StoppedError

Result = TypeVar("Result")

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What tells a process to end, or that its terminal is gone."""
USUAL = (signal.SIG_DFL, signal.default_int_handler)
"""Handlers that no program has set."""

_depth = 0
"""Blocks of `undivided` that the main thread is in."""
_arrived: signal.Signals | None = None
"""A signal that waits for their end."""


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


@contextmanager
def ending_by_exit() -> Iterator[None]:
    """Makes these signals end the work by KeyboardInterrupt or SystemExit, unless the program has a handler
    of its own, or `nohup` lets them be ignored."""
    if not in_main_thread():
        yield
        return
    before = {number: usual for number in SIGNALS if (usual := signal.getsignal(number)) in USUAL}
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undivided() -> Iterator[None]:
    """Lets a signal in this block end the work after it. In the midst, an exception could leave a lock held
    for ever that another thread waits for, as in `Condition.__enter__`, or lose what is being handed over."""
    global _depth, _arrived
    if not in_main_thread():
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _arrived and not _depth:
            number, _arrived = _arrived, None
            raise ending(number)


def wait_for(future: Future[Result]) -> Result:
    """Returns the result of a future, or raises what it raised. A signal ends the waiting and leaves no lock
    of the future held, as it could in `Future.result`."""
    done = SimpleQueue[object]()
    with undivided():
        future.add_done_callback(done.put)
    done.get()
    with undivided():
        return future.result()


def is_done(future: Future[Result]) -> bool:
    """Returns whether there is a result to be had without waiting."""
    with undivided():
        return future.done()


def _end(number: int, frame: FrameType | None) -> None:
    global _arrived
    _arrived = signal.Signals(number) if _depth else None
    if not _depth:
        raise ending(number)


def ending(number: int) -> BaseException:
    """Returns the exception as which a signal ends the work."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def in_main_thread() -> bool:
    """Returns whether this is the main thread: only there can signal handlers be set."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignores these signals in this block: Ctrl-C is often pressed twice, and the second must not stop the
    commit."""
    if not in_main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
