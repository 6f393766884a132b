"""Filters as users write them (docs/search.md), read into conditions.

`rating >= 4 and not tag = beach`, by this grammar:

    filter     = all ("or" all)*
    all        = single ("and" single)*
    single     = "not" single | "(" filter ")" | comparison
    comparison = field operator value | field "in" "(" value ("," value)* ")"
    value      = 'text' | "text" | word
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, NoReturn

from virtue.errors import InputError

DEEPEST = 10
"""Parentheses and `not`s inside one another; SQLite's parser has room for little more."""
MOST = 200
"""Comparisons in a filter, or in several that must all hold."""
SHOWN = 60
"""Characters of a filter that an error message shows."""

Value = str | float | tuple[float, ...]


class Comparison(NamedTuple):
    """`value`: for `taken` the beginning of an ISO date, for `area` per cent, for `size` bytes, for `gps`
    (south, west, north, east) in degrees."""

    field: str
    operator: str
    value: Value


class Negated(NamedTuple):
    condition: Condition


class Joined(NamedTuple):
    word: Literal["and", "or"]
    conditions: tuple[Condition, ...]


Condition = Comparison | Negated | Joined


def parse(filters: Sequence[str]) -> Condition:
    """What these filters, one at least, ask for together.

    Raises:
        InputError: one of them cannot be read; names the place and what could stand there.
    """
    if not filters:
        raise InputError("there is no filter: give one, as in rating >= 4")
    readers = [_Reader(text) for text in filters]
    conditions = [reader.filter() for reader in readers]
    if sum(reader.comparisons for reader in readers) > MOST:
        raise InputError(f"the filters have more than {MOST} comparisons: leave some out")
    return _joined("and", conditions)


# -- values -----------------------------------------------------------------------------------------------


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text, re.ASCII):
        raise ValueError("is no number")
    return float(text)


def _share(text: str) -> float:
    if not text.endswith("%"):
        raise ValueError("is no share of the photo: write 10%")
    return _number(text[:-1])


def _size(text: str) -> float:
    found = re.fullmatch(r"(.*?)([kmg]?)b?", text, re.ASCII | re.IGNORECASE | re.DOTALL)
    assert found is not None
    try:
        return _number(found[1]) * 1000 ** " kmg".index(found[2].lower() or " ")
    except ValueError:
        raise ValueError("is no size of a file: write 500kB, 2MB, or a number of bytes") from None


def _moment(text: str) -> str:
    """As far as it goes: 2024, 2024-06, 2024-06-01, 2024-06-01T12, ..., 2024-06-01T12:30:00."""
    moment = text.replace(" ", "T").upper()
    found = re.fullmatch(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?", moment, re.ASCII)
    try:
        datetime.fromisoformat(moment + "0000-01-01T00:00:00"[len(moment) :] if found else "")
    except ValueError:
        raise ValueError("is no date: write 2024, 2024-06, 2024-06-01 or 2024-06-01T12:30") from None
    return moment


def _box(degrees: Sequence[float]) -> tuple[float, ...]:
    if len(degrees) != 4:
        raise ValueError("gps in needs four numbers: (south, west, north, east)")
    south, west, north, east = degrees
    if not -90 <= south <= north <= 90:
        raise ValueError("the south of gps in (south, west, north, east) must not lie north of its north")
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise ValueError("west and east of gps in (south, west, north, east) must lie between -180 and 180")
    return south, west, north, east


class Field(NamedTuple):
    operators: tuple[str, ...]
    read: Callable[[str], str | float] = str
    """Of a value as written; raises ValueError with the rest of the sentence that the value begins."""


_IN_ORDER = ("=", "!=", "<", "<=", ">", ">=", "in")
_ONE_TEXT = ("=", "!=", "~", "in")
_SEVERAL_TEXTS = ("=", "~", "in")

FIELDS = {
    "area": Field(_IN_ORDER, _share),
    "camera": Field(_ONE_TEXT),
    "caption": Field(_SEVERAL_TEXTS),
    "category": Field(_ONE_TEXT),
    "gps": Field(("in",), _number),
    "height": Field(_IN_ORDER, _number),
    "path": Field(_SEVERAL_TEXTS),
    "rating": Field(_IN_ORDER, _number),
    "size": Field(_IN_ORDER, _size),
    "tag": Field(_SEVERAL_TEXTS),
    "taken": Field(_IN_ORDER, _moment),
    "width": Field(_IN_ORDER, _number),
}


# -- the grammar ------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<operator><=|>=|!=|==|[=<>~]) | (?P<mark>[(),])
    | '(?P<single>(?:[^']|'')*)' | "(?P<double>(?:[^"]|"")*)" | (?P<word>[^\s()<>=!~,'"]+)""",
    re.VERBOSE,
)
_KEYWORDS = ("and", "or", "not", "in")


