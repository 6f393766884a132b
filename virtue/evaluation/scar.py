"""SCaR: which of ten captions describes a region in its scene (VIRTUE, arXiv 2510.00523)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from virtue.embedder import Embedder
from virtue.embedder.model import InstructedModel
from virtue.embedder.region_pictures import crop_to_box, draw_circle
from virtue.errors import InputError
from virtue.evaluation.blind_guesses import GUESSES, guess
from virtue.evaluation.embed_each import embed_each
from virtue.evaluation.findings import MAX_NAMED, Tell
from virtue.evaluation.measures import Measured, hits_at
from virtue.evaluation.outcomes import Outcomes, digest_of, digest_of_file
from virtue.evaluation.scar_files import ELEMENTS, ScarQuery, read_scar
from virtue.geometry import Box
from virtue.pictures import Picture, load, open_image

PromptMode = Literal["box", "none", "crop", "text", "circle"]
BoxFrame = Literal["scaled", "published"]

ALL, PAIR = "all", "pair"
REFERRING = "\nReferring object bbox: "
QUERIES_AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class ScarResult:
    """What one file gave.

    Attributes:
        name: of the file, without its ending.
        p_at_1: share of regions whose true caption comes first; None: no row could be used.
        swaps: for each of `ELEMENTS` the share whose true caption comes before those that swap it; as "pair"
            the share whose true caption comes before the one whose relation is true of another pair.
        bad: rows that could not be used, each with why.
        rows: in the file.
        blind: for each of `GUESSES` what a guess gives that sees no picture, on the same regions.
    """

    name: str
    p_at_1: Measured | None
    swaps: dict[str, Measured]
    bad: list[tuple[int, str]]
    rows: int
    blind: dict[str, dict[str, Measured]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        nothing = {"p_at_1": None, "low": None, "high": None, "queries": 0}
        bad = [{"row": row, "why": why} for row, why in self.bad[:MAX_NAMED]]
        return {
            "name": self.name,
            **(self.p_at_1.as_json("p_at_1") if self.p_at_1 else nothing),
            **{name: found.as_json("accuracy") for name, found in self.swaps.items()},
            "blind": {
                name: {figure: each.as_json("accuracy") for figure, each in found.items()}
                for name, found in self.blind.items()
            },
            "rows": self.rows,
            "bad": len(self.bad),
            "bad_rows": bad,
        }


def with_box_frame(embedder: Embedder, frame: BoxFrame) -> Embedder:
    """Returns a model with VIRTUE's boxes in this frame. "published": pixels of the picture, taken for those
    of the segmentation model's square, as in the published evaluation.

    Raises:
        InputError: the model is not VIRTUE.
    """
    if frame == "scaled":
        return embedder
    choose = getattr(embedder.model, "with_box_frame", None)
    if choose is None:
        raise InputError(
            f"the model {embedder.name} has one frame for boxes: 'published' is for VIRTUE alone"
        )
    return Embedder(choose("unscaled"))


def evaluate_scar(
    embedder: Embedder,
    file: Path,
    *,
    images: Path | None = None,
    prompt: PromptMode = "box",
    cache: Path | None = None,
    tell: Tell | None = None,
) -> ScarResult:
    """Evaluates a model on one file of SCaR's form (`scar_files`).

    A row that cannot be used (no picture, a box outside, other than ten captions, ten equal ones) is left
    out, and named in the result. A caption that is listed twice counts once.

    Args:
        images: what paths in the file are relative to; None: the file's folder, or `images` in it.
        prompt: how the model is told which region is meant. "box": the box is its prompt (and, for VIRTUE, in
            its words, as published). "text": the box is in the words alone. "crop": the picture is cropped to
            it. "circle": a red circle is drawn around it. "none": not at all.
        cache: a folder where results are kept, to go on after an interruption; None: nowhere.

    Raises:
        InputError: the file cannot be read.
    """
    rows = list(read_scar(file, images))
    bad = [(row[0], str(row[1])) for row in rows if not isinstance(row, ScarQuery)]
    queries = [row for row in rows if isinstance(row, ScarQuery)]
    outcomes = Outcomes(cache, "scar", embedder.fingerprint, embedder.dtype, prompt)
    found: list[tuple[ScarQuery, list[float]]] = []
    # Regions of one picture go together: its image work is then done once.
    order = sorted(queries, key=lambda query: query.picture)
    for start in range(0, len(order), QUERIES_AT_ONCE):
        for query, scores in _score_batch(embedder, order[start : start + QUERIES_AT_ONCE], prompt, outcomes):
            if isinstance(scores, InputError):
                bad.append((query.row, str(scores)))
            else:
                found.append((query, scores))
        if tell:
            tell(len(bad) + len(found), len(rows))
    return _summarize(file.stem, found, sorted(bad), len(rows))


def _score_batch(
    embedder: Embedder, queries: Sequence[ScarQuery], prompt: PromptMode, outcomes: Outcomes
) -> Iterator[tuple[ScarQuery, list[float] | InputError]]:
    """Returns for each query the scores of its captions, or why there are none."""
    digests = {query.row: _digest(query) for query in queries}
    todo = [query for query in queries if outcomes.get(digests[query.row]) is None]
    faults: dict[int, InputError] = {}
    pictures: dict[Path, Picture] = {}
    inputs: dict[int, tuple[dict[str, Any], str]] = {}
    for query in todo:
        try:
            if query.picture not in pictures:
                pictures[query.picture] = load(query.picture, side=embedder.model.side)
            picture = pictures[query.picture]
            box = query.box.within(picture.width, picture.height)
            inputs[query.row] = _ask(embedder, query, picture, box, prompt)
        except InputError as error:
            faults[query.row] = error
    todo = [query for query in todo if query.row in inputs]
    texts = list(dict.fromkeys(text for query in todo for text in query.captions))
    captions = dict(zip(texts, embed_each(embedder.encode, texts), strict=True))
    vectors = _embed_queries(embedder, [inputs[query.row] for query in todo])
    new: dict[str, list[float]] = {}
    for query, asked in zip(todo, vectors, strict=True):
        rows = [captions[text] for text in query.captions]
        made = [each for each in (asked, *rows) if not isinstance(each, InputError)]
        if len(made) == len(rows) + 1:
            scores = (np.stack(made[1:]) @ np.atleast_2d(made[0]).T).max(axis=1)
            new[digests[query.row]] = scores.astype(float).tolist()
        else:
            faults[query.row] = next(each for each in (asked, *rows) if isinstance(each, InputError))
    outcomes.add(new)
    for query in queries:
        scores = outcomes.get(digests[query.row])
        yield query, faults[query.row] if scores is None else scores


def _digest(query: ScarQuery) -> str:
    return digest_of(digest_of_file(query.picture), query.box.corners, query.words, query.captions)


def _ask(
    embedder: Embedder, query: ScarQuery, picture: Picture, box: Box, prompt: PromptMode
) -> tuple[dict[str, Any], str]:
    """Returns what a model is asked, and the instruction for one that takes any."""
    words, corners = query.words, str(list(box.corners))
    if prompt == "box":
        return {"image": picture, "box": box}, f" {words}{REFERRING}{{box}}"
    if prompt == "text":
        if isinstance(embedder.model, InstructedModel):
            return {"image": picture, "text": corners}, f" {words}{REFERRING}{{text}}"
        return {"image": picture, "text": f"{words.strip()}{REFERRING}{corners}"}, ""
    shown = {"none": lambda *_: picture, "crop": crop_to_box, "circle": draw_circle}[prompt](picture, box)
    return {"image": shown}, f" {words}"


def _embed_queries(
    embedder: Embedder, asked: Sequence[tuple[dict[str, Any], str]]
) -> list[np.ndarray | InputError]:
    """Embeds queries for captions: (k, dim) each, or (dim,)."""
    if not isinstance(embedder.model, InstructedModel):
        return embed_each(lambda values: embedder.queries(values, "captions"), [value for value, _ in asked])
    made: dict[int, np.ndarray | InputError] = {}
    for words in dict.fromkeys(words for _, words in asked):
        places = [place for place, (_, told) in enumerate(asked) if told == words]

        def embed(values: Sequence[Any], words: str = words) -> np.ndarray:
            return embedder.encode_query(values, prompt=words, find="captions")

        made |= zip(places, embed_each(embed, [asked[place][0] for place in places]), strict=True)
    return [made[place] for place in range(len(asked))]


def _summarize(
    name: str, found: Sequence[tuple[ScarQuery, list[float]]], bad: list[tuple[int, str]], rows: int
) -> ScarResult:
    measured = _measure(found)
    swaps = {figure: measured[figure] for figure in (*ELEMENTS, PAIR) if figure in measured}
    return ScarResult(
        name, measured.get(ALL), swaps, bad, rows, _guess_blindly([query for query, _ in found])
    )


def _guess_blindly(queries: Sequence[ScarQuery]) -> dict[str, dict[str, Measured]]:
    sizes = {}
    for query in queries:
        if query.picture not in sizes:
            with open_image(query.picture) as image:
                sizes[query.picture] = image.size
    seen = {"candidates": None, "box": [sizes[query.picture] for query in queries]}
    blind = {}
    for name in GUESSES:
        guessed = zip(queries, guess(queries, seen[name]), strict=True)
        if measured := _measure([(query, scores) for query, scores in guessed if scores is not None]):
            blind[name] = measured
    return blind


def _measure(found: Sequence[tuple[ScarQuery, list[float]]]) -> dict[str, Measured]:
    figures: dict[str, list[tuple[float, str]]] = {}
    for query, scores in found:
        for figure, value in _firsts(query, scores).items():
            figures.setdefault(figure, []).append((value, str(query.picture)))
    return {figure: Measured.of(*zip(*pairs, strict=True)) for figure, pairs in figures.items()}


def _firsts(query: ScarQuery, scores: Sequence[float]) -> dict[str, float]:
    """Computes whether the true caption comes first: among all, among itself and the swaps of an element, and
    before the caption whose relation is true of another pair."""
    # A caption that is listed twice is one caption, and one that equals the true one is true.
    places = {text: place for place, text in reversed(list(enumerate(query.captions)))}
    others = [place for place in places.values() if place]
    rivals = {ALL: others, **{each: [n for n in others if query.swaps[n] == each] for each in ELEMENTS}}
    rivals[PAIR] = [n for n in others if n == query.bound]
    return {figure: _first(scores, places) for figure, places in rivals.items() if places}


def _first(scores: Sequence[float], rivals: Sequence[int]) -> float:
    row = np.array([[scores[0], *(scores[place] for place in rivals)]])
    return float(hits_at(row, np.arange(row.shape[1])[None] == 0)[0])
