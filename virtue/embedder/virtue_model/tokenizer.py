"""Texts -> token ids, by the model's own tokenizer.json."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from virtue.embedder.model_folder import reading, reason, shown
from virtue.errors import InputError, ModelError


class TextTokenizer:
    def __init__(self, file: Path, limit: int, vocabulary: int | None = None) -> None:
        """Reads a tokenizer.json, of a model that reads so many tokens of a text and knows so many.

        Raises:
            ModelError: the file is missing or no tokenizer.
        """
        if not file.is_file():
            raise ModelError(
                f"{file} is missing: copy tokenizer.json from the model that this one was made from"
            )
        self.file = file
        self.limit, self._vocabulary = limit, vocabulary
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # noqa: BLE001 - the Rust binding raises plain Exception
            raise ModelError(f"{shown(file)} is not a tokenizer: {reason(error)}") from None
        # The file may hold the settings of whoever saved it; cutting and padding are done elsewhere.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, text: str, may_be_empty: bool = False) -> tuple[int, ...]:
        """Tokenizes a text, without adding special tokens.

        Raises:
            InputError: the text is longer than the model reads, or holds no words it knows.
        """
        with reading(shown(self.file)):
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not ids and not may_be_empty:
            raise InputError("the text is empty: give at least one word")
        if len(ids) > self.limit:
            raise InputError(
                f"the text is {len(ids)} tokens long, more than the {self.limit} that this model reads: "
                "shorten it"
            )
        if self._vocabulary is not None and max(ids, default=0) >= self._vocabulary:
            raise ModelError(f"{shown(self.file)} knows more words than the model: download the model again")
        return tuple(ids)
