"""Words found letter for letter, in captions and names: names, places, numbers, other languages.

A document scores by the share of the query's words that it holds, each weighted by how rare it is. The share
is put on the scale of texts: what holds most of the query scores `match`, from where two texts speak of one
thing, and what is the query word for word scores 1.

Text that was read in photos holds many words that say nothing of what a photo shows. What is a small part of
it is only mentioned in passing.
"""

from __future__ import annotations

import math
from collections.abc import Set
from itertools import pairwise
from typing import Generic, NamedTuple

from virtue.retrieval.query import Query
from virtue.retrieval.ranked_records import Record
from virtue.retrieval.row_search import RowSearch
from virtue.store.catalogue.token_tables import MAX_DOCUMENTS, is_prefix
from virtue.store.records import Field
from virtue.tokens import tokenize

MAX_WORDS = 64
"""Words of a query that are looked for."""
MOST = 0.6
"""Share of the query's words, by their weight, from which on a document counts."""
PREFIX = 0.8
"""How much a longer number counts that only begins as the query's does."""
HOLDS_ALL = 0.9
"""Share of the way from `match` to 1 that all words of the query are worth among others; a caption goes the
rest as far as it holds nothing else."""

MIN_MISREAD = 6
"""Letters of a word that is found where one of them, in its second half, was read as another."""
TELLING = 0.25
"""Share of the words of a text that was read which the words of a query must make up, so that it tells of
them."""
MAX_TOGETHER = 64
"""Words of a text that was read in which several words of a query belong together."""

FEW = 200
"""Photos of a library in which a word may be looked for though most of them have it."""

ALL = 1 - 1e-9
"""The share of all words, but for rounding."""

FUNCTION_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "he", "her", "his",
    "i", "in", "into", "is", "it", "its", "me", "my", "of", "on", "or", "our", "s", "she", "t", "that",
    "the", "their", "them", "there", "these", "they", "this", "to", "was", "we", "were", "what", "where",
    "which", "who", "with", "you", "your", "am", "auf", "aus", "bei", "das", "dem", "den", "der", "des",
    "die", "ein", "eine", "einem", "einen", "einer", "eines", "es", "im", "ist", "mit", "und", "von",
    "vor", "zu", "zum", "zur", "au", "aux", "avec", "ce", "dans", "de", "du", "en", "et", "la", "le",
    "les", "ma", "mon", "par", "pour", "sa", "son", "sur", "un", "une", "con", "da", "del", "della", "di",
    "do", "dos", "e", "el", "gli", "il", "las", "los", "o", "para", "por", "se", "sin", "su", "sul", "um",
    "uma", "una", "y", "jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "heic", "heif", "avif",
))  # fmt: skip
"""Words that say nothing beside others, whatever a library holds; the ends of file names among them, which
names are kept without."""


class Found(NamedTuple, Generic[Record]):
    """What holds words of a query; `in_passing`: as few of many."""

    score: float
    record: Record
    in_passing: bool


