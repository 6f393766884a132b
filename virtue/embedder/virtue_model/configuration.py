"""What a VIRTUE model is, apart from its weights: the layout of its sequence, its switches, its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from virtue.embedder.virtue_model.instructions import PUBLISHED, PUBLISHED_DEFAULTS
from virtue.errors import ModelError

Layout = Literal["published", "image-first"]
BoxFrame = Literal["scaled", "unscaled"]
Resize = Literal["device", "pillow", "published"]

MODEL_TYPE = "virtue"
"""`model_type` in the config.json of a folder in virtue's own layout."""
CELL = 28
"""Pixels on a side of what becomes one image token: 14-pixel patches, merged 2 x 2."""
PUBLISHED_MIN_PIXELS = CELL * CELL * 4
PUBLISHED_MAX_PIXELS = CELL * CELL * 1280
PUBLISHED_SQUARE = 1344
"""Bounds that the published code puts on a picture, whatever its preprocessor_config.json says, and the side
of the square that its evaluation makes of every picture before."""

NEWER_SETTINGS = ("matryoshka", "dim")
"""Settings that models from before they existed do not have."""
MAX_PIXELS = 16 * PUBLISHED_MAX_PIXELS
"""What no number of a configuration may exceed."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings of one model; the defaults are those of models trained here.

    Attributes:
        layout: order of the sequence. "published": segmentation, image, text, as in the paper (arXiv
            2510.00523, section 3). "image-first": image, segmentation, text, so that the image's part
            is computed once for all regions of a picture (attention is causal).
        segmentation_tokens: how many tokens the prompted map becomes: a square number whose root
            divides the map's side (16, 64 or 256 for SAM 2.1 at 1,024 pixels).
        double_normalisation: the segmentation model sees the resized picture normalised by CLIP's and
            then by ImageNet's mean and deviation, as the released connectors were trained.
        flat_positions: segmentation tokens at position 0, all others one after the other from
            `segmentation_tokens` on (256), as the released weights were trained. Otherwise image and
            segmentation tokens have rows and columns, as in Qwen2-VL.
        box_frame: "scaled": prompts reach the segmentation model in its own frame. "unscaled": boxes
            keep the picture's pixels, as in the published evaluation on SCaR.
        resize: how a picture gets the size at which the vision tower sees it. "device": where the network
            runs. "pillow": on the processor, by the filter that the released weights were trained with,
            bit for bit. "published": the same, of a picture that was squashed to 1,344 x 1,344 pixels before,
            as in the published evaluation (which then sees 980 x 980).
        min_pixels, max_pixels: bounds on the area at which the vision tower sees a picture.
        side: pixels on the long side beyond which a picture is shrunk while it is decoded; None: never.
        max_text_tokens: a longer text is an error.
        text_match: dot product from which on two texts speak of one thing.
        instructions: name -> template; see `instructions.py`.
        defaults: kind of item -> name of the instruction it gets when the caller names none.
        matryoshka: how many of its first numbers a vector may be cut to, as it was trained for.
        dim: to how many it is cut; None: to none.
        proposal_quality, proposal_stability: what a proposed mask must reach (SAM 2.1's own filters).
    """

    layout: Layout = "image-first"
    segmentation_tokens: int = 64
    double_normalisation: bool = False
    flat_positions: bool = False
    box_frame: BoxFrame = "scaled"
    resize: Resize = "device"
    min_pixels: int = PUBLISHED_MIN_PIXELS
    max_pixels: int = PUBLISHED_MAX_PIXELS
    side: int | None = 2048
    max_text_tokens: int = 4096
    text_match: float = 0.7
    instructions: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    proposal_quality: float = 0.8
    proposal_stability: float = 0.92
    matryoshka: tuple[int, ...] = ()
    dim: int | None = None

    def __post_init__(self) -> None:
        if self.layout not in ("published", "image-first"):
            raise ModelError(f"layout {self.layout!r} is unknown: use 'published' or 'image-first'")
        if self.box_frame not in ("scaled", "unscaled"):
            raise ModelError(f"box_frame {self.box_frame!r} is unknown: use 'scaled' or 'unscaled'")
        if self.resize not in get_args(Resize):
            raise ModelError(f"resize {self.resize!r} is unknown: use one of {', '.join(get_args(Resize))}")
        if self.segmentation_tokens < 1 or self.segmentation_side**2 != self.segmentation_tokens:
            raise ModelError(
                f"{self.segmentation_tokens} segmentation tokens are no square: use 256, 64 or 16"
            )
        if self.min_pixels > self.max_pixels:
            raise ModelError(f"min_pixels is {self.min_pixels}, more than max_pixels, {self.max_pixels}")
        for kind, name in self.defaults.items():
            if name not in self.instructions:
                raise ModelError(f"the instruction {name!r}, the default of {kind!r}, is not among them")

    @property
    def segmentation_side(self) -> int:
        return round(self.segmentation_tokens**0.5)

    @classmethod
    def published(cls, **changes: Any) -> Configuration:
        """Returns the settings of the released weights (research code at sony/virtue, 36d8a8b)."""
        settings: dict[str, Any] = {
            "layout": "published",
            "segmentation_tokens": 256,
            "double_normalisation": True,
            "flat_positions": True,
            "resize": "pillow",
            "side": 4096,
            "instructions": PUBLISHED,
            "defaults": PUBLISHED_DEFAULTS,
        }
        return cls(**settings | changes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Configuration:
        """Reads settings from a dict.

        Raises:
            ModelError: a setting that this version does not know.
        """
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ModelError(
                f"the model's configuration holds {', '.join(unknown)}, which this version of virtue does "
                "not know: update virtue"
            )
        for name, value in values.items():
            if not _is_setting(name, value):
                raise ModelError(
                    f"the model's configuration says {name} = {value!r:.60}, which cannot be: get it again"
                )
        return cls(**{**values, "matryoshka": tuple(values.get("matryoshka", ()))})

    def to_dict(self) -> dict[str, Any]:
        made = asdict(self) | {"instructions": dict(self.instructions), "defaults": dict(self.defaults)}
        # Left out where they say nothing: fingerprints are of this.
        made["matryoshka"] = list(self.matryoshka)
        return {name: value for name, value in made.items() if name not in NEWER_SETTINGS or value}


def _is_setting(name: str, value: Any) -> bool:
    """Returns whether a value is of the type, and in the range, that a setting has."""
    if name in ("instructions", "defaults"):
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    if name == "matryoshka":
        return isinstance(value, list) and all(type(dim) is int and 0 < dim <= MAX_PIXELS for dim in value)
    default = getattr(Configuration(), name)
    if name in ("side", "dim"):
        return value is None or (type(value) is int and 0 < value <= MAX_PIXELS)
    if isinstance(default, float):
        return type(value) in (int, float)
    return type(value) is type(default) and (type(value) is not int or 0 < value <= MAX_PIXELS)
