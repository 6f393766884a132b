"""What code gave for a photo in place of what the photo says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

KEYS = {"rating", "tags", "regions"}


@dataclass(frozen=True, slots=True)
class Given:
    """A rating, tags and regions that were given.

    Attributes:
        has_rating: whether `rating` counts; it may be that the photo shall have none.
        tags: None: those of the photo count.
        has_regions: whether regions were given, so that those marked in the photo's metadata do not count.
    """

    has_rating: bool = False
    rating: int | None = None
    tags: tuple[str, ...] | None = None
    has_regions: bool = False

    def to_json(self) -> str:
        """Returns this as text."""
        content: dict[str, Any] = {}
        if self.has_rating:
            content["rating"] = self.rating
        if self.tags is not None:
            content["tags"] = list(self.tags)
        if self.has_regions:
            content["regions"] = True
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str | None) -> Given:
        """Reads what `to_json` wrote; None: nothing was given.

        Raises:
            ValueError: it is not that.
        """
        if text is None:
            return cls()
        content = json.loads(text)
        if not isinstance(content, dict) or not content or not content.keys() <= KEYS:
            raise ValueError("what was given for a photo cannot be read")
        rating, tags = content.get("rating"), content.get("tags")
        whole = rating is None or (type(rating) is int and 0 <= rating <= 5)
        named = tags is None or (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags))
        if not (whole and named) or content.get("regions", True) is not True:
            raise ValueError("what was given for a photo cannot be read")
        return cls("rating" in content, rating, None if tags is None else tuple(tags), "regions" in content)


def is_given(text: str) -> bool:
    """Returns whether `Given.from_json` can read it."""
    try:
        Given.from_json(text)
    except (ValueError, RecursionError):
        return False
    return True
