"""Texts -> vectors, by the model's own tokenizer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from virtue.embedder.batching import Budget, room_on
from virtue.embedder.model_folder import reading
from virtue.embedder.uploads import upload
from virtue.errors import InputError, ModelError

FIRST_BATCH = 64
"""Texts that are tried first as one pass."""


class TextTower:
    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._device = device
        self._budget = Budget(FIRST_BATCH, room_on(device))
        # A fast tokenizer keeps how it pads in itself, and fails when two threads set that at once.
        self._one_at_a_time = threading.Lock()
        self.limit = int(model.config.text_config.max_position_embeddings)
        is_siglip = model.config.model_type != "clip"
        self._vocabulary = int(model.config.text_config.vocab_size)
        # SigLIP was trained on texts padded to one length and takes no mask of the padding.
        self._padding = "max_length" if is_siglip else "longest"
        self.lowercases = is_siglip and not _ignores_case(tokenizer)
        """Whether texts are lower-cased here: SigLIP and SigLIP 2 were trained on such (arXiv 2502.14786),
        and Gemma's tokenizer, which comes with most of the latter, leaves that to the caller."""

    def check_length(self, text: str) -> None:
        """Checks that the model can read the whole text.

        Raises:
            InputError: the text is longer than the model reads.
        """
        with self._one_at_a_time, reading("the tokenizer"):
            length = len(self._tokenizer(self._prepare(text))["input_ids"])
        if length > self.limit:
            raise InputError(
                f"a text of {length} tokens is too long: this model reads {self.limit}; shorten it"
            )

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Returns (n, dim), not yet of unit length; every text has passed `check_length`."""
        return torch.stack(self._budget.run(texts, self._features))

    def _features(self, texts: Sequence[str]) -> Sequence[Tensor]:
        with self._one_at_a_time, reading("the tokenizer"):
            words = self._tokenizer(
                [self._prepare(text) for text in texts],
                padding=self._padding,
                max_length=self.limit,
                return_tensors="pt",
            )
            if int(words["input_ids"].max()) >= self._vocabulary:
                raise ModelError(
                    "the tokenizer knows more words than the text tower: download the model again"
                )
        placed = {name: upload(value, self._device) for name, value in words.items()}
        return list(self._model.get_text_features(**placed).pooler_output)

    def _prepare(self, text: str) -> str:
        return text.lower() if self.lowercases else text


def _ignores_case(tokenizer: Any) -> bool:
    return bool(tokenizer("A Red Mug")["input_ids"] == tokenizer("a red mug")["input_ids"])
