"""Tokens: the same for what is searched and for what is searched for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtue.tokens import MAX_TOKEN, tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Greek coins from Pompeii", ["greek", "coins", "from", "pompeii"]),
        ("4711-Q", ["4711", "q"]),
        ("IMG_0712.jpg", ["img", "0712", "jpg"]),
        ("Grandma's birthday", ["grandma", "s", "birthday"]),
        ("Straße", ["strasse"]),
        ("Café, ÜBERGRÖSSE", ["cafe", "ubergrosse"]),
        ("cafe\u0301", ["cafe"]),
        ("ＩＭＧ②", ["img", "2"]),
        ("東京", ["東", "東京", "京"]),
        ("東京タワー 2024", ["東", "東京", "京", "京タ", "タ", "タワ", "ワ", "ワー", "ー", "2024"]),
        ("ガ", ["ガ"]),
        ("カ", ["カ"]),
        ("서울", ["서", "서울", "울"]),
        ("Москва", ["москва"]),
        ("Ἀθήνα", ["αθηνα"]),
        ('AND "NEAR" (x*) :', ["and", "near", "x"]),
        ("a\udc80b", ["a", "b"]),
        ("...", []),
    ],
)
def test_a_text_has_these_tokens(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@given(st.text(max_size=200))
def test_tokens_can_be_stored_with_spaces_between_them(text: str) -> None:
    tokens = tokenize(text)
    assert " ".join(tokens).split() == tokens
    assert all(0 < len(token) <= MAX_TOKEN and token.casefold() == token for token in tokens)
