"""Sample queries: what a library says itself, and what people look for anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Snapshot
    from virtue.store.records import Find, QueryKind

ENOUGH = 500
SOME = 4
"""One in so many everyday things is asked for to see how a library scores."""

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
    texts = [*snapshot.sample_texts(ENOUGH - len(EVERYDAY)), *EVERYDAY]
    return np.stack([rows[0] for rows in embedder.queries(texts, "regions")])


class SampleQueries:
    """The sample queries that a library is calibrated with: everyday things only, since a caption is too
    easily found by its own words."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: np.ndarray | None = None

    def __call__(self, find: Find, rows: np.ndarray) -> dict[QueryKind, np.ndarray]:
        return {"image": self._embedder.rows_as_queries(rows, find), "text": self._texts(find)}

    def _texts(self, find: Find) -> np.ndarray:
        """Most models ask alike whatever is looked for. One text tells; the others are not embedded again."""
        first, *others = EVERYDAY[::SOME]
        vector = self._embedder.query(first, find)[0]
        if self._known is None or not np.array_equal(self._known[0], vector):
            rest = [rows[0] for rows in self._embedder.queries(others, find)]
            self._known = np.stack([vector, *rest])
        return self._known
