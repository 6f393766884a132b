"""A picture on which the image work was done, so that every prompt on it is a light step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from virtue.pictures import Picture


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPicture(Picture):
    """A picture with what a model sees in it. It stands wherever an image may stand; another model does the
    work again.

    Attributes:
        scene: as the model keeps it.
        fingerprint: of that model.
    """

    scene: Any = None
    fingerprint: str = ""
