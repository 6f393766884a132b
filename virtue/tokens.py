"""Text -> tokens: what of a text is compared word for word.

The same for everything that is searched and for what is searched for, so that "Straße" is found by "strasse",
"IMG_0712" by "img 0712" and "東京タワー" by "東京".
"""

from __future__ import annotations

import re
import unicodedata

MAX_TOKEN = 64
"""Characters of a token that count."""

# Scripts that put no spaces between words, or particles behind them: Thai, Lao, Myanmar, Khmer, kana, Han,
# Hangul.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUNS = re.compile(rf"([{_UNSPACED}]+)|(\d+|(?:(?![{_UNSPACED}])[^\W\d_])+)")
_ASCII_RUNS = re.compile(r"[a-z]+|[0-9]+")
_VOICING = "\u3099\u309a"
"""Marks that make another kana, not an accent."""


def tokenize(text: str) -> list[str]:
    """Returns the tokens of a text in their order: runs of letters and runs of digits, without case, accents
    and other marks. Of scripts without spaces each character, and each two that are neighbours."""
    if text.isascii():
        return [run[:MAX_TOKEN] for run in _ASCII_RUNS.findall(text.lower())]
    tokens: list[str] = []
    for unspaced, run in _RUNS.findall(_fold(text)):
        if run:
            tokens.append(run[:MAX_TOKEN])
        for place, character in enumerate(unspaced):
            tokens.append(character)
            tokens += [unspaced[place : place + 2]] if place + 1 < len(unspaced) else []
    return tokens


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    parts = unicodedata.normalize("NFKD", plain)
    kept = (c for c in parts if c in _VOICING or unicodedata.category(c)[0] != "M")
    return unicodedata.normalize("NFC", "".join(kept))
