"""Blind guesses: how far one gets with SCaR without looking at the picture.

A guess is learnt on four fifths of the pictures and tried on the rest, in turn. Each element is guessed by
itself: the true caption among those that swap that element. (Among all ten the true one would give itself
away, since seven captions share each of its elements; a model that scores them one by one cannot see that.)
So by chance a guess has P@1 of 1/64: it must be right about all three.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from virtue.evaluation.scar_files import ELEMENTS, ScarQuery

GUESSES = {"candidates": "candidates alone", "box": "box and candidates"}
"""What a guess sees, and how tables call it."""
FOLDS = 5
MIN_QUERIES = 2 * FOLDS
FEATURES = 1 << 14
"""Into how many numbers features are hashed."""
STEPS = 50
RATE = 0.3
DECAY = 1e-3
"""Weight of the squared weights in the loss, which keeps rare words from being learnt by heart."""
BINS = 3
"""Into how many parts the place and the size of a box are cut, along each side."""


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """The choices of one element, all queries together.

    Attributes:
        features: hashed features of all candidates, one after the other; `owner` says whose they are.
        query: for each candidate, which query it is of (rising); the first of a query is true.
        place: for each candidate, its place among the captions of its query.
    """

    features: np.ndarray
    owner: np.ndarray
    query: np.ndarray
    place: np.ndarray


def guess(queries: Sequence[ScarQuery], sizes: Sequence[tuple[int, int]] | None) -> list[list[float] | None]:
    """Guesses without the pictures.

    Args:
        sizes: width and height of each picture: the guess then also sees the box. None: it does not.

    Returns:
        For each query a score for each caption, in which the true one has 0 and another is above it where it
        is preferred; None where it is not known which element each swaps, or if there are too few queries.
    """
    known = [number for number, query in enumerate(queries) if set(ELEMENTS) <= set(query.swaps)]
    scores: list[list[float] | None] = [None] * len(queries)
    pictures = sorted({queries[number].picture for number in known})
    if len(pictures) < MIN_QUERIES:
        return scores
    fold_of = {picture: place % FOLDS for place, picture in enumerate(pictures)}
    folds = np.array([fold_of[queries[number].picture] for number in known])
    for number in known:
        scores[number] = [0.0] * len(queries[number].captions)
    for element in ELEMENTS:
        boxes = None if sizes is None else [_bin_box(queries[n], sizes[n]) for n in known]
        groups = _gather([queries[number] for number in known], element, boxes)
        for fold in range(FOLDS):
            weights = _learn(groups, folds != fold)
            guessed = _score(groups, weights)
            true = guessed[np.flatnonzero(groups.place == 0)]
            for at in np.flatnonzero((folds[groups.query] == fold) & (groups.place > 0)):
                row = scores[known[groups.query[at]]]
                assert row is not None
                row[groups.place[at]] = float(guessed[at] - true[groups.query[at]])
    return scores


def _bin_box(query: ScarQuery, size: tuple[int, int]) -> list[str]:
    """Says in words roughly where a box lies, and how large it is."""
    x, y, w, h = (value / length for value, length in zip(query.box.xywh, size * 2, strict=True))
    cut = [min(int(value * BINS), BINS - 1) for value in (x + w / 2, y + h / 2)]
    return [f"x{cut[0]}", f"y{cut[1]}", f"at{cut[0]}{cut[1]}", f"size{int(4 * np.sqrt(max(w * h, 0)))}"]


def _gather(queries: Sequence[ScarQuery], element: str, boxes: Sequence[list[str]] | None) -> _Groups:
    features: list[int] = []
    owner: list[int] = []
    of: list[int] = []
    places: list[int] = []
    for number, query in enumerate(queries):
        group = [place for place, swap in enumerate(query.swaps) if swap in (None, element)]
        words = [set(query.captions[place].lower().split()) for place in group]
        shared = set.intersection(*words)
        own = [sorted(some - shared) for some in words]
        for place, mine in zip(group, own, strict=True):
            others = {word for some in own for word in some} - set(mine)
            described = [*mine, *_pairs(mine, others), *_pairs(mine, boxes[number] if boxes else ())]
            features += [zlib.crc32(word.encode()) % FEATURES for word in described]
            owner += [len(of)] * len(described)
            of.append(number)
            places.append(place)
    return _Groups(np.array(features, int), np.array(owner, int), np.array(of, int), np.array(places, int))


def _pairs(words: Sequence[str], others: Sequence[str] | set[str]) -> Iterator[str]:
    return (f"{word}|{other}" for word in words for other in others)


def _score(groups: _Groups, weights: np.ndarray) -> np.ndarray:
    return np.bincount(groups.owner, weights[groups.features], len(groups.query))


def _learn(groups: _Groups, taken: np.ndarray) -> np.ndarray:
    """Learns weights of the features by softmax regression (Adagrad), on the queries that are taken."""
    weights, squares = np.zeros(FEATURES), np.full(FEATURES, 1e-8)
    is_taken = taken[groups.query]
    truth = (groups.place == 0).astype(float)
    share = 1 / max(taken.sum(), 1)
    for _ in range(STEPS):
        exponents = np.exp(_score(groups, weights).clip(-30, 30))
        sums = np.bincount(groups.query, exponents)
        error = (exponents / sums[groups.query] - truth) * is_taken * share
        slope = np.bincount(groups.features, error[groups.owner], FEATURES) + DECAY * weights
        squares += slope**2
        weights -= RATE * slope / np.sqrt(squares)
    return weights
