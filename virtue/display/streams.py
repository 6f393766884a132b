"""stdout and stderr of a command: what happens when they are full, closed, or nobody reads them any more."""

from __future__ import annotations

import io
import os
import sys
from errno import EPIPE
from typing import TextIO

from virtue.errors import VirtueError


class ReaderGone(Exception):
    """Whoever reads the results has enough, as `head` has."""


class OutputError(VirtueError):
    """The results cannot be written."""


def guard_streams() -> None:
    """Gives stdout and stderr errors of their own. Where one was closed, its number is taken, or the next
    file that is opened would get it, and with it what is printed."""
    if os.name != "posix" or sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return  # a program has put something else in their place, which is its own affair
    while (spare := os.open(os.devnull, os.O_RDONLY)) <= 2:
        pass
    os.close(spare)
    sys.stdout = _text(_Results(1, "w", closefd=False), sys.stdout, "surrogateescape")
    sys.stderr = _text(_Notes(2, "w", closefd=False), sys.stderr, "backslashreplace")


def silence_stdout() -> None:
    """Lets what is still to be written to stdout vanish, or Python would complain once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class _Results(io.FileIO):
    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno == EPIPE:
                raise ReaderGone from None
            what = (error.strerror or str(error)).lower()
            raise OutputError(
                f"the results cannot be written to stdout ({what}): write them elsewhere"
            ) from None


class _Notes(io.FileIO):
    """Notes that nobody can read are no reason to stop the work."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(memoryview(data))  # type: ignore[arg-type]


def _text(raw: io.FileIO, before: TextIO | None, errors: str) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    if encoding.lower().replace("-", "") != "utf8":
        errors = "backslashreplace"
    is_terminal = raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors, line_buffering=is_terminal or raw.fileno() == 2
    )
