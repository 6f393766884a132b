"""RAW photos as images of Pillow: LibRaw demosaics them (by rawpy, of the extra `formats`).

The frame of a RAW photo, in which its boxes are, is the whole upright picture that LibRaw makes of it. Its
pixels are of half that size, one for each 2 x 2 of the sensor: no colour has to be guessed, and no model
looks closer. The small picture inside the file never takes their place.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from PIL import ExifTags, Image, ImageFile, JpegImagePlugin

from virtue.distribution import install_hint
from virtue.errors import PictureError, UnreadableError
from virtue.formats import EXTRA, RAW
from virtue.pixels import DAMAGE

if TYPE_CHECKING:
    import rawpy

MAX_IFDS, MAX_ENTRIES = 16, 512
"""Directories of a TIFF that are looked at to tell whether it is a RAW, and entries of each."""
MAX_CR3_HEAD = 1_000_000
"""Bytes in which a CR3 has its metadata."""

_SRGB_GAMMA = (2.4, 12.92)
_MAGIC = (b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")
"""What RAF, X3F, MRW, RW2 and ORF begin with."""
_DNG_VERSION, _SUB_IFDS, _PHOTOMETRIC, _XMP = 0xC612, 0x014A, 0x0106, 0x02BC
_CFA, _LINEAR_RAW = 32803, 34892
"""Photometric interpretations of pixels that are still to be demosaiced, or were in a DNG."""


def is_raw(stream: IO[bytes], head: bytes) -> bool:
    """Returns whether a file is a RAW photo, by what it holds (16 bytes of it are `head`); where that may be
    one as well as a plain TIFF, its name counts."""
    if head.startswith(_MAGIC) or head[4:12] == b"ftypcrx " or head[6:14] == b"HEAPCCDR":
        return True
    name = getattr(stream, "name", "")
    named = isinstance(name, str | bytes) and os.path.splitext(os.fsdecode(name))[1].lower() in RAW
    if head[:4] not in (b"II*\0", b"MM\0*"):
        return named and not _is_plain(head)
    if named or head[8:10] == b"CR":
        return True
    with suppress(*DAMAGE):
        return _holds_raw(stream)
    return False


def _is_plain(head: bytes) -> bool:
    """Returns whether a file begins like a picture of another kind, whatever its name."""
    return head.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"RIFF")) or head[4:8] == b"ftyp"


def _holds_raw(stream: IO[bytes]) -> bool:
    """Returns whether a TIFF has pixels of a sensor in one of its directories."""
    stream.seek(0)
    order = "<" if stream.read(2) == b"II" else ">"
    stream.seek(4)
    waiting, seen = [stream.read(4)], set[bytes]()
    while waiting and len(seen) < MAX_IFDS:
        place = waiting.pop()
        if place in seen or len(place) < 4:
            continue
        seen.add(place)
        stream.seek(struct.unpack(order + "I", place)[0])
        (count,) = struct.unpack(order + "H", stream.read(2).ljust(2, b"\0"))
        directory = stream.read(12 * min(count, MAX_ENTRIES) + 4)
        for start in range(0, len(directory) - 12, 12):
            tag, kind, length = struct.unpack_from(order + "HHI", directory, start)
            value = directory[start + 8 : start + 12]
            if tag == _DNG_VERSION:
                return True
            if tag == _PHOTOMETRIC and struct.unpack(order + "HH", value)[0] in (_CFA, _LINEAR_RAW):
                return True
            if tag == _SUB_IFDS and length == 1:
                waiting.append(value)
            elif tag == _SUB_IFDS and kind in (4, 13):
                stream.seek(struct.unpack(order + "I", value)[0])
                places = stream.read(4 * min(length, MAX_IFDS))
                waiting += [places[k : k + 4] for k in range(0, len(places), 4)]
        if len(directory) % 12 == 4:
            waiting.append(directory[-4:])
    return False


class RawImage(ImageFile.ImageFile):
    """A RAW photo, opened: its header is read. Loading it demosaics it.

    Attributes:
        original_size: width and height of its frame; `size` is that of its pixels.
        is_mosaic: whether these are half as large; not those of sensors that see all colours at each place.
    """

    format, format_description = "RAW", "RAW photo"
    original_size: tuple[int, int]
    is_mosaic: bool

    def _open(self) -> None:
        stream = self.fp
        assert stream is not None
        stream.seek(0)
        with _own_words():
            self._raw: rawpy.RawPy | None = _rawpy().RawPy()
            self._raw.open_buffer(stream)
            sizes, taken = self._raw.sizes, self._raw.other.timestamp
            self.is_mosaic = self._raw.raw_pattern is not None
        turned = bool(sizes.flip & 4)
        self.original_size = (sizes.height, sizes.width) if turned else (sizes.width, sizes.height)
        width, height = self.original_size
        self._size = ((width + 1) // 2, (height + 1) // 2) if self.is_mosaic else (width, height)
        self._mode = "RGB"
        self._details = _read_exif(stream)
        details = self._details.get_ifd(ExifTags.IFD.Exif)
        if taken.year > 1980 and ExifTags.Base.DateTimeOriginal not in details:
            details[ExifTags.Base.DateTimeOriginal] = taken.strftime("%Y:%m:%d %H:%M:%S")
        xmp = self._details.get(_XMP)
        if isinstance(xmp, bytes | tuple):
            self.info["xmp"] = bytes(xmp)

    def getexif(self) -> Image.Exif:
        return self._details

    def load(self) -> Any:
        if self._raw is not None:
            raw, self._raw = self._raw, None
            with _own_words():
                pixels = raw.postprocess(half_size=True, use_camera_wb=True, gamma=_SRGB_GAMMA)
            raw.close()
            held = (pixels.shape[1], pixels.shape[0])
            if held != self.size:  # of sensors that lie askew, or whose pixels are no squares
                width, height = held
                self.original_size = (2 * width, 2 * height) if self.is_mosaic else held
            self._size = held
            self.im = Image.fromarray(pixels).im
        return Image.Image.load(self)


def _rawpy() -> Any:
    try:
        import rawpy
    except ImportError:
        raise PictureError(f"a RAW photo: to have it read, {install_hint(EXTRA)}") from None
    return rawpy


@contextmanager
def _own_words() -> Iterator[None]:
    """Says what went wrong in LibRaw in our words."""
    rawpy = _rawpy()
    version = ".".join(map(str, rawpy.libraw_version))
    try:
        yield
    except (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawMemPoolOverflowError):
        raise UnreadableError("there is not enough memory to decode it") from None
    except rawpy.LibRawTooBigError:
        raise PictureError(f"a RAW photo that is too large for LibRaw {version}") from None
    except rawpy.LibRawIOError:
        raise PictureError("cut off: the file ends before the picture does") from None
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PictureError(f"a RAW photo that LibRaw {version} cannot decode ({text.lower()})") from None


def _read_exif(stream: IO[bytes]) -> Image.Exif:
    """Reads the metadata of a RAW photo, without how it is turned: LibRaw turns it. Damage costs what it
    hides."""
    exif = Image.Exif()
    stream.seek(0)
    head = stream.read(92)
    with suppress(*DAMAGE):
        if head[:2] in (b"II", b"MM") and head[6:14] != b"HEAPCCDR":
            stream.seek(0)
            usual = b"II*\0" if head[:2] == b"II" else b"MM\0*"  # where RW2 and ORF have a mark of their own
            exif.load_from_fp(io.BytesIO(usual + stream.read()[4:]))
        elif head.startswith(b"FUJIFILM"):
            place, length = struct.unpack(">II", head[84:92])
            stream.seek(place)
            exif = JpegImagePlugin.JpegImageFile(io.BytesIO(stream.read(length))).getexif()
        elif head[4:8] == b"ftyp":
            exif = _read_cr3(head + stream.read(MAX_CR3_HEAD))
        exif.get_ifd(ExifTags.IFD.Exif)
    exif.pop(ExifTags.Base.Orientation, None)
    return exif


def _read_cr3(head: bytes) -> Image.Exif:
    """Reads the metadata of a CR3, which has each directory as a TIFF of its own."""

    def part(name: bytes) -> Image.Exif:
        place, exif = head.find(name), Image.Exif()
        if place >= 4:
            length = int.from_bytes(head[place - 4 : place])
            exif.load(b"Exif\0\0" + head[place + 4 : place - 4 + length])
        return exif

    exif = part(b"CMT1")
    exif.get_ifd(ExifTags.IFD.Exif).update(part(b"CMT2"))
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(part(b"CMT4"))
    return exif
