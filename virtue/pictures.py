"""Bytes, a path or something in memory -> an upright RGB picture, within limits.

Reads JPEG, PNG, WebP, GIF (first frame), BMP, TIFF, HEIC and AVIF, and RAW (`raw`) and JPEG XL (`jpeg_xl`)
with the extra `formats`. The one place that decodes: what was indexed and what is asked go the same way, so
equal bytes give equal pixels.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TypeAlias

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from virtue.errors import PictureError, PromptError, UnreadableError
from virtue.jpeg_xl import MAX_PIXELS as MAX_JPEG_XL
from virtue.jpeg_xl import JxlImage, is_jpeg_xl
from virtue.paths import printable
from virtue.pixels import DAMAGE, convert_to_srgb, converter, fit, lay_on_white, resize
from virtue.raw import RawImage, is_raw
from virtue.resizing import Resizing
from virtue.transparency import OPAQUE, fill_transparent

MAX_DECODED = 100_000_000
"""Pixels that may be held at once: 400 MB in Pillow, whose RGB takes four bytes a pixel."""
MAX_WEBP = 64_000_000
"""Pixels of a WebP, for which Pillow holds 17 bytes each."""
MAX_SCANNED = 20_000_000_000
"""Pixels that all scans of a JPEG may go over: encoders make some ten scans, and a few bytes ask for one."""
MAX_DECLARED = 180_000_000
"""Pixels of a JPEG that is decoded at a reduced scale, or of a RAW, so that few of them are ever held."""

_PLUGINS = (
    JpegImagePlugin, PngImagePlugin, WebPImagePlugin, GifImagePlugin, BmpImagePlugin, TiffImagePlugin,
    AvifImagePlugin,
)  # fmt: skip
"""Importing one registers its format. Without this Pillow would import its forty others to look for it."""
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_ASKED_BY_CONTENT = (errno.EINVAL, errno.EOVERFLOW)
"""What systems answer to a file's own wrong numbers, such as a place before its beginning."""

_ORIENTATION = 0x0112
_XMP = ("xmp", "XML:com.adobe.xmp")
MAX_PNG_TEXT = 64_000_000
"""Bytes that texts and profiles in a PNG may unfold to; Pillow allows one million."""

