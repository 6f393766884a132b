"""Sample queries: what a library says itself, what people look for anyway, and common nouns."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from virtue.store.calibration import SampleQueries

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Snapshot
    from virtue.store.records import Find, QueryKind

MAX_TEXTS = 500
"""Queries that an index is tuned with."""
NOUNS = "common_nouns.txt"
"""Names of common things, one a line, most of which a library does not have: what is searched for to see how
high the best hit scores where the answer is missing. What nearly every library shows is not among them."""

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
    """Embeds queries to tune with, (n, dim) float32, 500 at most: from captions, categories and tags of this
    library, and everyday things, since captions may all speak of one thing."""
    texts = [*snapshot.sample_texts(MAX_TEXTS - len(EVERYDAY)), *EVERYDAY]
    return _first_vectors(embedder, texts, "regions")


class CalibrationQueries:
    """Makes the queries that a library is calibrated with (`virtue.store.calibration.MakeQueries`): its own
    regions as pictures, and common nouns."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._texts: dict[Find | None, np.ndarray] = {}

    def __call__(self, find: Find, rows: np.ndarray) -> dict[QueryKind, SampleQueries]:
        texts = self._encode_nouns(find)
        baselines = None if find == "captions" else self._embedder.text_baselines(texts)
        return {
            "image": SampleQueries(self._embedder.rows_as_queries(rows, find)),
            "text": SampleQueries(texts, baselines),
        }

    def _encode_nouns(self, find: Find) -> np.ndarray:
        """Most models ask alike whatever is looked for; then the nouns are embedded once."""
        key = find if any(map(self._embedder.depends_on_find, common_nouns())) else None
        if key not in self._texts:
            self._texts[key] = _first_vectors(self._embedder, common_nouns(), find)
        return self._texts[key]


def common_nouns() -> list[str]:
    return files("virtue.retrieval").joinpath(NOUNS).read_text(encoding="utf-8").splitlines()


def _first_vectors(embedder: Embedder, texts: Sequence[str], find: Find) -> np.ndarray:
    """Embeds texts, (n, dim) float32: one vector each, the plainest."""
    return np.stack([rows[0] for rows in embedder.queries(texts, find)])
