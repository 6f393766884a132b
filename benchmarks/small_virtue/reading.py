"""Reads captions: from the words to the parse that the caption tower takes.

The tokens are MiniLM's after its fourth layer, where the order of subject and object is still to be seen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.small_virtue.network import NAME, RELATIONS, CaptionTower, unit
from benchmarks.small_virtue.words import MAX_TOKENS, embed_words
from virtue.embedder.mini import FOLDER
from virtue.training import scenes

LAYER = "layer_norm_8"
"""The output of MiniLM's fourth layer in the bundled file."""
QUERIES = 12
HIDDEN = 768
BATCH = 512
RATE = 1e-3
TEMPERATURE = 0.05


@cache
def _open() -> tuple[Any, Any]:
    import onnx
    import onnxruntime
    from tokenizers import Tokenizer

    model = onnx.load(FOLDER / "text.onnx")
    shape = ["batch", "tokens", NAME]
    model.graph.output.append(onnx.helper.make_tensor_value_info(LAYER, onnx.TensorProto.FLOAT, shape))
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.enable_padding(length=None)
    tokenizer.enable_truncation(MAX_TOKENS)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    ), tokenizer


def read_tokens(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Computes token states (n, tokens, 384) float16, and which are words, (n, tokens) bool."""
    session, tokenizer = _open()
    encoded = tokenizer.encode_batch(list(texts))
    ids, words = (np.array([getattr(each, name) for each in encoded]) for name in ("ids", "attention_mask"))
    states = np.zeros((*ids.shape, NAME), np.float16)
    order = np.argsort(words.sum(axis=1))
    for some in np.array_split(order, max(len(order) // 64, 1)):
        length = words[some].sum(axis=1).max()
        tokens, mask = ids[some, :length], words[some, :length]
        given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        states[some, :length] = session.run([LAYER], given)[0]
    return torch.from_numpy(states), torch.from_numpy(words.astype(bool))


class CaptionReader(nn.Module):
    """Token states -> vectors of subject, other and place (batch, 384), and the odds of relations."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(QUERIES, NAME) * 0.02)
        self.norm = nn.LayerNorm(NAME)
        self.deep = nn.Sequential(nn.Linear(QUERIES * NAME, HIDDEN), nn.GELU(), nn.LayerNorm(HIDDEN))
        self.names = nn.Linear(HIDDEN + QUERIES * NAME, 3 * NAME)
        self.relation = nn.Linear(HIDDEN, RELATIONS)

    def forward(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        states = self.norm(states.float())
        odds = (states @ self.queries.T).masked_fill(~words[..., None], -1e4).softmax(1)
        pooled = (odds.transpose(1, 2) @ states).flatten(1)
        deep = self.deep(pooled)
        subject, other, place = self.names(torch.cat([deep, pooled], 1)).chunk(3, 1)
        return unit(subject), self.relation(deep), unit(other), unit(place)


def embed_captions(reader: CaptionReader, tower: CaptionTower, states: Tensor, words: Tensor) -> Tensor:
    """Embeds captions of which the parse is not known."""
    subject, relation, other, place = reader(states, words)
    bond = tower.shared.other(other) * (relation.softmax(-1) @ tower.relation.weight)
    vectors: Tensor = tower.shared.join(tower.shared.thing(subject), tower.shared.place(place), bond)
    return vectors


def write_captions(names: Sequence[str], grounds: Sequence[str], parse: np.ndarray) -> list[str]:
    """Writes captions (n, 5): subject, relation, phrase, other, ground."""
    phrases = [relation.phrases for relation in scenes.RELATIONS.values()]
    return [f"{names[s]} {phrases[r][p]} {names[o]}, {grounds[g]}" for s, r, p, o, g in parse]


def distil(
    tower: CaptionTower,
    names: Sequence[str],
    grounds: Sequence[str],
    *,
    captions: int = 40_000,
    steps: int = 300,
    seed: int,
) -> CaptionReader:
    """Teaches a reader by text alone: its vectors become those that the tower makes of the parse."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    parse = np.stack(
        [
            rng.integers(count, size=captions)
            for count in (len(names), RELATIONS, 3, len(names), len(grounds))
        ],
        1,
    )
    states, words = read_tokens(write_captions(names, grounds, parse))
    name_vectors, ground_vectors = embed_words(names), embed_words(grounds)
    reader = CaptionReader()
    optimizer = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
    began = time.monotonic()
    for step in range(steps):
        some = rng.integers(captions, size=BATCH)
        told = torch.from_numpy(parse[some])
        wanted = name_vectors[told[:, 0]], told[:, 1], name_vectors[told[:, 3]], ground_vectors[told[:, 4]]
        with torch.autocast("cpu", torch.bfloat16):
            read = reader(states[some], words[some])
            made = embed_captions(reader, tower, states[some], words[some]).float()
        with torch.no_grad():
            taught = tower(*wanted)
        loss = F.cross_entropy(made @ taught.T / TEMPERATURE, torch.arange(BATCH))
        loss = loss + 4 * (1 - (made * taught).sum(-1)).mean() + F.cross_entropy(read[1].float(), wanted[1])
        for place in (0, 2, 3):
            loss = loss + (1 - (read[place].float() * wanted[place]).sum(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            said = f"{step}/{steps} {time.monotonic() - began:.0f} s reader {loss.item():.3f}"
            print(said, file=sys.stderr, flush=True)
    return reader.eval()
