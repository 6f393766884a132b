"""Filters as users write them (docs/search.md), parsed.

`rating >= 4 and not tag = beach`, by this grammar:

    filter     = all ("or" all)*
    all        = single ("and" single)*
    single     = "not" single | "(" filter ")" | comparison
    comparison = field operator value | field "in" "(" value ("," value)* ")"
    value      = 'text' | "text" | word
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

from virtue.errors import InputError
from virtue.store.catalogue.fields import FIELDS, Value, path_matches

MAX_DEPTH = 10
"""Parentheses and `not`s inside one another; SQLite's parser has room for little more."""
MAX_COMPARISONS = 200
"""In a filter, or in several that must all match."""
MAX_SHOWN = 60
"""Characters of a filter that an error message shows."""


class Comparison(NamedTuple):
    """A comparison of a field with a value; `value` is what the field read: per cent for `area`, bytes for
    `size`, the beginning of an ISO date for `taken`, (south, west, north, east) in degrees for `gps`."""

    field: str
    operator: str
    value: Value


class Negation(NamedTuple):
    operand: Filter


class Junction(NamedTuple):
    word: Literal["and", "or"]
    operands: tuple[Filter, ...]


Filter = Comparison | Negation | Junction
"""A parsed filter: small, and hashable."""

FullImages = Literal["any", "single", "only"]
"""Which regions that are a full image may appear. any: all. single: those of photos that have no other
region. only: these, and no other region."""


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Says which rows of a kind a search may find.

    Attributes:
        where: None: whatever is in the photos.
        full_images: of regions; captions are not concerned.
    """

    where: Filter | None = None
    full_images: FullImages = "any"


def parse(where: str | Sequence[str]) -> Filter:
    """Reads a filter, or several that must all match.

    Raises:
        InputError: one of them cannot be read, with the place and what could stand there; there is none.
    """
    texts = tuple(where) if isinstance(where, Iterable) and not isinstance(where, str) else (where,)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"a filter is a text, as rating >= 4, not {type(text).__name__}")
    if not texts:
        raise InputError("there is no filter: give one, as in rating >= 4")
    readers = [_Reader(text) for text in texts]
    found = [reader.filter() for reader in readers]
    if sum(reader.comparisons for reader in readers) > MAX_COMPARISONS:
        raise InputError(f"the filters have more than {MAX_COMPARISONS} comparisons: leave some out")
    return _join("and", found)


def parse_optional(where: str | Sequence[str] | None) -> Filter | None:
    """Reads a filter as `parse` does; None, or none in a sequence: everything matches."""
    if where is None or (not isinstance(where, str) and not where):
        return None
    return parse(where)


def path_fits(filter: Filter, path: bytes) -> bool | None:
    """Returns whether a path fits what a filter says of paths; None: it says nothing."""
    if isinstance(filter, Comparison):
        is_path = filter.field == "path"
        return path_matches(path, filter.operator, str(filter.value)) if is_path else None
    if isinstance(filter, Negation):
        found = path_fits(filter.operand, path)
        return None if found is None else not found
    parts = [fits for operand in filter.operands if (fits := path_fits(operand, path)) is not None]
    return (any(parts) if filter.word == "or" else all(parts)) if parts else None


# -- the grammar ------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<operator><=|>=|!=|==|[=<>~]) | (?P<mark>[(),])
    | '(?P<single>(?:[^']|'')*)' | "(?P<double>(?:[^"]|"")*)" | (?P<word>[^\s()<>=!~,'"]+)""",
    re.VERBOSE,
)
_KEYWORDS = ("and", "or", "not", "in")


class Token(NamedTuple):
    """A token of a filter; `kind` is "word", "text" (it was quoted), "mark" (operators and keywords too) or
    "end"."""

    kind: str
    text: str
    place: int


