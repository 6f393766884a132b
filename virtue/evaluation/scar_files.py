"""Reads files of SCaR's form (VIRTUE, arXiv 2510.00523): Parquet, a row for each region with its captions.

Columns: `qry_image_path`, `bbox` ([x, y, w, h] in pixels of the picture), `tgt_text` (the true caption, then
those in which an element is swapped) and perhaps `qry_text` (what the model is told). Files of
`virtue build scenes` also say in `tgt_swap` which element each caption swaps ("" for the true one), and in
`bound` which caption's relation is true of another pair of things in the picture, by its place (null: none).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtue.errors import InputError
from virtue.evaluation.parquet_rows import read_rows
from virtue.geometry import Box

CANDIDATES = 10
ELEMENTS = ("object", "relation", "scene")
SWAPS_OF_EACH = 3
REQUIRED = ("qry_image_path", "bbox", "tgt_text")
OPTIONAL = ("qry_text", "tgt_swap", "bound")
IMAGE_TOKEN = "<|image_1|>"
DEFAULT_WORDS = (
    f"{IMAGE_TOKEN}\nFind the caption that best describes the segmented object, considering both local "
    "details and global context in the given image."
)


@dataclass(frozen=True, slots=True)
class ScarQuery:
    """One row: a region, and captions of which the first is true.

    Attributes:
        row: in the file, from 0.
        words: what the model is told, without the token that stands for the picture.
        captions: `CANDIDATES` texts.
        swaps: which of `ELEMENTS` each caption swaps; None: the true one, or not known.
        bound: place of the caption whose relation is true of another pair; None: there is none.
    """

    row: int
    picture: Path
    box: Box
    words: str
    captions: tuple[str, ...]
    swaps: tuple[str | None, ...]
    bound: int | None = None


def scar_files(place: Path) -> list[Path]:
    """Lists the Parquet files of a folder, or the file itself.

    Raises:
        InputError: there are none.
    """
    if place.is_file():
        return [place]
    files = sorted(place.glob("*.parquet"))
    if not files:
        raise InputError(
            f"{place} holds no Parquet files: name the folder of SCaR_eval_ADE20K.parquet and the others, or "
            "one of them"
        )
    return files


def read_scar(file: Path, images: Path | None = None) -> Iterator[ScarQuery | tuple[int, InputError]]:
    """Reads a file row by row: queries, and for a row that is none its number and why.

    Args:
        images: what paths in the file are relative to; None: the file's folder, or `images` in it.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    roots = [images] if images else [file.parent, file.parent / "images"]
    for row, values in enumerate(read_rows(file, REQUIRED, OPTIONAL)):
        try:
            yield _query(row, values, roots)
        except InputError as error:
            yield row, error


def _query(row: int, values: dict[str, Any], roots: Sequence[Path]) -> ScarQuery:
    captions = values["tgt_text"]
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise InputError("tgt_text is not a list of captions")
    if len(captions) != CANDIDATES:
        raise InputError(f"there are {len(captions)} captions, and not {CANDIDATES}")
    if len(set(captions)) == 1:
        raise InputError("all captions are equal")
    box = values["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(each, int | float) for each in box):
        raise InputError(f"bbox is {box!r:.60}, and not [x, y, w, h]")
    named = values["qry_image_path"]
    if not isinstance(named, str) or not named:
        raise InputError("qry_image_path names no picture")
    picture = next((root / named for root in roots if (root / named).is_file()), None)
    if picture is None:
        raise InputError(f"the picture {named} is not there")
    given = values.get("tgt_swap")
    words = values.get("qry_text") or DEFAULT_WORDS
    return ScarQuery(
        row=row,
        picture=picture,
        box=Box.from_xywh(*map(float, box)),
        words=str(words).replace(IMAGE_TOKEN, ""),
        captions=tuple(captions),
        swaps=_read_swaps(given) if given else deduce_swaps(captions),
        bound=_read_bound(values.get("bound")),
    )


def _read_swaps(given: Any) -> tuple[str | None, ...]:
    if not isinstance(given, list) or len(given) != CANDIDATES:
        raise InputError(f"tgt_swap is {given!r:.60}, and not a list of {CANDIDATES}")
    if unknown := [each for each in given if each and each not in ELEMENTS]:
        raise InputError(f"tgt_swap holds {unknown[0]!r}: use {', '.join(ELEMENTS)}")
    return tuple(each or None for each in given)


def _read_bound(given: Any) -> int | None:
    if given is None or (isinstance(given, int) and 0 < given < CANDIDATES):
        return given
    raise InputError(f"bound is {given!r:.60}, and not the place of a caption, 1 to {CANDIDATES - 1}")


def deduce_swaps(captions: Sequence[str]) -> tuple[str | None, ...]:
    """Deduces which element each caption swaps, from where its words differ from the first caption's.

    Captions say "object, relation, scene", and the published files swap each in three captions: those that
    differ nearest to the beginning are the object's, those nearest to the end the scene's. Where that does
    not part them into three and three and three, all are None.
    """
    unknown: tuple[None, ...] = (None,) * len(captions)
    if len(captions) != len(ELEMENTS) * SWAPS_OF_EACH + 1:
        return unknown
    places = [_difference(captions[0].split(), caption.split()) for caption in captions[1:]]
    order = sorted(range(len(places)), key=places.__getitem__)
    swaps: list[str | None] = list(unknown)
    for number, element in enumerate(ELEMENTS):
        for place in order[number * SWAPS_OF_EACH : (number + 1) * SWAPS_OF_EACH]:
            swaps[place + 1] = element
    borders = [
        places[order[number * SWAPS_OF_EACH - 1]] < places[order[number * SWAPS_OF_EACH]] for number in (1, 2)
    ]
    return tuple(swaps) if all(borders) else unknown


def _difference(true: Sequence[str], other: Sequence[str]) -> int:
    """Returns twice the middle of the words of `true` that another caption has otherwise."""
    shortest = min(len(true), len(other))
    start = next((n for n in range(shortest) if true[n] != other[n]), shortest)
    left = shortest - start
    same = next((n for n in range(left) if true[-1 - n] != other[-1 - n]), left)
    return start + len(true) - same
