"""Captions that a user has as CSV or JSON lines: path, caption and perhaps a box x, y, w, h."""

from __future__ import annotations

import codecs
import csv
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from virtue.errors import InputError, PromptError
from virtue.indexer.name_matching import read_as_windows
from virtue.indexer.user_annotations import FittedAnnotations, clip_box, read_number
from virtue.paths import printable
from virtue.store import NewCaption, NewRegion

MAX_CHARACTERS = 1_000_000_000
"""Of a file."""
MAX_ENTRY = 1_000_000
"""Characters of one entry, of one line or, in quotes, of several."""
MAX_LINES = 10_000
"""Of one photo."""
MAX_FAULTS = 100
"""Lines that are named, of those that were left out."""
DELIMITERS = ",;\t"
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
COLUMNS = ("path", "caption", "x", "y", "w", "h")

Box4 = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class CaptionLine:
    number: int
    caption: str
    box: Box4 | None


@dataclass(slots=True)
class PhotoCaptions:
    """The captions of one photo; `origin` names the file they came from."""

    origin: str
    lines: list[CaptionLine]

    @property
    def content(self) -> str:
        return json.dumps([(line.caption, line.box) for line in self.lines])

    def fit(self, width: int, height: int) -> FittedAnnotations:
        regions: list[NewRegion] = []
        captions: list[NewCaption] = []
        faults: list[str] = []
        places: dict[Box4, int] = {}
        if len(self.lines) > MAX_LINES:
            faults.append(
                f"{self.origin}: the first {MAX_LINES:,} captions of a photo are used, of {len(self.lines):,}"
            )
        for line in self.lines[:MAX_LINES]:
            if line.box is not None and line.box not in places:
                try:
                    regions.append(NewRegion(clip_box(*line.box, width, height), "annotation"))
                except PromptError as error:
                    faults.append(f"{self.origin}, line {line.number}: {error}: left out")
                    continue
                places[line.box] = len(regions) - 1
            captions.append(NewCaption(line.caption, "file", places[line.box] if line.box else None))
        return FittedAnnotations(tuple(regions), tuple(captions), tuple(faults))


def read_captions(path: str | os.PathLike[str]) -> tuple[dict[str, PhotoCaptions], list[str]]:
    """Reads captions, by the paths in the file, in its order, and sentences on lines that were left out.

    A CSV file has a header line with the names path, caption and perhaps x, y, w, h, or their values in this
    order, between commas, semicolons or tabs. A line of JSON is an object with these keys. The text is UTF-8,
    or UTF-16 as spreadsheets write it; bytes that are neither are read as Windows-1252.

    Raises:
        InputError: the file cannot be read, or no line of it is what it should be.
    """
    origin = printable(os.fspath(path))
    try:
        with open(path, "rb") as stream:
            start = stream.read(2)
        encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        with open(path, encoding=encoding, errors="surrogateescape", newline="") as stream:
            beginning = stream.read(4096).lstrip()
            stream.seek(0)
            lines = _Lines(stream, origin)
            if beginning.startswith(("{", "[")):
                return _group_by_path(_json_rows(lines), origin)
            return _group_by_path(_csv_rows(lines, _delimiter(beginning)), origin)
    except UnicodeError:
        raise InputError(f"{origin}: begins as UTF-16 and is not: save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{origin}: {error.strerror or error}: name a file of captions") from None


def _delimiter(beginning: str) -> str:
    """Tells what stands between values: where the first line has a header, what makes its names."""
    first = beginning.splitlines()[0].lower() if beginning else ""
    if first.startswith("sep=") and len(first) == 5:
        return first[4]
    for delimiter in DELIMITERS:
        if {"path", "caption"} <= {name.strip(' "') for name in first.split(delimiter)}:
            return delimiter
    return next((delimiter for delimiter in DELIMITERS if delimiter in first), ",")


