"""Which files beside a photo speak of it, by their names, and whether they changed."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

TEXT_ENDINGS = (b".txt", b".TXT")
SUPPLEMENT = ".supplemental-metadata"
"""What Google Takeout puts between the name of a photo and ".json", as far as there is room."""
MIN_CUT = 43
"""Bytes of a name from which on Takeout may have cut it: at 46 characters, which need not be bytes."""
MAX_UNSURE = 8
"""Files that may be a photo's, of which what they hold has to tell."""
EDITED = (
    "-edited", "-effects", "-bearbeitet", "-bewerkt", "-edytowane", "-editado", "-ha editado", "-editat",
    "-modifié", "-modificato", "-redigerad", "-redigeret", "-muokattu", "-upravené", "-編集済み",
)  # fmt: skip
"""How the names of photos end that were edited in Google Photos, which have no JSON of their own."""

UNREAD = "unread"
"""Stands for the state of a file that cannot be read now."""

_COUNTER = re.compile(r"(.*)(\(\d+\))", re.DOTALL)


class SidecarFile(NamedTuple):
    """A file whose name says that it speaks of a photo; `is_certain`: else what it holds must say so too."""

    name: bytes
    is_certain: bool = True

    @property
    def is_xmp(self) -> bool:
        return self.name.lower().endswith(b".xmp")


@dataclass(frozen=True, slots=True)
class Stamp:
    """The state of the files beside a photo, as text that is compared: of its caption (`photo.txt`), and of
    what holds metadata. An empty one: there is none."""

    text: str = ""
    metadata: str = ""

    @classmethod
    def parse(cls, stamp: str | None) -> Self:
        text, _, metadata = (stamp or "").partition(" ")
        return cls("" if text == "-" else text, metadata)

    def __str__(self) -> str:
        return f"{self.text or '-'} {self.metadata}" if self.metadata else self.text

    @property
    def is_text_unread(self) -> bool:
        return self.text == UNREAD

    @property
    def is_metadata_unread(self) -> bool:
        return UNREAD in self.metadata.split()


class SidecarNames:
    """The files of one folder that may hold metadata of photos."""

    def __init__(self, names: Iterable[bytes]) -> None:
        self._xmp: dict[bytes, bytes] = {}
        self._json: dict[str, bytes] = {}
        self._numbered: dict[str, list[str]] = {}
        for name in names:
            stem, ending = name[:-4], name[-4:]
            if ending == b".xmp" or (ending.lower() == b".xmp" and stem not in self._xmp):
                self._xmp[stem] = name
            elif name[-5:].lower() == b".json":
                whole = os.fsdecode(name[:-5])
                self._json[whole] = name
                number = _COUNTER.fullmatch(whole)
                self._numbered.setdefault(number[1] if number else whole, []).append(whole)

    def of(self, photo: bytes) -> list[SidecarFile]:
        """Returns the files that speak of a photo, those first that count first: of XMP the one with the
        photo's whole name, else that of its stem; then the JSON of Google Takeout."""
        found = []
        if self._xmp:
            names = (self._xmp.get(stem) for stem in (photo, os.path.splitext(photo)[0]))
            found += [SidecarFile(name) for name in names if name][:1]
        if self._json:
            found += self._of_takeout(os.fsdecode(photo))
        return found

    def _of_takeout(self, photo: str) -> list[SidecarFile]:
        for original, counter in _originals(photo):
            for length in range(len(SUPPLEMENT), -1, -1):
                name = self._json.get(original + SUPPLEMENT[:length] + counter)
                if name:
                    return [SidecarFile(name)]
        unsure: dict[str, None] = {}
        for original, counter in _originals(photo):
            for begin in _beginnings(original):
                alike = self._numbered.get(begin, [])
                unsure.update(dict.fromkeys(sorted(alike, key=lambda each: each != begin + counter)))
                if begin in self._json:
                    unsure[begin] = None
        return [SidecarFile(self._json[each], is_certain=False) for each in [*unsure][:MAX_UNSURE]]


def text_names(photo: bytes) -> list[bytes]:
    """Returns the names that the caption of a photo may have, a path or a name."""
    return [stem + ending for stem in (photo, os.path.splitext(photo)[0]) for ending in TEXT_ENDINGS]


def is_title_of(title: str, photo: str) -> bool:
    """Returns whether a photo that Google calls so may have this file name: cut at its end, with a number for
    those of the same name, and "_" for what file names must not hold."""
    for original, _ in _originals(photo):
        stem = os.path.splitext(original)[0]
        rest = title[len(stem) :]
        begins = len(title) >= len(stem) and all(
            own in (other, "_") for own, other in zip(stem, title, strict=False)
        )
        is_cut = len(os.fsencode(photo)) >= MIN_CUT
        if begins and (is_cut or not rest or re.fullmatch(r"\.\w{1,5}", rest)):
            return True
    return False


def _originals(photo: str) -> Iterator[tuple[str, str]]:
    """Yields the names that a photo may have in Google Photos, the likeliest first, each with the number that
    tells those of the same name apart, which stands elsewhere in the name of the JSON."""
    stem, ending = os.path.splitext(photo)
    number = _COUNTER.fullmatch(stem)
    forms = [(stem, "")] + ([(number[1], number[2])] if number else [])
    yield from ((form + ending, counter) for form, counter in forms)
    for form, counter in forms:
        composed = unicodedata.normalize("NFC", form)
        for edited in EDITED:
            if composed.endswith(edited):
                yield composed[: -len(edited)] + ending, counter
                if composed != form:
                    yield form[: -len(unicodedata.normalize("NFD", edited))] + ending, counter


def _beginnings(name: str) -> Iterator[str]:
    """Yields what may be left of a name that was cut, or whose ending was left out."""
    for length in range(len(name) - 1, 0, -1):
        if len(os.fsencode(name[:length])) < MIN_CUT:
            break
        yield name[:length]
    yield os.path.splitext(name)[0]
