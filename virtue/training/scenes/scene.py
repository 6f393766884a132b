"""What a scene consists of: a picture, its objects, and a question about each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from virtue.geometry import Box

ELEMENTS = ("object", "relation", "scene")
"""The three elements of a caption, each of which `SWAPS` of its distractors swap."""
SWAPS = 3


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and what it consists of.

    Attributes:
        subject: the object, as in "a frog".
        relation: a key of `RELATIONS`.
        phrase: the words for the relation, one of its phrases.
        other: the object that the relation is to; the only one of its name in the picture.
        scene: where all that is, as in "on a beach".
    """

    subject: str
    relation: str
    phrase: str
    other: str
    scene: str

    @property
    def text(self) -> str:
        return f"{self.subject} {self.phrase} {self.other}, {self.scene}"


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """A thing in a scene.

    Attributes:
        name: what it is, as in "a frog"; no other object of the scene has that name.
        mask: (height, width) bool, what can be seen of it.
        whole: (height, width) bool, what could be seen if nothing lay over it.
        box: the smallest box around `mask`, in pixels.
    """

    name: str
    mask: np.ndarray
    whole: np.ndarray
    box: Box


@dataclass(frozen=True, slots=True)
class Query:
    """A question: which of ten captions is true of an object of the scene?

    Attributes:
        object: its place in `Scene.objects`.
        captions: ten. The first is true; each other swaps one element of it.
        swaps: for each caption the element that it swaps, one of `ELEMENTS`; "" for the first.
        twin: of a bound query, which of the captions holds the relation that is true of another pair with
            the same object, while the true relation is false of that pair; else None.
    """

    object: int
    captions: tuple[Caption, ...]
    swaps: tuple[str, ...]
    twin: int | None = None

    @property
    def bound(self) -> bool:
        return self.twin is not None


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A composed picture of which everything is known.

    Attributes:
        index: its number; the same seed and number give the same scene.
        picture: (height, width, 3) uint8, RGB.
        objects: the things in it, in no particular order.
        queries: one for each object, in their order.
        ground: the words for where it is, as in "on a beach".
    """

    index: int
    picture: np.ndarray
    objects: tuple[SceneObject, ...]
    queries: tuple[Query, ...]
    ground: str

    @property
    def bound(self) -> bool:
        """Whether one of its queries is bound."""
        return any(query.bound for query in self.queries)
