"""JPEG XL pictures as images of Pillow: libjxl decodes them (by imagecodecs, of the extra `formats`)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

from virtue.distribution import install_hint
from virtue.errors import PictureError
from virtue.formats import EXTRA
from virtue.pixels import DAMAGE

MAX_PIXELS = 64_000_000
"""Pixels of a JPEG XL, for which libjxl holds up to 30 bytes each."""
MAX_BOX = 10_000_000
"""Bytes that EXIF or XMP in a JPEG XL may unfold to."""

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
"""What a JPEG XL begins with."""

# Of libjxl's decode.h: what it answers, and what it is asked to stop at.
_SUCCESS, _BASIC_INFO, _COLOURS = 0, 0x40, 0x100
_OF_PIXELS = 1
# Of its codestream_header.h: where struct JxlBasicInfo has what, in 32-bit numbers.
_WIDTH, _HEIGHT, _BITS, _EXPONENT, _CHANNELS, _ALPHA, _PREMULTIPLIED = 1, 2, 3, 4, 13, 15, 17
_INFO_NUMBERS = 128


def is_jpeg_xl(head: bytes) -> bool:
    """Returns whether a file is a JPEG XL, by its first 16 bytes."""
    return head.startswith((CODESTREAM, CONTAINER))


class JxlImage(ImageFile.ImageFile):
    """A JPEG XL, opened: its header is read. It is upright: libjxl turns it, whatever its EXIF says. Of an
    animation it is the first frame."""

    format, format_description = "JXL", "JPEG XL"

    def _open(self) -> None:
        assert self.fp is not None
        self.fp.seek(0)
        self._content: bytes | None = self.fp.read()
        info, profile = _read_header(self._content)
        if profile[16:20] == b"CMYK":
            raise PictureError("a JPEG XL in CMYK: store it in RGB")
        self._size = info[_WIDTH], info[_HEIGHT]
        self._mode = ("L" if info[_CHANNELS] == 1 else "RGB") + ("A" if info[_ALPHA] else "")
        self._shift = None if info[_EXPONENT] or info[_BITS] > 16 else info[_BITS] - 8
        self._is_premultiplied = bool(info[_ALPHA] and info[_PREMULTIPLIED])
        if profile:
            self.info["icc_profile"] = profile
        for name, content in _boxes(self._content):
            if name == b"Exif":
                self.info.setdefault("exif", b"Exif\0\0" + content[4 + int.from_bytes(content[:4]) :])
            else:
                self.info.setdefault("xmp", content)

    def getexif(self) -> Image.Exif:
        exif = super().getexif()
        with suppress(KeyError):
            del exif[ExifTags.Base.Orientation]
        return exif

    def load(self) -> Any:
        if self._content is not None:
            content, self._content = self._content, None
            values = _imagecodecs().jpegxl_decode(content, index=0, numthreads=1)
            pixels = np.ascontiguousarray(self._as_bytes(values))
            mode = self.mode[:-1] + "a" if self._is_premultiplied else self.mode
            image = Image.frombytes(mode, self.size, pixels.tobytes())
            self.im = (image.convert(self.mode) if mode != self.mode else image).im
        return Image.Image.load(self)

    def _as_bytes(self, values: np.ndarray) -> np.ndarray:
        """Returns the samples as (height, width[, channels]) uint8."""
        channels = len(self.getbands())
        if values.shape[:2] != self.size[::-1]:  # gray with channels that are no alpha, each by itself
            values = values[0]
        if channels > 1 or values.ndim == 3:
            values = values.reshape(*self.size[::-1], -1)[:, :, :channels]
        if self._shift is None:
            return (np.nan_to_num(values.astype(np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        if self._shift > 0:
            return (values >> self._shift).astype(np.uint8)
        if self._shift < 0:
            return (values.astype(np.uint16) * 255 // ((1 << (8 + self._shift)) - 1)).astype(np.uint8)
        return values


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise PictureError(f"a JPEG XL: to have it read, {install_hint(EXTRA)}") from None
    return imagecodecs


@lru_cache(maxsize=1)
def _libjxl() -> ctypes.CDLL:
    """Opens the libjxl that imagecodecs has loaded, for what that does not tell: size and colours, before any
    pixel is decoded."""
    _imagecodecs()
    import imagecodecs._jpegxl as codec

    library = ctypes.CDLL(codec.__file__)
    try:
        library.JxlDecoderCreate.restype = ctypes.c_void_p
        for name in ("SetInput", "GetBasicInfo", "GetICCProfileSize", "GetColorAsICCProfile"):
            getattr(library, f"JxlDecoder{name}")
    except AttributeError:
        raise PictureError("a JPEG XL: the imagecodecs installed here hides its size") from None
    return library


def _read_header(content: bytes) -> tuple[Any, bytes]:
    """Returns the numbers of struct JxlBasicInfo, and the colour profile of the pixels as decoded."""
    library, info = _libjxl(), (ctypes.c_uint32 * _INFO_NUMBERS)()
    decoder = ctypes.c_void_p(library.JxlDecoderCreate(None))
    if not decoder:
        raise MemoryError
    try:
        library.JxlDecoderSubscribeEvents(decoder, _BASIC_INFO | _COLOURS)
        library.JxlDecoderSetInput(decoder, content, ctypes.c_size_t(len(content)))
        library.JxlDecoderCloseInput(decoder)
        for expected in (_BASIC_INFO, _COLOURS):
            if library.JxlDecoderProcessInput(decoder) != expected:
                raise PictureError("damaged picture (the header of a JPEG XL is cut off or makes no sense)")
        size = ctypes.c_size_t()
        library.JxlDecoderGetBasicInfo(decoder, info)
        if library.JxlDecoderGetICCProfileSize(decoder, _OF_PIXELS, ctypes.byref(size)) != _SUCCESS:
            return info, b""
        profile = ctypes.create_string_buffer(size.value)
        library.JxlDecoderGetColorAsICCProfile(decoder, _OF_PIXELS, profile, size)
        return info, profile.raw
    finally:
        library.JxlDecoderDestroy(decoder)


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the boxes of a container that hold EXIF ("Exif") or XMP ("xml "), unpacked."""
    place = 0
    while content.startswith(CONTAINER) and place + 8 <= len(content):
        length, name, start = int.from_bytes(content[place : place + 4]), content[place + 4 : place + 8], 8
        if length == 1:
            length, start = int.from_bytes(content[place + 8 : place + 16]), 16
        end = place + length if length else len(content)
        if end < place + start:
            return
        inside = content[place + start : end]
        if name == b"brob" and inside[:4] in (b"Exif", b"xml "):
            with suppress(*DAMAGE):
                yield inside[:4], bytes(_imagecodecs().brotli_decode(inside[4:], out=MAX_BOX))
        elif name in (b"Exif", b"xml "):
            yield name, inside
        place = end
