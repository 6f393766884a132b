"""Text -> sentence vector: all-MiniLM-L6-v2 in ONNX Runtime."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from virtue.onnx_session import open_session

MAX_BATCH = 32
UNKNOWN = "[UNK]"
"""The token of every word that is not in the vocabulary."""


class TextEncoder:
    def __init__(self, folder: Path, max_tokens: int, threads: int | None) -> None:
        from tokenizers import Tokenizer

        self._session = open_session(folder / "text.onnx", threads)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def knows(self, text: str) -> bool:
        """Returns whether a text has a word of the vocabulary, punctuation aside."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return any(token != UNKNOWN and any(map(str.isalnum, token)) for token in encoded.tokens)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Encodes texts: (len(texts), 384) float32, means of token vectors, not yet of unit length.

        Texts of equal length run together, so nothing is padded and no text's vector depends on another, but
        for the last bit: ONNX Runtime adds up the tokens of one text alone in another order.
        """
        by_length: dict[int, list[int]] = defaultdict(list)
        encoded = [self._tokenizer.encode(text).ids for text in texts]
        for index, ids in enumerate(encoded):
            by_length[len(ids)].append(index)
        rows = np.zeros((len(texts), 384), np.float32)
        for indices in by_length.values():
            for start in range(0, len(indices), MAX_BATCH):
                some = indices[start : start + MAX_BATCH]
                tokens = np.array([encoded[index] for index in some], np.int64)
                given = {
                    "input_ids": tokens,
                    "attention_mask": np.ones_like(tokens),
                    "token_type_ids": np.zeros_like(tokens),
                }
                rows[some] = self._session.run(None, given)[0]
        return rows
