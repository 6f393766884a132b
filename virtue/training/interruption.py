"""Being told to stop in the middle of a run, so that it can go on exactly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from virtue.training.ranks import any_rank

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
USUAL = (signal.SIG_DFL, signal.default_int_handler)


class Interruption:
    """Ctrl-C, SIGTERM and SIGHUP while a run is inside: they end it as KeyboardInterrupt or SystemExit, but
    not in the middle of `held`, and of many processes all after the same `check`. A program's own handlers
    stay, and so does what `nohup` ignores."""

    def __init__(self) -> None:
        self._arrived: signal.Signals | None = None
        self._is_held = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) in USUAL:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lets a signal in this block wait for the next `check`."""
        before, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = before

    def check(self) -> None:
        """Ends the run if this process, or another of the run, was told to stop.

        Raises:
            KeyboardInterrupt, SystemExit: it was.
        """
        if any_rank(self._arrived is not None):
            raise _ending(self._arrived)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived = signal.Signals(number)
        if not self._is_held:
            raise _ending(self._arrived)


def _ending(number: signal.Signals | None) -> BaseException:
    if number in (None, signal.SIGINT):
        return KeyboardInterrupt()
    return SystemExit(128 + int(number))
