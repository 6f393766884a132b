"""Texts -> vectors, by the model's own tokenizer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from virtue.embedder.batching import Budget, room_on
from virtue.embedder.uploads import upload
from virtue.errors import InputError

FIRST_BATCH = 64
"""Texts that are tried first as one pass."""


class TextTower:
    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._budget = Budget(FIRST_BATCH, room_on(model.device))
        # A fast tokenizer keeps how it pads in itself, and fails when two threads set that at once.
        self._one_at_a_time = threading.Lock()
        self.limit = int(model.config.text_config.max_position_embeddings)
        # SigLIP was trained on texts padded to one length and takes no mask of the padding.
        self._padding = "longest" if model.config.model_type == "clip" else "max_length"

    def check_length(self, text: str) -> None:
        """Checks that the model can read the whole text.

        Raises:
            InputError: the text is longer than the model reads.
        """
        with self._one_at_a_time:
            length = len(self._tokenizer(text)["input_ids"])
        if length > self.limit:
            raise InputError(
                f"a text of {length} tokens is too long: this model reads {self.limit}; shorten it"
            )

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Returns (n, dim), not yet of unit length; every text has passed `check_length`."""
        return torch.stack(self._budget.run(texts, self._features))

    def _features(self, texts: Sequence[str]) -> Sequence[Tensor]:
        with self._one_at_a_time:
            words = self._tokenizer(
                list(texts), padding=self._padding, max_length=self.limit, return_tensors="pt"
            )
        placed = {name: upload(value, self._model.device) for name, value in words.items()}
        return list(self._model.get_text_features(**placed).pooler_output)