File: TypeAlias = "bytes | str | os.PathLike[str] | os.PathLike[bytes] | IO[bytes]"
Source: TypeAlias = "str | os.PathLike[str] | os.PathLike[bytes] | bytes | Image.Image | np.ndarray | Picture"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An upright picture, perhaps smaller than its original.

    `pixels` is (h, w, 3) uint8 RGB; `width` and `height` are those of the upright original, the frame
    of every box, point and mask. `resized` is the rule of a model by which the pixels were resized; None:
    they are as they were decoded. `alpha` is (h, w) uint8 where a part is transparent and that was kept
    apart, else None.
    """

    pixels: np.ndarray
    width: int
    height: int
    resized: Resizing | None = None
    alpha: np.ndarray | None = None

    def resize_by(self, rule: Resizing | None) -> Picture:
        """Returns the picture resized by the rule; itself if there is none, or that was done before."""
        if rule is None or self.resized == rule:
            return self
        return Picture(rule(self.pixels), self.width, self.height, rule)


def load(source: Source, *, side: int | None = None, keep_alpha: bool = False) -> Picture:
    """Reads a picture: upright by EXIF, in RGB, transparency laid on white.

    Args:
        source: a path (`str` or `os.PathLike`; names in no encoding as `os.fsdecode` gives them), the
            content of a file (`bytes`), a Pillow image, an array ((h, w), (h, w, 3) or (h, w, 4)
            uint8), or a `Picture`.
        side: pixels that the long side should have at most. A larger picture is shrunk, a JPEG
            already while it is decoded. Never enlarges. None: full size.
        keep_alpha: `alpha` of the picture says what is transparent, and so is white. A `Picture` is taken as
            it is.

    Raises:
        PictureError: it cannot be read, is cut off, or is larger than the limits; names the file.
    """
    if isinstance(source, Picture):
        return source if side is None else shrink(source, side)
    if isinstance(source, np.ndarray):
        source = _image_from_array(source)
    if isinstance(source, Image.Image):
        with _name_in_errors("the image in memory"):
            return decode(source, side, keep_alpha=keep_alpha)
    with _name_in_errors(_name(source)), open_image(source) as image:
        return decode(image, side, keep_alpha=keep_alpha)


def load_cutout(source: Source, *, side: int | None = None, crop: bool = True) -> Picture:
    """Reads a picture as `load` does, but keeps apart what is transparent: it is filled with blurred colours
    of the edge, and `alpha` says what is not.

    Args:
        source, side: as for `load`. A `Picture` is taken as it is.
        crop: to what is not transparent; the frame of the picture is then that part.

    Raises:
        PictureError: as for `load`; or all of it is transparent.
    """
    if isinstance(source, Picture):
        return load(source, side=side)
    if isinstance(source, np.ndarray):
        source = _image_from_array(source)
    if isinstance(source, Image.Image):
        with _name_in_errors("the image in memory"):
            return _decode_cutout(source, side, crop)
    with _name_in_errors(_name(source)), open_image(source) as image:
        return _decode_cutout(image, side, crop)


def _decode_cutout(image: Image.Image, side: int | None, crop: bool) -> Picture:
    if not image.has_transparency_data or image.width * image.height > _max_pixels(image):
        return decode(image, side)
    with _own_limits(), _translate_errors():
        _show_invisible(image)
        alpha = image.convert("RGBA").getchannel("A")
        opacity = np.asarray(alpha)
        if opacity.min() >= OPAQUE:
            return decode(image, side)
        if not (most := int(opacity.max())):
            raise PictureError("all of it is transparent: there is nothing to search for")
        upright = _orientation(image)
        profile = image.info.get("icc_profile")
        if crop:
            image = image.crop(alpha.point([255 * (2 * value >= most) for value in range(256)]).getbbox())
        rgba = resize(image, image.size, side, lambda strip: strip.convert("RGBA"))
        if upright is not None:
            rgba = rgba.transpose(upright)
        width, height = image.size[::-1] if upright in _SWAPS else image.size
        seen = np.asarray(rgba.getchannel("A"))
        pixels = np.asarray(convert_to_srgb(rgba.convert("RGB"), profile))
        return Picture(fill_transparent(pixels, seen), width, height, alpha=seen)


def shrink(picture: Picture, side: int) -> Picture:
    """Returns the picture with at most `side` pixels on its long side; itself if it is no larger."""
    height, width = picture.pixels.shape[:2]
    if max(width, height) <= side:
        return picture
    image = resize(Image.fromarray(picture.pixels), (width, height), side, lambda strip: strip)
    alpha = picture.alpha
    if alpha is not None:
        alpha = np.asarray(Image.fromarray(alpha).resize(image.size, Image.Resampling.BICUBIC))
    return Picture(np.asarray(image), picture.width, picture.height, alpha=alpha)


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
        with _name_in_errors("the mask in memory"):
            mask = _decode_mask(source)
    else:
        with _name_in_errors(_name(source)), open_image(source) as image:
            mask = _decode_mask(image)
    if mask.shape != (height, width):
        raise PromptError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]} pixels, the picture {width} x {height} "
            "(upright): they must agree"
        )
    return mask


# -- the two steps of reading, apart for whoever needs the open file's metadata in between -----------


@contextmanager
def open_image(source: File) -> Iterator[ImageFile.ImageFile]:
    """Opens a picture (bytes: its content; or an open file) and reads its header, no pixels.

    Raises:
        PictureError: with the reason alone, also for what goes wrong while the image is used.
    """
    with _own_limits(), _translate_errors(), _stream(source) as stream:
        head = stream.read(16)
        if not head:
            raise PictureError("the file is empty (0 bytes)")
        with _open(stream, head) as image:
            yield image


def _open(stream: IO[bytes], head: bytes) -> ImageFile.ImageFile:
    if is_jpeg_xl(head):
        return JxlImage(stream)
    if is_raw(stream, head):
        return RawImage(stream)
    stream.seek(0)
    formats = FORMATS
    if head[4:8] == b"ftyp":
        _register_heif()
        _check_heif_items(stream.read())
        stream.seek(0)
        formats = (*FORMATS, "HEIF")
    if head[:2] in (b"II", b"MM"):
        _silence_libtiff()
    return Image.open(stream, formats=formats)


def decode(image: Image.Image, side: int | None = None, *, keep_alpha: bool = False) -> Picture:
    """Decodes an opened image to an upright RGB picture on white. The arguments are those of `load`.

    Raises:
        PictureError: with the reason alone.
    """
    with _own_limits(), _translate_errors():
        declared = _original_size(image)
        if declared[0] * declared[1] > (limit := _max_pixels(image)):
            raise _too_large(declared, limit)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            _check_scans(image)
        if side is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, fit(*declared, side))
        if image.size[0] * image.size[1] > MAX_DECODED:
            raise _too_large(image.size, MAX_DECODED)
        _check_planes(image)
        held = image.size
        image.load()
        _show_invisible(image)
        if isinstance(image, RawImage):
            declared, long = image.original_size, max(image.size)
            side = long if side is None else min(side, long)
        elif held == declared:
            declared = image.size  # Pillow turns a TIFF upright while loading it
        upright = _orientation(image)
        alpha = None
        if keep_alpha and _may_be_transparent(image):
            rgba = resize(image, declared, side, lambda strip: strip.convert("RGBA"))
            rgb, alpha = lay_on_white(rgba), rgba.getchannel("A")
            opacity = np.asarray(alpha)
            if opacity.min() >= OPAQUE or not opacity.any():  # of a picture of nothing, white is all there is
                alpha = None
        else:
            rgb = resize(image, declared, side, converter(image))
        rgb = convert_to_srgb(rgb, image.info.get("icc_profile"))
        if upright is not None:
            rgb, alpha = rgb.transpose(upright), alpha and alpha.transpose(upright)
            if upright in _SWAPS:
                declared = declared[::-1]
        return Picture(np.asarray(rgb), *declared, alpha=None if alpha is None else np.asarray(alpha))


def _original_size(image: Image.Image) -> tuple[int, int]:
    return image.original_size if isinstance(image, RawImage) else image.size


def _max_pixels(image: Image.Image) -> int:
    """Returns how many pixels an image of its kind may have."""
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        return MAX_WEBP
    if isinstance(image, JxlImage):
        return MAX_JPEG_XL
    if isinstance(image, RawImage):
        return MAX_DECLARED if image.is_mosaic else MAX_DECODED
    # libjpeg keeps all coefficients of a progressive JPEG, whatever the scale it is decoded at
    is_reducible = isinstance(image, JpegImagePlugin.JpegImageFile) and not image.info.get("progressive")
    return MAX_DECLARED if is_reducible else MAX_DECODED


def _may_be_transparent(image: Image.Image) -> bool:
    """Returns whether a part of a decoded image may be transparent: screenshots have alpha too."""
    if "A" in image.getbands():
        return bool(np.asarray(image.getchannel("A")).min() < OPAQUE)
    return image.has_transparency_data


@lru_cache(maxsize=1)
def reader() -> str:
    """Names what reads pictures here, with its versions: what one cannot read, another may."""
    from importlib.metadata import PackageNotFoundError, version

    import pi_heif
    import PIL
    from PIL import features

    from virtue import __version__

    packages = [f"virtue {__version__}", f"Pillow {PIL.__version__}", f"pi-heif {pi_heif.__version__}"]
    codecs = [f"{name} {features.version(name)}" for name in ("avif", "webp", "libtiff", "jpg")]
    extras = []
    for name in ("rawpy", "imagecodecs"):
        with suppress(PackageNotFoundError):
            extras.append(f"{name} {version(name)}")
    return ", ".join(packages + codecs + extras)


def estimate_memory(image: Image.Image, side: int | None) -> int:
    """Estimates how many bytes decoding an opened image takes."""
    width, height = image.size
    if isinstance(image, JpegImagePlugin.JpegImageFile) and not image.info.get("progressive"):
        reduced = fit(width, height, side) if side else image.size
        # Twice the wanted size each way at most, since scales are powers of two.
        return min(16 * reduced[0] * reduced[1], 6 * width * height)
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        return 17 * width * height
    if isinstance(image, JxlImage):
        return 30 * width * height
    if isinstance(image, RawImage):
        return 20 * width * height  # of a mosaic, these are a quarter of its places
    return 8 * width * height if image.mode in ("I", "F", "CMYK") else 6 * width * height


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
    """Returns how EXIF turns an image. Like browsers, and unlike Pillow, it does not go by XMP."""
    xmp = {name: image.info.pop(name) for name in _XMP if name in image.info}
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except DAMAGE:  # damaged metadata turns nothing, as in every viewer
        return None
    finally:
        image.info.update(xmp)


def orientation_of(image: Image.Image) -> int:
    """Returns how the pixels of an opened file are turned upright (EXIF's 1 to 8), as `decode` does it. Of a
    TIFF this is known until it is decoded."""
    original = image.info.get("original_orientation")  # of a HEIC, which comes upright
    if original in _TURNS:
        return int(original)
    turn = _orientation(image)
    return next((number for number, each in _TURNS.items() if each == turn), 1)


def _check_planes(image: Image.Image) -> None:
    """Raises PictureError for a TIFF that Pillow would read as noise."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    depth, planes = (
        tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)),
        tags.get(TiffImagePlugin.PLANAR_CONFIGURATION),
    )
    if planes == 2 and len(depth) > 1 and max(depth) > 8:
        raise PictureError(
            f"a TIFF of {max(depth)} bits with separate planes: store it with interleaved ones"
        )
    is_ycbcr = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 6
    if is_ycbcr and len(depth) == 3 and any("RGBX" in (tile.args or ()) for tile in image.tile):
        raise PictureError("a TIFF of uncompressed YCbCr, which Pillow reads from version 13 on: update it")


