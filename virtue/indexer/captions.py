"""Captions that a user has as CSV or JSON lines: path, caption and perhaps a box x, y, w, h."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from virtue.errors import InputError, PromptError
from virtue.indexer.user_annotations import FittedAnnotations, clip_box, read_number
from virtue.paths import printable
from virtue.store import NewCaption, NewRegion

MAX_CHARACTERS = 1_000_000_000
"""Of a file."""
MAX_ENTRY = 1_000_000
"""Characters of one entry, of one line or, in quotes, of several."""
MAX_LINES = 10_000
"""Of one photo."""
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


def read_captions(path: str | os.PathLike[str]) -> dict[str, PhotoCaptions]:
    """Reads captions, by the paths in the file, in its order.

    A CSV file has a header line with the names path, caption and perhaps x, y, w, h, or their values
    in this order. A line of JSON is an object with these keys.

    Raises:
        InputError: the file cannot be read, or a line of it is not what it should be; names the line.
    """
    origin = printable(os.fspath(path))
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            is_json = stream.read(4096).lstrip().startswith(("{", "["))
            stream.seek(0)
            lines = _Lines(stream, origin)
            rows = _json_rows(lines, origin) if is_json else _csv_rows(lines, origin)
            return _group_by_path(rows, origin)
    except OSError as error:
        raise InputError(f"{origin}: {error.strerror or error}: name a file of captions") from None


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


def _group_by_path(rows: Iterator[tuple[int, dict[str, Any]]], origin: str) -> dict[str, PhotoCaptions]:
    result: dict[str, PhotoCaptions] = {}
    for number, row in rows:
        path, caption = row.get("path"), row.get("caption")
        if not isinstance(path, str) or not path:
            raise InputError(f"{origin}, line {number}: there is no path")
        if not isinstance(caption, str) or not caption.strip():
            raise InputError(f"{origin}, line {number}: there is no caption for {printable(path)}")
        clean = " ".join(caption.encode("utf-8", "replace").decode().replace("\0", " ").split())
        line = CaptionLine(number, clean, _box(row, f"{origin}, line {number}"))
        result.setdefault(path, PhotoCaptions(origin, [])).lines.append(line)
    return result


def _csv_rows(lines: _Lines, origin: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(lines)
    columns: tuple[str, ...] | None = None
    try:
        for values in reader:
            lines.end_entry()
            if not any(value.strip() for value in values):
                continue
            if columns is None:
                names = tuple(value.strip().lower() for value in values)
                columns = names if {"path", "caption"} <= set(names) else COLUMNS
                if columns is names:
                    continue
            if len(values) > len(columns):
                raise InputError(
                    f"{origin}, line {reader.line_num}: {len(values)} values for the columns "
                    f"{','.join(columns)}: put a caption that holds commas in quotes"
                )
            yield reader.line_num, dict(zip(columns, values, strict=False))
    except csv.Error as error:
        raise InputError(f"{origin}, line {reader.line_num}: not CSV ({error})") from None


def _json_rows(lines: _Lines, origin: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(lines, 1):
        lines.end_entry()
        if not text.strip():
            continue
        try:
            row = json.loads(text, parse_int=read_number)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{origin}, line {number}: not JSON ({error}): write one object a line, such as "
                '{"path": "a.jpg", "caption": "a red mug"}'
            ) from None
        if not isinstance(row, dict):
            raise InputError(f"{origin}, line {number}: not an object with the keys path and caption")
        yield number, row


def _box(row: dict[str, Any], where: str) -> Box4 | None:
    values = [row.get(name) for name in ("x", "y", "w", "h")]
    given = [value for value in values if value is not None and str(value).strip()]
    if not given:
        return None
    try:
        x, y, w, h = (_float(value) for value in given)
    except (TypeError, ValueError):
        raise InputError(f"{where}: a box needs four numbers x, y, w, h in pixels") from None
    return x, y, w, h


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
