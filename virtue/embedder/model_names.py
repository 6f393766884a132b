"""Names of models.

A name is `mini`, a folder, or `owner/model` on the Hugging Face hub with perhaps `@revision`; a two-tower
model may end in `#attend`, `#roi`, `#crop` or `#circle`, which says how its regions get their vectors. The
whole name is what a library remembers, so that it is asked with the model that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from virtue.errors import ModelError

MINI = "mini"


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's name, parsed. `source` is a folder's path or `owner/model`."""

    source: str
    revision: str | None = None
    variant: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> ModelName:
        """Parses a name such as `owner/model@revision#variant`.

        Raises:
            ModelError: two revisions are named.
        """
        if text != MINI and Path(text).is_dir():  # the name of a folder may hold any sign
            return cls(text, revision)
        source, _, variant = text.partition("#")
        if Path(source).is_dir():
            return cls(source, revision, variant or None)
        source, _, named = source.partition("@")
        if named and revision and named != revision:
            raise ModelError(
                f"{text} names the revision {named}, and revision={revision!r} another: give one"
            )
        return cls(source, named or revision, variant or None)

    @property
    def is_folder(self) -> bool:
        return self.source != MINI and Path(self.source).is_dir()

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
        (MINI, 768, 40_000_000, "Apache-2.0", "bundled, for any machine; regions from feature maps"),
        ("google/siglip2-base-patch16-224", 768, 1_500_000_000, "Apache-2.0", "best without a GPU"),
        ("google/siglip2-base-patch32-256", 768, 1_510_000_000, "Apache-2.0", "nearly as good, faster"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 512, 605_000_000, "MIT", "CLIP, small, English"),
        ("google/siglip-base-patch16-224", 768, 813_000_000, "Apache-2.0", "SigLIP, English"),
        ("google/siglip2-so400m-patch14-384", 1152, 4_540_000_000, "Apache-2.0", "small details; GPU"),
        ("Sony/VIRTUE-2B-SCaR", 1536, 4_700_000_000, "CC-BY-NC-4.0 (non-commercial)", "scenes; GPU"),
        ("Sony/VIRTUE-7B-SCaR", 3584, 16_900_000_000, "CC-BY-NC-4.0 (non-commercial)", "scenes, large; GPU"),
    )
)  # fmt: skip
