"""Texts to tune an index with: what a library says itself, and what people look for anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Snapshot

ENOUGH = 500

EVERYDAY = (
    "a dog", "a cat on a sofa", "a bird in a tree", "a horse in a field", "a cow", "a butterfly on a flower",
    "the sea", "a beach at sunset", "mountains with snow", "a river", "a waterfall", "a forest in autumn",
    "clouds", "the moon", "stars at night", "a rainbow", "a road", "a bridge", "a church", "a castle",
    "a house with a red roof", "a tall building", "a city at night", "a street with people", "a market",
    "a car", "a red car", "a bicycle", "a motorcycle", "a bus", "a train", "an aeroplane", "a boat", "a ship",
    "a man with a beard", "a woman with glasses", "a child playing", "a baby", "people laughing",
    "a family at a table", "a wedding", "a birthday cake", "a Christmas tree", "fireworks", "a concert",
    "football players", "someone running", "someone skiing", "swimming", "a cup of coffee", "a glass of wine",
    "a pizza", "a plate of food", "fruit", "bread", "a bottle", "a table and chairs", "a bed", "a window",
    "a door", "a lamp", "a clock", "a book", "a computer", "a telephone", "a camera", "a guitar", "a piano",
    "shoes", "a hat", "a blue dress", "an umbrella", "a bag", "flowers in a vase", "a garden", "a tree",
    "grass", "a statue", "a painting", "a sign with text", "a flag", "a ball", "a toy", "a tent", "a fire",
)  # fmt: skip


def tuning_texts(snapshot: Snapshot, embedder: Embedder) -> np.ndarray:
    """(n, dim) float32: queries for what the captions, categories and tags of this library say, and for
    everyday things; 500 at most. Never without the latter: captions may all speak of one thing."""
    texts = [*snapshot.words(ENOUGH - len(EVERYDAY)), *EVERYDAY]
    return np.concatenate([np.atleast_2d(embedder.query(text, "regions"))[:1] for text in texts])
