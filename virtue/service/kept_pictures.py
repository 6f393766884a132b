"""Pictures that clients uploaded once, with what the model sees in them, kept for a while."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

from virtue.embedder.prepared import PreparedPicture
from virtue.pictures import Picture

MAX_PICTURES = 64
"""Pictures that are kept at once; the one that was used longest ago goes first."""
KEPT_SECONDS = 600
"""For which a picture is kept after it was last used."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptPicture:
    """A picture, prepared: `upright` for what is drawn on it, `whole` for the picture itself."""

    upright: PreparedPicture
    whole: Picture


class KeptPictures:
    """Pictures by ids that nobody can guess. Used by one thread."""

    def __init__(self, limit: int = MAX_PICTURES, seconds: float = KEPT_SECONDS) -> None:
        self._limit, self._seconds = limit, seconds
        self._pictures: OrderedDict[str, tuple[float, KeptPicture]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def add(self, picture: KeptPicture) -> str:
        """Keeps a picture, and returns its id."""
        self.drop_expired()
        while len(self._pictures) >= self._limit:
            self._pictures.popitem(last=False)
        picture_id = secrets.token_urlsafe(16)
        self._pictures[picture_id] = time.monotonic() + self._seconds, picture
        return picture_id

    def get(self, picture_id: str) -> KeptPicture | None:
        """Returns a picture, which is kept anew from now on; None: it is not there, or no longer."""
        self.drop_expired()
        found = self._pictures.get(picture_id)
        if found is None:
            return None
        self._pictures[picture_id] = time.monotonic() + self._seconds, found[1]
        self._pictures.move_to_end(picture_id)
        return found[1]

    def remove(self, picture_id: str) -> bool:
        return self._pictures.pop(picture_id, None) is not None

    def drop_expired(self) -> None:
        now = time.monotonic()
        while self._pictures and next(iter(self._pictures.values()))[0] < now:
            self._pictures.popitem(last=False)
