"""stdout and stderr of a command: escaped for terminals, and what happens when they are full, closed, or
nobody reads them any more."""

from __future__ import annotations

import io
import os
import sys
from errno import EPIPE
from typing import TextIO

from virtue.errors import VirtueError
from virtue.escaping import EscapingFile, escape


class ReaderGone(Exception):
    """Whoever reads the results has enough, as `head` has."""


class OutputError(VirtueError):
    """The results cannot be written."""


def guard_streams() -> None:
    """Gives stdout and stderr errors of their own, and escapes what goes to a terminal or to stderr. Where
    one was closed, its number is taken, or the next file that is opened would get it, and with it what is
    printed."""
    if os.name != "posix" or sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return  # a program has put something else in their place, which is its own affair
    while (spare := os.open(os.devnull, os.O_RDONLY)) <= 2:
        pass
    os.close(spare)
    encoding = _encoding(sys.stdout)
    results = _Results(1, encoding, escaping=os.isatty(1))
    sys.stdout = _text(results, encoding, "surrogateescape", line_buffering=os.isatty(1))
    encoding = _encoding(sys.stderr)
    sys.stderr = _text(_Notes(2, encoding), encoding, "backslashreplace", line_buffering=True)


def note(sentence: str) -> None:
    """Prints a sentence to stderr: one line, whatever it quotes."""
    print(escape(sentence), file=sys.stderr)


def silence_stdout() -> None:
    """Lets what is still to be written to stdout vanish, or Python would complain once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class _Results(EscapingFile):
    def put(self, data: memoryview) -> int:
        try:
            return super().put(data)
        except OSError as error:
            if error.errno == EPIPE:
                raise ReaderGone from None
            what = (error.strerror or str(error)).lower()
            raise OutputError(
                f"the results cannot be written to stdout ({what}): write them elsewhere"
            ) from None


class _Notes(EscapingFile):
    """Notes that nobody can read are no reason to stop the work."""

    def put(self, data: memoryview) -> int:
        try:
            return super().put(data)
        except OSError:
            return len(data)


def _encoding(stream: TextIO | None) -> str:
    return stream.encoding if stream is not None else "utf-8"


def _text(raw: io.FileIO, encoding: str, errors: str, *, line_buffering: bool) -> TextIO:
    if encoding.lower().replace("-", "") != "utf8":
        errors = "backslashreplace"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)