class Token(NamedTuple):
    """`kind`: "word", "text" (it was quoted), "mark" (operators and keywords too), "end"."""

    kind: str
    text: str
    place: int


class _Reader:
    """Of one filter. `comparisons`: how many it has read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self.comparisons = 0

    def filter(self) -> Condition:
        condition = self._either(0)
        if self._here.kind != "end":
            quotes = " (text of several words goes in quotes)" if self._here.kind == "word" else ""
            self._fail(f"there must be `and`, `or` or the end, not {self._shown}{quotes}")
        return condition

    def _split(self) -> list[Token]:
        tokens, place = list[Token](), 0
        while place < len(self._text):
            found = _TOKEN.match(self._text, place)
            if found is None:
                odd = self._text[place]
                self._fail("a quote is never closed" if odd in "'\"" else f"{odd!r} means nothing", place)
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

    def _either(self, depth: int) -> Condition:
        conditions = [self._all(depth)]
        while self._took("or"):
            conditions.append(self._all(depth))
        return _joined("or", conditions)

    def _all(self, depth: int) -> Condition:
        conditions = [self._single(depth)]
        while self._took("and"):
            conditions.append(self._single(depth))
        return _joined("and", conditions)

    def _single(self, depth: int) -> Condition:
        if depth > DEEPEST:
            self._fail(f"more than {DEEPEST} parentheses or `not`s lie inside one another")
        if self._took("not"):
            return Negated(self._single(depth + 1))
        if self._took("("):
            condition = self._either(depth + 1)
            self._expect(")")
            return condition
        return self._comparison()

    def _comparison(self) -> Condition:
        name = self._here.text.lower()
        if self._here.kind != "word":
            self._fail(f"there must be a field, not {self._shown}; {_known()}")
        if name not in FIELDS:
            self._fail(f"there is no field {self._here.text!r}; {_known()}")
        self._next += 1
        operator = self._here.text if self._here.kind == "mark" else ""
        if operator not in FIELDS[name].operators:
            instead = f"; say `not {name} = ...` for photos without one" if operator == "!=" else ""
            able = ", ".join(FIELDS[name].operators)
            self._fail(f"{name} goes with {able}, not with {self._shown}{instead}")
        place = self._here.place
        self._next += 1
        if operator != "in":
            return self._compared(name, operator, self._value(name))
        self._expect("(")
        values = [self._value(name)]
        while self._took(","):
            values.append(self._value(name))
        self._expect(")")
        if name != "gps":
            return _joined("or", [self._compared(name, "=", value) for value in values])
        try:
            return self._compared(name, operator, _box([float(value) for value in values]))
        except ValueError as error:
            self._fail(str(error), place)

    def _compared(self, name: str, operator: str, value: Value) -> Comparison:
        self.comparisons += 1
        if self.comparisons > MOST:
            self._fail(f"there are more than {MOST} comparisons")
        return Comparison(name, operator, value)

    def _value(self, name: str) -> str | float:
        if self._here.kind not in ("word", "text"):
            quotes = " (in quotes, if it is meant as text)" if self._here.text in _KEYWORDS else ""
            self._fail(f"there must be a value for {name}, not {self._shown}{quotes}")
        try:
            value = FIELDS[name].read(self._here.text)
        except ValueError as error:
            self._fail(f"{self._shown} {error}")
        self._next += 1
        return value

    @property
    def _here(self) -> Token:
        return self._tokens[self._next]

    @property
    def _shown(self) -> str:
        text = self._here.text
        return "the end" if self._here.kind == "end" else repr(text[:SHOWN] + "..." * (len(text) > SHOWN))

    def _took(self, mark: str) -> bool:
        took = self._here.kind == "mark" and self._here.text == mark
        self._next += took
        return took

    def _expect(self, mark: str) -> None:
        if not self._took(mark):
            self._fail(f"there must be {mark!r}, not {self._shown}")

    def _fail(self, problem: str, place: int | None = None) -> NoReturn:
        place = self._here.place if place is None else place
        first = max(0, min(place - SHOWN // 2, len(self._text) - SHOWN))
        part = self._text[first : first + SHOWN]
        shown = "..." * (first > 0) + part + "..." * (first + SHOWN < len(self._text))
        raise InputError(f"the filter {shown!r} cannot be read at character {place + 1}: {problem}")


def _joined(word: Literal["and", "or"], conditions: Sequence[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else Joined(word, tuple(conditions))


def _known() -> str:
    return f"there are {', '.join(FIELDS)}"
