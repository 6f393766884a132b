"""Makes small RAW photos: DNG files (DNG 1.4) of a Bayer sensor, uncompressed, as LibRaw reads them."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

SHOT = "2024:05:06 07:08:09"
"""When they were taken, unless told otherwise."""

_Field = tuple[int, int, bytes]
"""Kind, count, value."""
_XYZ_TO_SRGB = (
    3.2404542, -1.5371385, -0.4985314, -0.9692660, 1.8760108, 0.0415560, 0.0556434, -0.2040259, 1.0572252,
)  # fmt: skip


def make_dng(
    picture: Image.Image,
    *,
    taken: str | None = SHOT,
    camera: str = "Workshop One",
    orientation: int = 1,
    size: tuple[int, int] | None = None,
    thumbnail: Image.Image | None = None,
) -> bytes:
    """Returns a DNG of a sensor that saw this picture.

    Args:
        taken: as EXIF has it; None: it does not say.
        orientation: how EXIF turns it.
        size: what it says its size is. None: the truth.
        thumbnail: a small picture that comes first, as cameras have it.
    """
    linear = (np.asarray(picture.convert("RGB"), float) / 255) ** 2.2
    height, width = linear.shape[:2]
    mosaic = np.empty((height, width))
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = linear[row::2, column::2, channel]
    pixels = (mosaic * 65535).astype("<u2").tobytes()
    said_width, said_height = size or (width, height)
    small = np.asarray(thumbnail.convert("RGB")).tobytes() if thumbnail else b""
    make, _, model = camera.partition(" ")

    def whole(places: dict[str, int]) -> bytes:
        sensor = {
            254: _long(0), 256: _long(said_width), 257: _long(said_height), 258: _short(16), 259: _short(1),
            262: _short(32803), 273: _long(places["pixels"]), 277: _short(1), 278: _long(said_height),
            279: _long(len(pixels)), 284: _short(1), 33421: _short(2, 2), 33422: _bytes(0, 1, 1, 2),
            50714: _short(0), 50717: _short(65535),
        }  # fmt: skip
        about = {
            271: _text(make), 272: _text(model), 274: _short(orientation), 34665: _long(places["exif"]),
            50706: _bytes(1, 4, 0, 0), 50708: _text(camera), 50721: _ratios(*_XYZ_TO_SRGB),
            50728: _ratios(1, 1, 1, kind=5), 50778: _short(21),
        }  # fmt: skip
        parts = {"first": sensor | about}
        if thumbnail:
            parts["first"] = about | {
                254: _long(1), 256: _long(thumbnail.width), 257: _long(thumbnail.height),
                258: _short(8, 8, 8),
                259: _short(1), 262: _short(2), 273: _long(places["small"]), 277: _short(3),
                278: _long(thumbnail.height), 279: _long(len(small)), 330: _long(places["sensor"]),
            }  # fmt: skip
            parts["sensor"] = sensor
        parts["exif"] = {36867: _text(taken)} if taken else {}
        content = b"II*\0" + struct.pack("<I", 8)
        for name, fields in parts.items():
            places[name] = len(content)
            content += _directory(fields, len(content))
        for name, data in (("small", small), ("pixels", pixels)):
            places[name] = len(content)
            content += data
        return content

    places = dict.fromkeys(("pixels", "exif", "small", "sensor"), 0)
    whole(places)
    return whole(places)


def make_jpeg(picture: Image.Image, taken: str | None = SHOT, **more: object) -> bytes:
    """Returns the JPEG that a camera writes beside a RAW."""
    exif, stream = Image.Exif(), io.BytesIO()
    if taken:
        exif.get_ifd(34665)[36867] = taken
    picture.save(stream, "JPEG", quality=95, exif=exif, **more)
    return stream.getvalue()


def _directory(fields: dict[int, _Field], place: int) -> bytes:
    entries, values = struct.pack("<H", len(fields)), b""
    after = place + 2 + 12 * len(fields) + 4
    for tag, (kind, count, value) in sorted(fields.items()):
        if len(value) > 4:
            where = struct.pack("<I", after + len(values))
            values += value + b"\0" * (len(value) % 2)
        else:
            where = value.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, count) + where
    return entries + b"\0\0\0\0" + values


def _text(value: str) -> _Field:
    return 2, len(value) + 1, value.encode() + b"\0"


def _bytes(*values: int) -> _Field:
    return 1, len(values), bytes(values)


def _short(*values: int) -> _Field:
    return 3, len(values), struct.pack(f"<{len(values)}H", *values)


def _long(*values: int) -> _Field:
    return 4, len(values), struct.pack(f"<{len(values)}I", *values)


def _ratios(*values: float, kind: int = 10) -> _Field:
    return kind, len(values), b"".join(struct.pack("<ii", round(value * 10000), 10000) for value in values)