class _Lines:
    """The lines of a file, of which an entry takes several. Raises InputError at one that never ends."""

    def __init__(self, stream: IO[str], origin: str) -> None:
        self._stream, self._origin = stream, origin
        self._number = self._entry = self._total = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(MAX_ENTRY + 1):
            self._number += 1
            self._entry += len(line)
            self._total += len(line)
            if self._entry > MAX_ENTRY:
                raise InputError(
                    f"{self._origin}, line {self._number}: an entry of more than {MAX_ENTRY:,} characters"
                )
            if self._total > MAX_CHARACTERS:
                raise InputError(
                    f"{self._origin}: more than {MAX_CHARACTERS:,} characters: make several files"
                )
            yield line

    def end_entry(self) -> None:
        self._entry = 0


Row = tuple[int, dict[str, Any] | str]
"""A line's number and its values, or what is wrong with it."""


def _group_by_path(rows: Iterator[Row], origin: str) -> tuple[dict[str, PhotoCaptions], list[str]]:
    result: dict[str, PhotoCaptions] = {}
    faults: list[str] = []
    count = foreign = 0
    for number, row in rows:
        fault = row if isinstance(row, str) else _find_fault(row)
        if fault:
            count += 1
            if count <= MAX_FAULTS:
                faults.append(f"{origin}, line {number}: {fault}")
            continue
        assert isinstance(row, dict)
        read = read_as_windows(row["caption"])
        foreign += read != row["caption"]
        clean = " ".join(read.encode("utf-8", "replace").decode().replace("\0", " ").split())
        line = CaptionLine(number, clean, _box(row))
        result.setdefault(row["path"], PhotoCaptions(origin, [])).lines.append(line)
    if faults and not result:
        raise InputError(faults[0])
    told = [f"{fault}: left out" for fault in faults]
    if count > MAX_FAULTS:
        told.append(f"{origin}: {count - MAX_FAULTS:,} more lines are left out")
    if foreign:
        told.append(f"{origin}: {foreign:,} captions are not UTF-8, and were read as Windows-1252")
    return result, told


def _find_fault(row: dict[str, Any]) -> str | None:
    path, caption = row.get("path"), row.get("caption")
    if not isinstance(path, str) or not path:
        return "there is no path"
    if not isinstance(caption, str) or not caption.strip():
        return f"there is no caption for {printable(path)}"
    try:
        _box(row)
    except (TypeError, ValueError):
        return "a box needs four numbers x, y, w, h in pixels"
    return None


def _csv_rows(lines: _Lines, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=delimiter)
    columns: tuple[str, ...] | None = None
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.end_entry()
            yield reader.line_num, f"not CSV ({error})"
            continue
        lines.end_entry()
        if not any(value.strip() for value in values) or values[0].lower().startswith("sep="):
            continue
        if columns is None:
            names = tuple(value.strip().lower() for value in values)
            columns = names if {"path", "caption"} <= set(names) else COLUMNS
            if columns is names:
                continue
        if any(value.strip() for value in values[len(columns) :]):
            yield (
                reader.line_num,
                f"{len(values)} values for the columns {','.join(columns)}: put a caption that holds "
                f"{NAMES.get(delimiter, delimiter)} in quotes",
            )
            continue
        yield reader.line_num, dict(zip(columns, values, strict=False))


def _json_rows(lines: _Lines) -> Iterator[Row]:
    for number, text in enumerate(lines, 1):
        lines.end_entry()
        if not text.strip():
            continue
        try:
            row = json.loads(text, parse_int=read_number)
        except (ValueError, RecursionError) as error:
            yield (
                number,
                f"not JSON ({error}): write one object a line, such as "
                '{"path": "a.jpg", "caption": "a red mug"}',
            )
            continue
        yield number, row if isinstance(row, dict) else "not an object with the keys path and caption"


def _box(row: dict[str, Any]) -> Box4 | None:
    """Reads the box; raises TypeError or ValueError if it is not four numbers."""
    values = [row.get(name) for name in ("x", "y", "w", "h")]
    given = [value for value in values if value is not None and str(value).strip()]
    if not given:
        return None
    x, y, w, h = (_float(value) for value in given)
    return x, y, w, h


def _float(value: Any) -> float:
    try:
        # Spreadsheets that put semicolons between values have commas in numbers.
        return float(value.replace(",", ".") if isinstance(value, str) else value)
    except OverflowError:
        return math.inf