class _Reader:
    """Reads one filter by recursive descent. `comparisons`: how many it has read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self.comparisons = 0

    def filter(self) -> Filter:
        found = self._any(0)
        if self._here.kind != "end":
            quotes = " (text of several words goes in quotes)" if self._here.kind == "word" else ""
            self._fail(f"expected `and`, `or` or the end, found {self._shown}{quotes}")
        return found

    def _split(self) -> list[Token]:
        tokens, place = list[Token](), 0
        while place < len(self._text):
            found = _TOKEN.match(self._text, place)
            if found is None:
                odd = self._text[place]
                self._fail("a quote is not closed" if odd in "'\"" else f"{odd!r} is not an operator", place)
            kind, text = found.lastgroup or "", found[found.lastgroup or 0]
            if kind in ("single", "double"):
                quote = found[0][0]
                tokens.append(Token("text", text.replace(2 * quote, quote), place))
            elif kind == "word" and text.lower() in _KEYWORDS:
                tokens.append(Token("mark", text.lower(), place))
            elif kind != "space":
                name = "word" if kind == "word" else "mark"
                tokens.append(Token(name, "=" if text == "==" else text, place))
            place = found.end()
        return [*tokens, Token("end", "", len(self._text))]

    def _any(self, depth: int) -> Filter:
        operands = [self._all(depth)]
        while self._take("or"):
            operands.append(self._all(depth))
        return _join("or", operands)

    def _all(self, depth: int) -> Filter:
        operands = [self._single(depth)]
        while self._take("and"):
            operands.append(self._single(depth))
        return _join("and", operands)

    def _single(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} parentheses or `not`s are nested")
        if self._take("not"):
            return Negation(self._single(depth + 1))
        if self._take("("):
            found = self._any(depth + 1)
            self._expect(")")
            return found
        return self._comparison()

    def _comparison(self) -> Filter:
        name = self._here.text.lower()
        if self._here.kind != "word":
            self._fail(f"expected a field, found {self._shown}; {_known_fields()}")
        if name not in FIELDS:
            self._fail(f"there is no field {self._here.text!r}; {_known_fields()}")
        self._next += 1
        operator = self._here.text if self._here.kind == "mark" else ""
        if operator not in FIELDS[name].operators:
            instead = f"; write `not {name} = ...` for photos without one" if operator == "!=" else ""
            able = ", ".join(FIELDS[name].operators)
            self._fail(f"{name} takes {able}, not {self._shown}{instead}")
        place = self._here.place
        self._next += 1
        if operator != "in":
            return self._compare(name, operator, self._value(name))
        self._expect("(")
        values = [self._value(name)]
        while self._take(","):
            values.append(self._value(name))
        self._expect(")")
        combine = FIELDS[name].combine
        if combine is None:
            return _join("or", [self._compare(name, "=", value) for value in values])
        try:
            return self._compare(name, operator, combine(values))
        except ValueError as error:
            self._fail(str(error), place)

    def _compare(self, name: str, operator: str, value: Value) -> Comparison:
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            self._fail(f"there are more than {MAX_COMPARISONS} comparisons")
        return Comparison(name, operator, value)

    def _value(self, name: str) -> str | float:
        if self._here.kind not in ("word", "text"):
            quotes = " (in quotes, if it is meant as text)" if self._here.text in _KEYWORDS else ""
            self._fail(f"expected a value for {name}, found {self._shown}{quotes}")
        text, following = self._here.text, self._tokens[self._next + 1]
        has_unit = following.kind == "word" and following.text.lower() in FIELDS[name].units
        try:
            value = FIELDS[name].read(text + following.text * has_unit)
        except ValueError as error:
            self._fail(f"{self._shown} {error}")
        self._next += 1 + has_unit
        return value

    @property
    def _here(self) -> Token:
        return self._tokens[self._next]

    @property
    def _shown(self) -> str:
        text = self._here.text
        return (
            "the end"
            if self._here.kind == "end"
            else repr(text[:MAX_SHOWN] + "..." * (len(text) > MAX_SHOWN))
        )

    def _take(self, mark: str) -> bool:
        taken = self._here.kind == "mark" and self._here.text == mark
        self._next += taken
        return taken

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            self._fail(f"expected {mark!r}, found {self._shown}")

    def _fail(self, problem: str, place: int | None = None) -> NoReturn:
        place = self._here.place if place is None else place
        first = max(0, min(place - MAX_SHOWN // 2, len(self._text) - MAX_SHOWN))
        part = self._text[first : first + MAX_SHOWN]
        shown = "..." * (first > 0) + part + "..." * (first + MAX_SHOWN < len(self._text))
        raise InputError(f"the filter {shown!r} cannot be read at character {place + 1}: {problem}")


def _join(word: Literal["and", "or"], operands: Sequence[Filter]) -> Filter:
    return operands[0] if len(operands) == 1 else Junction(word, tuple(operands))


def _known_fields() -> str:
    return f"the fields are {', '.join(FIELDS)}"
