"""Bytes, a path or something in memory -> an upright RGB picture, within limits.

Reads JPEG, PNG, WebP, GIF (first frame), BMP, TIFF, HEIC and AVIF. The one place that decodes: what
was indexed and what is asked go the same way, so equal bytes give equal pixels.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TypeAlias

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from virtue.errors import PictureError, PromptError

MAX_DECODED = 100_000_000
"""Pixels that may be held at once: 400 MB in Pillow, whose RGB takes four bytes a pixel."""
MAX_DECLARED = 180_000_000
"""Pixels of a JPEG that is decoded at a reduced scale, so that few of them are ever held."""

_PLUGINS = (
    JpegImagePlugin, PngImagePlugin, WebPImagePlugin, GifImagePlugin, BmpImagePlugin, TiffImagePlugin,
    AvifImagePlugin,
)  # fmt: skip
"""Importing one registers its format. Without this Pillow would import its forty others to look for it."""
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
    )
)
"""File name endings of pictures, in lower case."""

DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
    AssertionError, EOFError, RuntimeError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and its plugins raise, by their sources and by fuzzing, on files that lie."""

STRIP = 4_000_000
"""Pixels converted at a time, so that a conversion never doubles the memory of a large picture."""
_ORIENTATION = 0x0112

File: TypeAlias = "bytes | str | os.PathLike[str] | os.PathLike[bytes] | IO[bytes]"
Source: TypeAlias = "str | os.PathLike[str] | os.PathLike[bytes] | bytes | Image.Image | np.ndarray | Picture"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An upright picture, perhaps smaller than its original.

    `pixels` is (h, w, 3) uint8 RGB; `width` and `height` are those of the upright original, the frame
    of every box, point and mask.
    """

    pixels: np.ndarray
    width: int
    height: int


def load(source: Source, *, side: int | None = None) -> Picture:
    """Reads a picture: upright by EXIF, in RGB, transparency laid on white.

    Args:
        source: a path (`str` or `os.PathLike`; names in no encoding as `os.fsdecode` gives them), the
            content of a file (`bytes`), a Pillow image, an array ((h, w), (h, w, 3) or (h, w, 4)
            uint8), or a `Picture`.
        side: pixels that the long side should have at most. A larger picture is shrunk, a JPEG
            already while it is decoded. Never enlarges. None: full size.

    Raises:
        PictureError: it cannot be read, is cut off, or is larger than the limits; names the file.
    """
    if isinstance(source, Picture):
        return source if side is None else shrink(source, side)
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        with _naming("the image in memory"):
            return decode(source, side)
    with _naming(_name(source)), open_image(source) as image:
        return decode(image, side)


def shrink(picture: Picture, side: int) -> Picture:
    """The picture with at most `side` pixels on its long side; itself if it is no larger."""
    height, width = picture.pixels.shape[:2]
    if max(width, height) <= side:
        return picture
    image = _resized(Image.fromarray(picture.pixels), (width, height), side, lambda strip: strip)
    return Picture(np.asarray(image), picture.width, picture.height)


def load_mask(source: Source, width: int, height: int) -> np.ndarray:
    """Reads a mask: (height, width) bool.

    What is lighter than mid-gray is meant; of a picture in one colour, what is more opaque than half.
    An array may also be bool, or hold 0 and 1.

    Raises:
        PictureError: it cannot be read.
        PromptError: its size is not that of the (upright) picture.
    """
    if isinstance(source, np.ndarray) and source.ndim == 2:
        mask = source if source.dtype == bool else source > (127 if source.max(initial=0) > 1 else 0.5)
    elif isinstance(source, np.ndarray | Picture):
        mask = load(source).pixels.mean(axis=2) > 127
    elif isinstance(source, Image.Image):
        with _naming("the mask in memory"):
            mask = _mask_of(source)
    else:
        with _naming(_name(source)), open_image(source) as image:
            mask = _mask_of(image)
    if mask.shape != (height, width):
        raise PromptError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]} pixels, the picture {width} x {height} "
            "(upright): they must agree"
        )
    return mask


def printable(path: str | bytes) -> str:
    """A path as text that can be shown anywhere; bytes of no encoding as \\xNN."""
    raw = path if isinstance(path, bytes) else os.fsencode(path)
    return raw.decode("utf-8", "backslashreplace")


# -- the two steps of reading, apart for whoever needs the open file's metadata in between -----------


@contextmanager
def open_image(source: File) -> Iterator[ImageFile.ImageFile]:
    """Opens a picture (bytes: its content; or an open file) and reads its header, no pixels.

    Raises:
        PictureError: with the reason alone, also for what goes wrong while the image is used.
    """
    with _own_limits(), _plain_words(), _stream(source) as stream:
        head = stream.read(16)
        stream.seek(0)
        if not head:
            raise PictureError("the file is empty (0 bytes)")
        formats = FORMATS
        if head[4:8] == b"ftyp":
            _register_heif()
            formats = (*FORMATS, "HEIF")
        with Image.open(stream, formats=formats) as image:
            yield image


def decode(image: Image.Image, side: int | None = None) -> Picture:
    """The upright RGB picture of an opened image. Arguments as for `load`.

    Raises:
        PictureError: with the reason alone.
    """
    with _own_limits(), _plain_words():
        declared = image.size
        reducible = isinstance(image, JpegImagePlugin.JpegImageFile) and not image.info.get("progressive")
        # libjpeg keeps all coefficients of a progressive JPEG, whatever the scale it is decoded at
        if declared[0] * declared[1] > (MAX_DECLARED if reducible else MAX_DECODED):
            raise _too_large(declared, MAX_DECLARED if reducible else MAX_DECODED)
        if side is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, _fit(*declared, side))
        if image.size[0] * image.size[1] > MAX_DECODED:
            raise _too_large(image.size, MAX_DECODED)
        held = image.size
        image.load()
        if not isinstance(image, JpegImagePlugin.JpegImageFile) or held == declared:
            declared = image.size  # Pillow turns a TIFF upright while loading it
        upright = _orientation(image)
        rgb = _resized(image, declared, side, _converter(image))
        rgb = _into_srgb(rgb, image.info.get("icc_profile"))
        if upright is not None:
            rgb = rgb.transpose(upright)
            if upright in _SWAPS:
                declared = declared[::-1]
        return Picture(np.asarray(rgb), *declared)


def weight(image: Image.Image, side: int | None) -> int:
    """About how many bytes decoding an opened image takes."""
    width, height = image.size
    if isinstance(image, JpegImagePlugin.JpegImageFile) and not image.info.get("progressive"):
        fit = _fit(width, height, side) if side else image.size
        return 16 * fit[0] * fit[1]
    return 8 * width * height if image.mode in ("I", "F", "CMYK") else 6 * width * height


# -- shape and colour ---------------------------------------------------------------------------------


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    long = max(width, height)
    if long <= side:
        return width, height
    return max(1, round(width * side / long)), max(1, round(height * side / long))


def _resized(
    image: Image.Image,
    original: tuple[int, int],
    side: int | None,
    convert: Callable[[Image.Image], Image.Image],
) -> Image.Image:
    """Converts and shrinks, strip by strip: a box filter by a whole factor, then bicubic.

    `original` may be larger than the image, which then is a reduced-scale decode of it."""
    target = _fit(*original, side) if side else original
    factor = max(1, min(image.width // target[0], image.height // target[1]) // 2)
    rows = max(1, STRIP // (image.width * factor)) * factor
    if factor == 1 and image.height <= rows:
        reduced = convert(image)
    else:
        size = (-(-image.width // factor), -(-image.height // factor))
        reduced = Image.new("RGB", size)
        for top in range(0, image.height, rows):
            strip = convert(image.crop((0, top, image.width, min(top + rows, image.height))))
            if strip.mode != reduced.mode:
                reduced = Image.new(strip.mode, size)
            reduced.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    if reduced.size == target:
        return reduced
    # The last row and column of a reduction may stand for less than a whole cell.
    shrunk = original[0] / image.width if image.width < original[0] else 1.0
    scale = _nearest_scale(shrunk) * factor
    box = (0, 0, min(original[0] / scale, reduced.width), min(original[1] / scale, reduced.height))
    return reduced.resize(target, Image.Resampling.BICUBIC, box=box)


def _nearest_scale(ratio: float) -> int:
    """libjpeg decodes at 1, 1/2, 1/4 or 1/8 and rounds the size up."""
    return min((1, 2, 4, 8), key=lambda scale: abs(scale - ratio))


def _converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What turns a piece of this image into RGB (or leaves it in CMYK or LAB, for its profile)."""
    if image.mode.startswith("I;16"):
        return lambda strip: Image.fromarray((np.asarray(strip) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        low, high = _span(image)
        return lambda strip: _stretched(strip, low, high)
    if image.mode in ("RGB", "CMYK", "LAB") and not image.has_transparency_data:
        return lambda strip: strip
    if image.has_transparency_data:
        return _on_white
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


def _stretched(strip: Image.Image, low: float, high: float) -> Image.Image:
    values = np.nan_to_num(np.asarray(strip, np.float64), nan=low, posinf=high, neginf=low)
    gray = ((values - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def _on_white(strip: Image.Image) -> Image.Image:
    rgba = strip.convert("RGBA")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _into_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_transform()) or image
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        image = ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None: the profile is sRGB, of another colour space than the pixels, or damaged; a picture is
    then shown as if it had none, as browsers do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space != mode or "srgb" in (source.profile.profile_description or "").lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS = (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])


def _orientation(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except DAMAGE:  # damaged metadata turns nothing, as in every viewer
        return None


def _mask_of(image: Image.Image) -> np.ndarray:
    if image.width * image.height > MAX_DECODED:
        raise _too_large(image.size, MAX_DECODED)
    image.load()
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return np.asarray(_converter(upright)(upright).convert("L")) > 127
    rgba = upright.convert("RGBA")
    opaque, gray = np.asarray(rgba.getchannel("A")) > 127, np.asarray(rgba.convert("L"))
    return opaque if gray.min() == gray.max() else opaque & (gray > 127)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype == np.uint8 and array.size and array.ndim in (2, 3):
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[:, :, 0]
        if array.ndim == 2 or array.shape[2] in (3, 4):
            return Image.fromarray(np.ascontiguousarray(array))
    raise PictureError(
        f"an array of shape {array.shape} and type {array.dtype} is not a picture: "
        "give (height, width), (height, width, 3) or (height, width, 4) uint8"
    )


# -- files and what goes wrong with them --------------------------------------------------------------


@contextmanager
def _stream(source: File) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    if not isinstance(source, str | os.PathLike):
        yield source
        return
    check_file(source)
    with open(source, "rb") as stream:
        yield stream


def check_file(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> os.stat_result:
    """Raises:
    PictureError: the path is not that of a readable regular file; the reason alone."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        broken = os.path.islink(path)
        raise PictureError("a link that leads nowhere" if broken else "there is no such file") from None
    except PermissionError:
        raise PictureError("permission denied") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
        raise PictureError(getattr(error, "strerror", None) or str(error)) from None
    if stat.S_ISDIR(status.st_mode):
        raise PictureError("a folder, not a picture")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("not a regular file")
    return status


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from None


def _name(source: bytes | str | os.PathLike[str] | os.PathLike[bytes]) -> str:
    return "the given bytes" if isinstance(source, bytes) else printable(os.fspath(source))


@contextmanager
def _plain_words() -> Iterator[None]:
    try:
        yield
    except (PictureError, PromptError):
        raise
    except Image.UnidentifiedImageError:
        raise PictureError(
            "not a picture that virtue can read (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF), or damaged"
        ) from None
    except PermissionError:
        raise PictureError("permission denied") from None
    except (MemoryError, Image.DecompressionBombError):
        raise PictureError("there is not enough memory to decode it") from None
    except DAMAGE as error:
        if "truncated" in str(error).lower():
            raise PictureError("cut off: the file ends before the picture does") from error
        said = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"damaged picture ({said})") from error


def _too_large(size: tuple[int, int], limit: int) -> PictureError:
    return PictureError(
        f"{size[0]} x {size[1]} pixels is {size[0] * size[1] / 1e6:.0f} megapixels, "
        f"more than the {limit / 1e6:.0f} that virtue decodes: store a smaller copy"
    )


class _Limits:
    """Pillow's own guard against bombs is one global that warns; ours names the size and is checked
    before anything is decoded. So Pillow's is off exactly while a picture of ours is read."""

    lock = threading.Lock()
    users = 0
    before: int | None = None


@contextmanager
def _own_limits() -> Iterator[None]:
    with _Limits.lock:
        if _Limits.users == 0:
            _Limits.before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _Limits.users += 1
    try:
        yield
    finally:
        with _Limits.lock:
            _Limits.users -= 1
            if _Limits.users == 0:
                Image.MAX_IMAGE_PIXELS = _Limits.before


@lru_cache(maxsize=1)
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener()