def _show_invisible(image: Image.Image) -> None:
    """Makes a BMP opaque whose alpha is zero throughout: many programs leave that byte empty."""
    is_bmp = isinstance(image, BmpImagePlugin.BmpImageFile) and image.mode == "RGBA"
    if is_bmp and not image.getchannel("A").getextrema()[1]:
        image.putalpha(255)


def _check_scans(image: JpegImagePlugin.JpegImageFile) -> None:
    """Raises PictureError if a JPEG goes over its pixels far more often than any encoder has it do."""
    stream = image.fp
    if stream is None or stream.closed:
        return
    place, count, last = stream.tell(), 0, b""
    first = stream.read(3)  # of the header of the first scan, where opening stops: its length and components
    stream.seek(0)
    if first[2:] == bytes([image.layers]) and not image.info.get("progressive"):
        stream.seek(place)
        return  # it holds all there is
    while part := stream.read(1 << 20):
        count += (last + part).count(b"\xff\xda")
        last = part[-1:]
    stream.seek(place)
    if count * image.width * image.height > MAX_SCANNED:
        raise PictureError(f"{count:,} scans of {image.width} x {image.height} pixels: store it anew")


def _decode_mask(image: Image.Image) -> np.ndarray:
    if image.width * image.height > (limit := min(_max_pixels(image), MAX_DECODED)):
        raise _too_large(image.size, limit)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        _check_scans(image)
    _check_planes(image)
    image.load()
    _show_invisible(image)
    turn = _orientation(image)
    upright = image if turn is None else image.transpose(turn)
    if not upright.has_transparency_data:
        return np.asarray(converter(upright)(upright).convert("L")) > 127
    rgba = upright.convert("RGBA")
    opaque, gray = np.asarray(rgba.getchannel("A")) > 127, np.asarray(rgba.convert("L"))
    return opaque if gray.min() == gray.max() else opaque & (gray > 127)


