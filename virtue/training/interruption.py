"""Being told to stop in the middle of a run, so that it can go on exactly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from virtue.interrupts import SIGNALS, USUAL, ending, in_main_thread
from virtue.training.ranks import any_rank


class Interruption:
    """Ctrl-C, SIGTERM and SIGHUP while a run is inside: they end it as KeyboardInterrupt or SystemExit, but
    not in the middle of `held`, and of many processes all after the same `check`. A program's own handlers
    stay, and so does what `nohup` ignores."""

    def __init__(self) -> None:
        self._arrived: signal.Signals | None = None
        self._is_held = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if in_main_thread():
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
            raise ending(self._arrived or signal.SIGINT)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived = signal.Signals(number)
        if not self._is_held:
            raise ending(self._arrived)
