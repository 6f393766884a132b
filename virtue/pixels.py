"""Pixels of any mode -> RGB of the size that is wanted; never doubles the memory of a large picture."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

MAX_STRIP_PIXELS = 4_000_000
"""Pixels converted at a time, so that a conversion never doubles the memory of a large picture."""

DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
    AssertionError, EOFError, RuntimeError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and its plugins raise, by their sources and by fuzzing, on files that lie."""

COLOUR_STEPS = 9
"""Values of each channel at which a colour profile is tried."""
MAX_COLOUR_CHANGE = 6
"""Of 255: as far as sRGB profiles of different makers lie apart."""


def fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Returns the size of a picture whose long side is at most `side`, of the same aspect."""
    long = max(width, height)
    if long <= side:
        return width, height
    return max(1, round(width * side / long)), max(1, round(height * side / long))


def resize(
    image: Image.Image,
    original: tuple[int, int],
    side: int | None,
    convert: Callable[[Image.Image], Image.Image],
) -> Image.Image:
    """Converts and shrinks, strip by strip: a box filter by a whole factor, then bicubic.

    Args:
        original: size of the picture, of which `image` may be a reduced-scale decode.
        side: pixels on the long side of the result at most; None: the original's.
        convert: what to do to every strip before it is shrunk.
    """
    target = fit(*original, side) if side else original
    factor = max(1, min(image.width // target[0], image.height // target[1]) // 2)
    rows = max(1, MAX_STRIP_PIXELS // (image.width * factor)) * factor
    if factor == 1 and image.height <= rows:
        reduced = convert(image)
    else:
        reduced = _in_strips(image, factor, rows, convert)
    if reduced.size == target:
        return reduced
    # The last row and column of a reduction may stand for less than a whole cell.
    shrunk = original[0] / image.width if image.width < original[0] else 1.0
    scale = _nearest_scale(shrunk) * factor
    box = (0, 0, min(original[0] / scale, reduced.width), min(original[1] / scale, reduced.height))
    return reduced.resize(target, Image.Resampling.BICUBIC, box=box)


def _in_strips(
    image: Image.Image, factor: int, rows: int, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    result: Image.Image | None = None
    for top in range(0, image.height, rows):
        strip = convert(image.crop((0, top, image.width, min(top + rows, image.height))))
        if result is None:
            result = Image.new(strip.mode, (-(-image.width // factor), -(-image.height // factor)))
        result.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    assert result is not None, "a picture has at least one row"
    return result


def _nearest_scale(ratio: float) -> int:
    """Finds the scale at which libjpeg decodes: 1, 1/2, 1/4 or 1/8, with sizes rounded up."""
    return min((1, 2, 4, 8), key=lambda scale: abs(scale - ratio))


def converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Returns a function that turns a piece of this image into RGB (or leaves it in CMYK or LAB, for its
    profile)."""
    if image.mode.startswith("I;16"):
        return lambda strip: Image.fromarray((np.asarray(strip) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        low, high = _span(image)
        return lambda strip: _stretch(strip, low, high)
    if image.mode in ("RGB", "CMYK", "LAB") and not image.has_transparency_data:
        return lambda strip: strip
    if image.has_transparency_data:
        return lay_on_white
    return lambda strip: strip.convert("RGB")


def _span(image: Image.Image) -> tuple[float, float]:
    """The values that mean black and white in a picture of 32-bit integers or floats."""
    values = np.asarray(image)
    finite = values[np.isfinite(values)] if image.mode == "F" else values
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    ranges = (1.0, 255.0) if image.mode == "F" else (255.0, 65535.0)
    for top in ranges:
        if low >= 0 and high <= top:
            return 0.0, top
    return low, max(high, low + 1e-9)


def _stretch(strip: Image.Image, low: float, high: float) -> Image.Image:
    values = np.nan_to_num(np.asarray(strip, np.float64), nan=low, posinf=high, neginf=low)
    gray = ((values - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def lay_on_white(strip: Image.Image) -> Image.Image:
    """Lays what is transparent on white: RGB."""
    rgba = strip.convert("RGBA")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts to sRGB (from RGB, CMYK or LAB), by the ICC profile if there is one."""
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_transform()) or image
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        image = ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None: the profile is as good as sRGB, of another colour space than the pixels, or damaged; a picture is
    then shown as if it had none, as browsers do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != mode:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if mode == "RGB" and _changes_little(transform) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None


def _changes_little(transform: ImageCms.ImageCmsTransform) -> bool:
    """Returns whether no colour changes visibly. A profile's name says nothing: there is a linear sRGB."""
    steps = np.linspace(0, 255, COLOUR_STEPS).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(COLOUR_STEPS, -1, 3)
    changed = ImageCms.applyTransform(Image.fromarray(colours), transform)
    assert changed is not None
    return int(np.abs(np.asarray(changed, int) - colours).max()) <= MAX_COLOUR_CHANGE


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