class LiteralQuery:
    """The words of a query: each with the weight of its part."""

    def __init__(self, query: Query) -> None:
        self.wanted: dict[str, float] = {}
        for part in query.wanted:
            for token in tokenize(part.text or ""):
                self.wanted[token] = max(part.weight, self.wanted.get(token, 0))
        telling = {token: weight for token, weight in self.wanted.items() if token not in FUNCTION_WORDS}
        self.words = dict([*(telling or self.wanted).items()][:MAX_WORDS])
        self._joined = {one + other: {one, other} for one, other in pairwise(self.wanted)}
        """Two words as one: signs are often read without the space between them."""
        self.unwanted = {
            token for part in query.unwanted for token in tokenize(part.text or "")
        } - FUNCTION_WORDS

    def find(self, search: RowSearch[Record], field: Field, match: float, count: int) -> list[Found[Record]]:
        """Returns the best captions of `count` photos, or photos by their names (their full images), best
        first; of equal ones those first whose rows fit the query's vectors best. Of a photo that has both
        captions and text that was read, the best of either.

        Args:
            search: among captions, or among regions.
            match: the score of a document that holds just enough.
        """
        snapshot = search.snapshot
        counts = snapshot.count_tokens(field, [*self.words, *(self._joined if field == "caption" else ())])
        weights = self._weights(counts, snapshot.embedded_photos())
        total = sum(weights.values())
        needed = [token for token in _needed(weights, MOST * total) if counts.get(token)]
        joined = [token for token in self._joined if 0 < counts.get(token, 0) < MAX_DOCUMENTS]
        unseen = [word for word in self.words if not counts.get(word) and _may_be_misread(word)]
        stems = [f"{word[: -(-len(word) // 2)]}*" for word in unseen] if field == "caption" else []
        if not total or not (needed or joined or stems):
            return []
        rare = [token for token in needed if counts[token] < MAX_DOCUMENTS]
        held = [token for token, weight in weights.items() if weight and counts.get(token)]
        together = held if len(rare) < len(needed) else []
        documents = snapshot.find_tokens(field, rare + joined, together, search.filter)
        documents += snapshot.find_tokens(field, stems, filter=search.filter)
        scores: dict[int, float] = {}
        owners: dict[int, tuple[int, bool]] = {}
        passing: set[int] = set()
        for row, photo, tokens, is_read in documents:
            own = set(tokens)
            if is_read:
                own.update(*(self._joined[word] for word in own & self._joined.keys()))
                misread = [word for word in unseen if any(_is_nearly(word, token) for token in tokens)]
                own.update(misread)
            share = _weigh(own, weights) / total
            if share < MOST or own & self.unwanted:
                continue
            reach = (share - MOST) / (1 - MOST) * HOLDS_ALL
            if field == "caption" and share > ALL:
                reach += (1 - HOLDS_ALL) * len(own & self.wanted.keys()) / len(own)
            scores[row], owners[row] = match + (1 - match) * reach, (photo, is_read)
            if is_read and (misread or self._is_in_passing(own, share)):
                passing.add(row)
        if not scores:
            return []
        fits = dict(
            zip(scores, snapshot.scores(search.kind, [*scores], search.query.vectors).tolist(), strict=True)
        )
        best: dict[tuple[int, bool], int] = {}
        for row in sorted(scores, key=lambda row: (row in passing, -scores[row], -fits[row], row)):
            best.setdefault(owners[row], row)
        records = search.records.join([*best.values()][: 2 * count])
        return [Found(scores[record.row], record, record.row in passing) for record in records]

    def _is_in_passing(self, own: Set[str], share: float) -> bool:
        """Returns whether a text with these tokens holds this share of the query's words in passing. A number
        tells, wherever it is, and so do several words in a short text."""
        held = own & self.words.keys()
        if any(map(is_prefix, held)) or (len(held) > 1 and share > ALL and len(own) <= MAX_TOGETHER):
            return False
        return len(own & self.wanted.keys()) < TELLING * len(own)

    def _weights(self, counts: dict[str, int], photos: int) -> dict[str, float]:
        """Returns the weight of each word: none, if more than half of the library has it, unless the
        library is small and has no rarer word of the query."""
        weights = {
            token: weight * max(0.0, math.log((photos + 1) / (2 * max(counts.get(token, 0), 0.5))))
            for token, weight in self.words.items()
        }
        if photos > FEW or any(weights[token] and counts.get(token) for token in weights):
            return weights
        telling = {
            token: weight
            for token, weight in self.words.items()
            if 0 < counts.get(token, 0) < photos and token not in FUNCTION_WORDS
        }
        return telling or weights


def _needed(weights: dict[str, float], least: float) -> list[str]:
    """Returns words of which a document must hold one to reach this weight: those that weigh most, until the
    others weigh less."""
    ordered = sorted(weights, key=lambda token: -weights[token])
    left = sum(weights.values())
    needed = []
    for token in ordered:
        if left < least or not weights[token]:
            break
        needed.append(token)
        left -= weights[token]
    return needed


def _may_be_misread(word: str) -> bool:
    return len(word) >= MIN_MISREAD and word.isascii() and word.isalpha()


def _is_nearly(word: str, other: str) -> bool:
    """Returns whether two words differ in one letter: it is another one, one more or one less."""
    if abs(len(word) - len(other)) > 1 or word == other:
        return False
    same = next((n for n, (one, another) in enumerate(zip(word, other, strict=False)) if one != another), -1)
    same = min(len(word), len(other)) if same < 0 else same
    return any(word[same + one :] == other[same + another :] for one, another in ((1, 1), (1, 0), (0, 1)))


def _weigh(own: Set[str], weights: dict[str, float]) -> float:
    """Returns the weight of the words that a document with these tokens holds."""
    held = 0.0
    for token, weight in weights.items():
        if token in own:
            held += weight
        elif is_prefix(token) and any(other.startswith(token) for other in own):
            held += PREFIX * weight
    return held
