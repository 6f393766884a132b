"""The words of a command line -> a query: which are pictures, which are text, whose is the box."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from virtue.errors import InputError, PictureError, PromptError
from virtue.geometry import Box, Point
from virtue.paths import printable, quote
from virtue.retrieval.query import Part, Query

WEIGHTED = re.compile(r"(.+)::([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)", re.DOTALL | re.IGNORECASE)


def parse_arguments(
    words: Iterable[str] = (),
    *,
    texts: Iterable[str] = (),
    images: Iterable[str | os.PathLike[str]] = (),
    box: Box | str | None = None,
    points: Iterable[Point | str] = (),
    not_points: Iterable[Point | str] = (),
    mask: str | os.PathLike[str] | None = None,
    without: Iterable[str] = (),
    like: Iterable[str] = (),
    unlike: Iterable[str] = (),
    recall: Callable[[int], Part] | None = None,
) -> Query:
    """Parses a query as typed on a command line.

    A word that is an existing file is an image, `img.jpg@x,y,w,h` an image with a box; one that ends as an
    image does, or leads into a folder that is there, must exist; all else is
    text (a folder's plain name too), and the words of it are joined, so that quotes may be
    forgotten. Each of `texts` is a text of its own, each of `images` an image. One image and text are
    one composed question ("this, but at night"); several images, or several texts alone, are added up.

    Behind any word, `::0.5` says how much it weighs; a text or image that has a weight is
    a part of its own. A file that is called so is that file, and in `texts` it is part of the text.

    Args:
        box: `x,y,w,h`; belongs to the only image, as `points`, `not_points` (`x,y`) and `mask` do.
        without: texts or images to take away, classified as words are.
        like, unlike: region_ids of hits, or `@2` for the second hit of the last search.
        recall: what a hit of the last search was, by its rank. None: no search is known.

    Raises:
        InputError: nothing to search for; a folder; a word that looks like a path and leads nowhere.
        PromptError: a prompt without an image, or with several; or one that is not numbers.
    """
    parts = [(_classify(word), _split_weight(word)[1] is not None) for word in words]
    typed = " ".join(part.text for part, weighed in parts if part.text is not None and not weighed)
    wordings = [Part(text=text) for text in ([typed] if typed else []) + list(map(_decode, texts))]
    further = [part for part, weighed in parts if part.text is not None and weighed]
    further += [_parse_hit(id, recall) for id in like]
    pictures = [(part, weighed) for part, weighed in parts if part.image is not None]
    names = [os.fspath(image) for image in images]
    pictures += [(_parse_image(name), _split_weight(name)[1] is not None) for name in names]
    shown = [part for part, _ in pictures]
    shown = _add_prompt(
        shown,
        box=Box.parse(box) if isinstance(box, str) else box,
        positive=tuple(Point.parse(p) if isinstance(p, str) else p for p in points),
        negative=tuple(Point.parse(p, positive=False) if isinstance(p, str) else p for p in not_points),
        mask=None if mask is None else Path(mask),
    )
    unwanted = (*(_classify(word) for word in without), *(_parse_hit(id, recall) for id in unlike))
    if len(shown) == 1 and wordings and not pictures[0][1]:
        text = " ".join(part.text for part in wordings if part.text is not None)
        return Query((replace(shown[0], text=text), *further), unwanted)
    return Query((*shown, *wordings, *further), unwanted)


def parse_min_score(text: str | None) -> float | Literal["auto"] | None:
    """Reads the lowest score: a number or "auto"; None stays None.

    Raises:
        InputError: it is neither a number nor "auto".
    """
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise InputError(f"the lowest score must be a number, or auto, not {text!r}") from None


def _add_prompt(
    shown: Sequence[Part],
    *,
    box: Box | None,
    positive: tuple[Point, ...],
    negative: tuple[Point, ...],
    mask: Path | None,
) -> list[Part]:
    """Adds what was drawn to the images; there must be only one then."""
    options = {"--box": box, "--point": positive, "--not-point": negative, "--mask": mask}
    names = " and ".join(name for name, value in options.items() if value)
    if not names:
        return list(shown)
    if not shown:
        raise PromptError(
            f"{names} needs a picture that it is drawn on: name one, as in "
            "`virtue search --box x,y,w,h photo.jpg`"
        )
    if len(shown) > 1:
        raise PromptError(
            f"{names} belongs to one picture, and there are {len(shown)}: "
            "write the box behind its picture, as photo.jpg@x,y,w,h"
        )
    only = shown[0]
    if box and only.box:
        raise PromptError("the picture has two boxes, one by --box and one behind its @: leave one out")
    return [replace(only, box=box or only.box, points=positive + negative, mask=mask)]


def _split_weight(word: str) -> tuple[str, float | None]:
    """Splits `text::weight`, the notation for weighted prompts elsewhere too."""
    match = WEIGHTED.fullmatch(word)
    if match is None or os.path.lexists(word):
        return word, None
    return match[1], float(match[2])


def _parse_hit(id: str, recall: Callable[[int], Part] | None) -> Part:
    name, weight = _split_weight(id)
    weight = 1.0 if weight is None else weight
    if match := re.fullmatch(r"@([1-9][0-9]{0,8})", name):
        if recall is None:
            raise InputError(f"{id} is a hit of the last search, and none is known")
        return replace(recall(int(match[1])), weight=weight)
    if not re.fullmatch(r"[0-9]{1,18}", name):
        raise InputError(
            f"{id!r} is no hit: give @2 for the second one of your last search, or the region_id of a hit "
            "that `virtue search --json` prints"
        )
    return Part(region_id=int(name), weight=weight)


def _classify(word: str) -> Part:
    name, weight = _split_weight(word)
    if weight is not None:
        return replace(_classify_unweighted(name), weight=weight)
    return _classify_unweighted(word)


def _classify_unweighted(word: str) -> Part:
    if os.path.isfile(word):
        return Part(image=Path(word))
    is_path = word in (os.curdir, os.pardir) or _leads_into_a_folder(word)
    if is_path and os.path.isdir(word):
        raise _folder_error(word)
    name, at, box = word.rpartition("@")
    if at and (os.path.isfile(name) or _has_image_suffix(name)):
        return Part(image=_check_exists(name), box=Box.parse(box))
    if _has_image_suffix(word) or is_path:
        return Part(image=_check_exists(word))
    return Part(text=_decode(word))


def _leads_into_a_folder(word: str) -> bool:
    """Returns whether a word is a path: absolute, or one that begins with a folder that is there. "AC/DC" and
    "2023/000981" are words."""
    first, separator, _ = word.partition(os.sep)
    return bool(separator) and (not first or os.path.isdir(first))


def _decode(word: str) -> str:
    """A word as it was meant: bytes of the command line that are no UTF-8 are Latin letters of Windows."""
    if word.isascii():
        return word
    try:
        return os.fsencode(word).decode()
    except UnicodeEncodeError:  # no word of a command line; a query says what is wrong with it
        return word
    except UnicodeDecodeError:
        return os.fsencode(word).decode("cp1252", "replace")


def _parse_image(name: str) -> Part:
    """Parses an argument that must be an image, perhaps with a box and a weight."""
    name, weight = _split_weight(name)
    if weight is not None:
        return replace(_parse_image(name), weight=weight)
    if os.path.isdir(name):
        raise _folder_error(name)
    stem, at, box = name.rpartition("@")
    if at and not os.path.lexists(name) and os.path.isfile(stem):
        return Part(image=Path(stem), box=Box.parse(box))
    return Part(image=_check_exists(name))


def _check_exists(name: str) -> Path:
    from virtue.pictures import check_file

    try:
        check_file(name)
    except PictureError as reason:
        raise InputError(
            f"{printable(name)}: {reason}; correct the path, or if these are words, say --text " + quote(name)
        ) from None
    return Path(name)


def _has_image_suffix(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    if not suffix:  # as most words
        return False
    from virtue.formats import SUFFIXES

    return suffix in SUFFIXES


def _folder_error(name: str) -> InputError:
    shown = quote(name)
    return InputError(
        f"{printable(name)} is a folder: make it searchable with `virtue index {shown}`, then search for "
        f"what is in it; if you mean the word, say --text {shown}"
    )
