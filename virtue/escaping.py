"""Text from strangers, made safe to look at: names, captions, metadata, whatever a file holds.

What a terminal would obey is written out (as \\x1b), and so is what is not seen or has the text around it
read in another order."""

from __future__ import annotations

import codecs
import io
import logging
import re
import sys
from typing import TextIO

_MISLEADING = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what changes the direction
    "\u2028\u2029"  # line and paragraph separators
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # these two lines: what nobody sees
    "\ud800-\udfff"  # bytes that cannot be decoded, and what JSON brings
    "]"
    # Joiners belong into words of many scripts, and into emoji.
    "|(?<![^\x00-\u02ff])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u02ff])"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_LAYOUT = "\n\t\x00"
"""What a stream lets through: ends of lines, of fields, and of names after `-0`."""


def escape(text: str, keep: str = "") -> str:
    """Returns text that can be shown in one line anywhere: control characters, bytes that could not be
    decoded, and what is invisible or changes the direction are written out as \\x1b, \\xff and \\u202e.

    Args:
        keep: characters to leave as they are.
    """
    return _MISLEADING.sub(lambda found: found[0] if found[0] in keep else _write_out(found[0]), text)


def _write_out(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte, as os.fsdecode has it
    if code < 0x20:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # \u is what JSON has, too


def escape_record(record: logging.LogRecord) -> bool:
    """Escapes what a record of the log quotes: a filter for loggers, which lets all records through."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            value if isinstance(value, (int, float)) else escape(str(value)) for value in record.args
        )
    return True


class EscapingFile(io.FileIO):
    """A file descriptor to write to, escaped. What is ours to draw goes through `draw_on`."""

    def __init__(self, descriptor: int, encoding: str, *, escaping: bool = True) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("backslashreplace") if escaping else None

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        if self._decoder is None:
            return self.put(view)
        text = escape(self._decoder.decode(bytes(view)), _LAYOUT)
        left = memoryview(text.encode(self._encoding, "backslashreplace"))
        while left:
            left = left[self.put(left) :]
        return len(view)

    def put(self, data: memoryview) -> int:
        """Writes bytes as they are, and gives back how many it took.

        Raises:
            OSError: it took none.
        """
        written = super().write(data)
        if written is None:
            raise BlockingIOError("it takes nothing now")
        return written

    def unescaped(self) -> TextIO:
        """Returns a stream of the same kind to the same place, without escapes."""
        raw = type(self)(self.fileno(), self._encoding, escaping=False)
        return io.TextIOWrapper(io.BufferedWriter(raw), self._encoding, "backslashreplace")


def escape_stderr() -> None:
    """Has errors, tracebacks and warnings escaped, for programs of ours that are no commands."""
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(EscapingFile(2, "utf-8")), "utf-8", "backslashreplace", line_buffering=True
    )


def draw_on(stream: TextIO) -> TextIO:
    """Returns where to write what moves the cursor and colours: beside the escapes of this stream, if it has
    any. No text of strangers goes there unless it was escaped."""
    stream.flush()
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.unescaped() if isinstance(raw, EscapingFile) else stream
