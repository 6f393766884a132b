"""Names of models.

A name is `mini`, a folder, or `owner/model` on the Hugging Face hub with perhaps `@revision`; a two-tower
model may end in `#attend`, `#roi`, `#crop` or `#circle`, which says how its regions get their vectors, and
VIRTUE in `#published` or `#max-pixels=N`, which say how pictures are resized, or `#dim=N`, which says where
vectors are cut. The whole name is what a library remembers, so that it is asked with the model that made it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from virtue.errors import ModelError

MINI = "mini"
REPOSITORY_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
REVISION = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*")
"""What lies below the hub's cache, so it must not lead out of there."""
MAX_SHOWN = 100
"""Characters of a name that a message shows."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's name, parsed. `source` is a folder's path if `is_folder`, else `mini` or `owner/model`."""

    source: str
    revision: str | None = None
    variant: str | None = None
    is_folder: bool = False

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> ModelName:
        """Parses a name such as `owner/model@revision#variant`, which a user or a program gives. A folder of
        that name goes before the hub.

        Raises:
            ModelError: two revisions are named, or one that is none.
        """
        if text != MINI and os.path.isdir(text):  # the name of a folder may hold any sign
            return cls(text, revision, is_folder=True)
        source, _, variant = text.partition("#")
        if os.path.isdir(source):
            return cls(source, revision, variant or None, is_folder=True)
        source, _, named = source.partition("@")
        if named and revision and named != revision:
            raise ModelError(
                f"{text} names the revision {named}, and revision={revision!r} another: give one"
            )
        revision = named or revision
        if revision and not REVISION.fullmatch(revision):
            raise ModelError(f"{revision!r} is no revision: name a branch, tag or commit")
        return cls(source, revision, variant or None)

    @classmethod
    def of_library(cls, text: str) -> ModelName:
        """Parses the name that a library remembers. Anybody may have written it, so it means nothing relative
        to the working directory.

        Raises:
            ModelError: it is no name, or the folder that it names is not there.
        """
        path, _, variant = text.partition("#")
        if os.path.isabs(path) and text.isprintable():
            if not os.path.isdir(text) and not os.path.isdir(path):
                raise ModelError(
                    f"the model of this library, {text}, is not there: put its folder back, or reindex with "
                    "another model",
                    hint="virtue reindex --model NAME",
                )
            return cls.parse(text)
        source, _, revision = path.partition("@")
        if source != MINI and not REPOSITORY_NAME.fullmatch(source):
            raise ModelError(
                f"the library names {text[:MAX_SHOWN]!r} as its model, which is neither a whole path nor a "
                "name on the hub: reindex with a model of yours",
                hint="virtue reindex --model NAME",
            )
        if revision and not REVISION.fullmatch(revision):
            raise ModelError(f"{revision[:MAX_SHOWN]!r} is no revision: reindex with a model of yours")
        return cls(source, revision or None, variant or None)

    def with_variant(self, variant: str, given: str) -> ModelName:
        """Returns the name with this variant, which was asked for as `given`.

        Raises:
            ModelError: it names another.
        """
        if self.variant not in (None, variant):
            raise ModelError(f"{self} names #{self.variant}, and {given} another: give one")
        return replace(self, variant=variant)

    def __str__(self) -> str:
        source = str(Path(self.source).resolve()) if self.is_folder else self.source
        at = f"@{self.revision}" if self.revision and not self.is_folder else ""
        return source + at + (f"#{self.variant}" if self.variant else "")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A recommended model. `size` is that of the download, in bytes, rounded."""

    name: str
    dim: int
    size: int
    licence: str
    what: str


KNOWN_MODELS = tuple(
    KnownModel(*row)
    for row in (
        (MINI, 784, 40_000_000, "Apache-2.0", "bundled, for any machine; regions from feature maps"),
        ("google/siglip2-base-patch16-224", 768, 1_500_000_000, "Apache-2.0", "best without a GPU"),
        ("google/siglip2-base-patch32-256", 768, 1_510_000_000, "Apache-2.0", "nearly as good, faster"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 512, 605_000_000, "MIT", "CLIP, small, English"),
        ("google/siglip-base-patch16-224", 768, 813_000_000, "Apache-2.0", "SigLIP, English"),
        ("google/siglip2-so400m-patch14-384", 1152, 4_540_000_000, "Apache-2.0", "small details; GPU"),
        ("Sony/VIRTUE-2B-SCaR", 1536, 4_700_000_000, "CC-BY-NC-4.0 (non-commercial)", "scenes; GPU"),
        ("Sony/VIRTUE-7B-SCaR", 3584, 16_900_000_000, "CC-BY-NC-4.0 (non-commercial)", "scenes, large; GPU"),
    )
)  # fmt: skip
