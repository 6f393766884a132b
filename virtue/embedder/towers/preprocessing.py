"""Pictures -> what a vision tower takes, by the model's own preprocessing.

Resizing is the model's own, by Pillow on the processor: every checkpoint names a filter and a size, or a
number of patches, and its vectors are to be those that transformers gives. CLIP's crop to the middle square
is left out, since regions lie outside that too. What follows is arithmetic on pixels, which travel as bytes
and are normalised where the tower runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from virtue.errors import ModelError
from virtue.pictures import Picture
from virtue.resizing import FixedSize, PatchGrid, Resizing

MAX_ASPECT_RATIO = 8
"""Sides' ratio beyond which a centre crop is taken before the picture is enlarged for it, not after: a
line of pixels would be enlarged to gigabytes, of which all but the middle is thrown away."""
MAX_SIZE = 16_384
"""What no side, and no number of patches, of a preprocessed picture exceeds."""
CHANNELS = 3


class Preprocessing:
    """A transformers image processor, in its Pillow form: the same pixels with and without torchvision.

    Args:
        side: pixels on the side of the square that a processor which crops makes.
        crops: whether full pictures are cropped, if that is what the processor does.
    """

    def __init__(self, processor: Any, side: int, *, crops: bool) -> None:
        self._processor = processor
        self._side = side
        self._crops_by_itself = bool(getattr(processor, "do_center_crop", False))
        self._crops = crops and self._crops_by_itself

    @property
    def squeezes(self) -> bool:
        """Whether full pictures are squeezed into the square that the processor by itself would crop."""
        return self._crops_by_itself and not self._crops

    def check(self, vision: Any) -> None:
        """Checks that the processor makes what a vision tower of this configuration takes, by trying it.

        Raises:
            ModelError: its sizes, mean or deviation are none, or others than the tower's.
        """
        sizes = [
            size
            for name in ("size", "crop_size")
            for size in dict(getattr(self._processor, name, None) or {}).values()
        ]
        sizes.append(getattr(self._processor, "max_num_patches", None) or 1)
        if not all(type(size) in (int, float) and 0 < size <= MAX_SIZE for size in sizes if size is not None):
            raise ModelError(f"the image processor makes pictures of {sizes!r:.60} pixels: this cannot be")
        gray = Picture(np.full((6, 8, CHANNELS), 128, np.uint8), 8, 6)
        for rows in (self._process(gray.pixels), self.preprocess_uncropped(gray)):
            pixels = self.normalize(rows)["pixel_values"]
            if hasattr(vision, "image_size"):
                fits = pixels.shape == (1, CHANNELS, vision.image_size, vision.image_size)
            else:
                fits = pixels.ndim == 3 and pixels.shape[-1] == CHANNELS * vision.patch_size**2
            if not fits or not torch.isfinite(pixels).all():
                raise ModelError(
                    "the image processor does not make what the vision tower takes: download it again"
                )

    @property
    def resizing(self) -> Resizing | None:
        """The rule by which the processor makes all that a tower sees of a picture; None: it has no such
        rule, since it crops."""
        patches = getattr(self._processor, "max_num_patches", None)
        if patches is not None:
            return PatchGrid(self._processor.patch_size, patches, int(self._processor.resample))
        size = dict(getattr(self._processor, "size", None) or {})
        sides = [size.get("height"), size.get("width")]
        if self.squeezes:
            return FixedSize(self._side, self._side, int(self._processor.resample))
        if self._crops or not getattr(self._processor, "do_resize", False) or None in sides:
            return None
        return FixedSize(size["width"], size["height"], int(self._processor.resample))

    def shows_all(self, picture: Picture) -> bool:
        """Returns whether `preprocess` shows all of the picture."""
        if not self._crops:
            return True
        height, width = picture.pixels.shape[:2]
        return height == width and self._processor.size.shortest_edge == self._processor.crop_size.height

    def preprocess(self, picture: Picture) -> Mapping[str, Tensor]:
        """Prepares a picture as the model's own processor does, not yet normalised, one row."""
        if self._crops:
            return self._process(_cut_middle(picture.pixels))
        return self.preprocess_uncropped(picture)

    def preprocess_uncropped(self, picture: Picture) -> Mapping[str, Tensor]:
        """Prepares a picture as `preprocess` does, without cropping: the full picture is squeezed into the
        square, as SigLIP does."""
        if picture.resized is not None and picture.resized == self.resizing:
            return self._process(picture.pixels, do_resize=False, do_center_crop=False)
        if not self._crops_by_itself:
            return self._process(picture.pixels)
        size = {"height": self._side, "width": self._side}
        return self._process(picture.pixels, size=size, do_center_crop=False)

    def normalize(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalizes a batch of what `preprocess` gave by the model's mean and deviation, on its device."""
        values, processor = rows["pixel_values"].float(), self._processor
        # Pictures have channels first, patches (NaFlex) last: (n, 3, h, w) or (n, patches, p x p x 3).
        shape = values.shape
        values = values if len(shape) == 4 else values.unflatten(-1, (-1, CHANNELS)).movedim(-1, 1)
        if processor.do_rescale:
            values = values * processor.rescale_factor
        if processor.do_normalize:
            mean, deviation = (
                torch.tensor(part, device=values.device)[:, None, None]
                for part in (processor.image_mean, processor.image_std)
            )
            values = (values - mean) / deviation
        if len(shape) == 3:  # what pads a picture's patches stays zero
            values = values.movedim(1, -1).flatten(2) * rows["pixel_attention_mask"][..., None]
        return {**rows, "pixel_values": values}

    def _process(self, pixels: np.ndarray, **changes: Any) -> Mapping[str, Tensor]:
        return dict(
            self._processor(
                images=[Image.fromarray(pixels)],
                return_tensors="pt",
                do_rescale=False,
                do_normalize=False,
                **changes,
            )
        )


def _cut_middle(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    across, down = min(width, MAX_ASPECT_RATIO * height), min(height, MAX_ASPECT_RATIO * width)
    left, top = (width - across) // 2, (height - down) // 2
    return pixels[top : top + down, left : left + across]