def _image_from_array(array: np.ndarray) -> Image.Image:
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
    """Checks that the path is a readable regular file.

    Raises:
        PictureError: the path is not that of a regular file; the reason alone.
        UnreadableError: it cannot be looked at now.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        broken = os.path.islink(path)
        raise UnreadableError("a link that leads nowhere" if broken else "there is no such file") from None
    except OSError as error:
        raise UnreadableError(_os_reason(error)) from None
    except ValueError as error:  # a path with a zero byte in it
        raise PictureError(str(error)) from None
    if stat.S_ISDIR(status.st_mode):
        raise PictureError("a folder, not a picture")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("not a regular file")
    return status


@contextmanager
def _name_in_errors(name: str) -> Iterator[None]:
    try:
        yield
    except PictureError as error:
        raise type(error)(f"{name}: {error}") from None


def _name(source: bytes | str | os.PathLike[str] | os.PathLike[bytes]) -> str:
    return "the given bytes" if isinstance(source, bytes) else printable(os.fspath(source))


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except (PictureError, PromptError):
        raise
    except Image.UnidentifiedImageError:
        raise PictureError(
            "not a picture that virtue can read (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF, JPEG XL, RAW), "
            "or damaged"
        ) from None
    except (MemoryError, Image.DecompressionBombError):
        raise UnreadableError("there is not enough memory to decode it") from None
    except DAMAGE as error:
        if "MAX_TEXT" in str(error) or "Too much memory used in text" in str(error):
            raise PictureError(
                f"texts or profiles of more than {MAX_PNG_TEXT / 1e6:.0f} MB in a PNG: store it without them"
            ) from None
        if isinstance(error, OSError) and error.errno not in (None, *_ASKED_BY_CONTENT):
            raise UnreadableError(_os_reason(error)) from None
        if "out of memory" in str(error).lower():  # of a codec
            raise UnreadableError("there is not enough memory to decode it") from None
        if "truncated" in str(error).lower():
            raise PictureError("cut off: the file ends before the picture does") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"damaged picture ({reason})") from error


def _os_reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _too_large(size: tuple[int, int], limit: int) -> PictureError:
    return PictureError(
        f"{size[0]} x {size[1]} pixels is {size[0] * size[1] / 1e6:.0f} megapixels, "
        f"more than the {limit / 1e6:.0f} that virtue decodes: store a smaller copy"
    )


class _Limits:
    """Turns Pillow's guards against decompression bombs off while one of our pictures is read. They are
    globals; ours names the size, before anything is decoded."""

    lock = threading.Lock()
    users = 0
    before: tuple[int | None, int, int] = (None, 0, 0)


@contextmanager
def _own_limits() -> Iterator[None]:
    with _Limits.lock:
        if _Limits.users == 0:
            _Limits.before = (
                Image.MAX_IMAGE_PIXELS,
                PngImagePlugin.MAX_TEXT_CHUNK,
                PngImagePlugin.MAX_TEXT_MEMORY,
            )
            Image.MAX_IMAGE_PIXELS = None
            PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_PNG_TEXT
        _Limits.users += 1
    try:
        yield
    finally:
        with _Limits.lock:
            _Limits.users -= 1
            if _Limits.users == 0:
                (
                    Image.MAX_IMAGE_PIXELS,
                    PngImagePlugin.MAX_TEXT_CHUNK,
                    PngImagePlugin.MAX_TEXT_MEMORY,
                ) = _Limits.before


@lru_cache(maxsize=1)
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener()


_HEIF_ITEM = re.compile(rb"infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2}", re.DOTALL)
"""The head of the box of an item; its kind and names follow."""


def _check_heif_items(content: bytes) -> None:
    """Raises PictureError for kinds and names of items that are no text, where pi-heif 1.4 would end the
    process."""
    for item in _HEIF_ITEM.finditer(content):
        start = item.start() - 4
        size = int.from_bytes(content[start : item.start()])
        try:
            content[item.end() : start + size if size > 1 else None].decode()
        except UnicodeDecodeError:
            raise PictureError("damaged picture (the name of a part of it is no text)") from None


@lru_cache(maxsize=1)
def _silence_libtiff() -> None:
    """Has libtiff say nothing on file descriptor 2, past every stream: Pillow raises what is an error."""
    import ctypes

    with suppress(AttributeError, OSError):  # a Pillow that hides its libtiff; then it speaks
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
