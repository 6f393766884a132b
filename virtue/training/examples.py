"""What is trained on: queries, what they should find, and what they should not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from virtue.geometry import Prompt
from virtue.pictures import Picture


@dataclass(frozen=True, slots=True)
class Side:
    """One thing to embed. The prompt is in pixels of the upright original, and not checked yet.

    Attributes:
        drawn_at: (width, height) of the copy of the picture in whose pixels the prompt is; None: of the
            original.
        instruction: as in `embedder.model.Item`; None: the model's own for such an item.
    """

    text: str | None = None
    image: Path | Picture | None = None
    prompt: Prompt | None = None
    drawn_at: tuple[int, int] | None = None
    instruction: str | None = None

    def has_picture(self) -> bool:
        """Returns whether its picture is there, or it needs none; the file is not opened."""
        return not isinstance(self.image, Path) or self.image.is_file()

    @property
    def content_id(self) -> int:
        """A number (int64) that equal things share."""
        prompt = self.prompt
        drawn = (
            (prompt.box, prompt.points, prompt.mask is not None and prompt.mask.tobytes()) if prompt else None
        )
        image = self.image if not isinstance(self.image, Picture) else id(self.image)
        content = repr((self.text, image, drawn, self.drawn_at, self.instruction))
        return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "big", signed=True)


@dataclass(frozen=True, slots=True)
class Example:
    query: Side
    positive: Side
    negatives: tuple[Side, ...] = ()
    """Hard negatives: what the query could be taken for."""

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.query, self.positive, *self.negatives


class Source(Protocol):
    """Rows of one kind. Another kind of data is one more class that offers this."""

    name: str
    weight: float
    """How often blocks are taken from it, beside the other sources."""
    is_cheap: bool
    """Whether rows can be read by the hundred thousand."""
    faults: list[str]
    """Sentences on what was left out when it was read."""

    def __len__(self) -> int: ...

    def example(self, row: int) -> Example:
        """Returns a row as an example.

        Raises:
            InputError: the row is broken; names it.
        """
