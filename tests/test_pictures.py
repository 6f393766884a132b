"""Pictures of every format and kind come out upright, in RGB, at the right size, or with a reason."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from virtue.errors import PictureError, PromptError
from virtue.pictures import Picture, load, load_cutout, load_mask, shrink

RED, GREEN, BLUE, YELLOW = (220, 30, 40), (30, 200, 60), (30, 60, 210), (230, 220, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Of the upright picture: top left, top right, bottom left, bottom right."""

TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What turns an upright picture into the one that a file of that EXIF orientation stores."""


def quarters(width: int = 640, height: int = 400) -> Image.Image:
    image = Image.new("RGB", (width, height))
    for place, colour in enumerate(CORNERS):
        x, y = place % 2 * width // 2, place // 2 * height // 2
        image.paste(colour, (x, y, x + width // 2, y + height // 2))
    return image


def smooth(width: int = 603, height: int = 401) -> Image.Image:
    """Soft colours without sharp edges, so that any decent resizing gives nearly the same."""
    noise = np.random.default_rng(3).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def corner_colours(pixels: np.ndarray) -> list[tuple[int, ...]]:
    h, w = pixels.shape[:2]
    y, x = h // 8, w // 8
    return [tuple(pixels[r, c].tolist()) for r, c in ((y, x), (y, -x), (-y, x), (-y, -x))]


def test_libtiff_says_nothing_past_the_streams(capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(1).integers(0, 2, (200, 200)).astype(bool)
    damaged = bytearray(saved(Image.fromarray(noise), "TIFF", compression="group4"))
    for place in range(500, 2000, 37):
        damaged[place] ^= 0x5A
    load(bytes(damaged))
    assert capfd.readouterr() == ("", "")


def close(found: np.ndarray, expected: Image.Image | np.ndarray, within: float) -> None:
    assert found.dtype == np.uint8
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).mean() < within


def looks_like_quarters(picture: Picture, within: int = 24) -> None:
    for found, expected in zip(corner_colours(picture.pixels), CORNERS, strict=True):
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= within


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side", [None, 100])
def test_every_orientation_comes_out_upright(format: str, orientation: int, side: int | None) -> None:
    turn = TO_STORED[orientation]
    stored = quarters() if turn is None else quarters().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = load(saved(stored, format, exif=exif), side=side)
    assert (picture.width, picture.height) == (640, 400)
    assert picture.pixels.shape == ((400, 640, 3) if side is None else (62, 100, 3))
    looks_like_quarters(picture)


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "PNG"])
def test_formats_without_loss_keep_every_pixel(format: str) -> None:
    image = quarters().convert("P", palette=Image.Palette.ADAPTIVE) if format == "GIF" else smooth()
    close(load(saved(image, format)).pixels, image.convert("RGB"), within=0.01)


HEIC = {
    name: (Path(__file__).parent / "data" / f"{name}.heic").read_bytes() for name in ("quarters", "turned")
}
"""Made with an HEVC encoder, which pi-heif lacks, from four quarters; `turned` is stored lying on its side,
with a box `irot` and EXIF orientation 6, as telephones do."""


@pytest.mark.parametrize("name", ["quarters", "turned"])
@pytest.mark.parametrize("side", [None, 32])
def test_a_heic_file_is_read_upright(name: str, side: int | None) -> None:
    picture = load(HEIC[name], side=side)
    assert (picture.width, picture.height) == (64, 48)
    assert picture.pixels.shape == ((48, 64, 3) if side is None else (24, 32, 3))
    looks_like_quarters(picture)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.6, 0.9, 0.99])
def test_a_heic_file_that_is_cut_off_is_an_error(part: float) -> None:
    content = HEIC["quarters"]
    with pytest.raises(PictureError):
        load(content[: int(len(content) * part)])


def test_a_heic_file_whose_names_are_no_text_is_an_error() -> None:
    """pi-heif ends the process where it meets one."""
    for place in range(4):
        damaged = bytearray(HEIC["turned"])
        damaged[damaged.index(b"Exif") + place] = 0xF0
        with pytest.raises(PictureError, match="damaged picture"):
            load(bytes(damaged))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("side", [500, 250, 128, 60, 31])
def test_a_reduced_decode_equals_a_full_one_that_is_resized(format: str, side: int) -> None:
    content = saved(smooth(), format, quality=92)
    full = load(content)
    size = (side, round(401 * side / 603))
    reduced = load(content, side=side)
    assert (reduced.width, reduced.height) == (603, 401)
    expected = Image.fromarray(full.pixels).resize(size, Image.Resampling.BICUBIC)
    close(reduced.pixels, expected, within=1.5)


def test_nothing_is_ever_enlarged() -> None:
    assert load(saved(smooth(), "JPEG"), side=2000).pixels.shape == (401, 603, 3)


def test_large_pictures_are_converted_in_strips_that_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(smooth().convert("RGBA"), "PNG")
    whole, small = load(content).pixels, load(content, side=60).pixels
    monkeypatch.setattr("virtue.pixels.MAX_STRIP_PIXELS", 20_000)
    assert (load(content).pixels == whole).all()
    assert (load(content, side=60).pixels == small).all()


def gray(scale: float, kind: type) -> Image.Image:
    return Image.fromarray((np.asarray(smooth().convert("L"), float) * scale).astype(kind))


@pytest.mark.parametrize(
    ("image", "format"),
    [
        (gray(257, np.uint16), "PNG"),
        (gray(257, np.uint16), "TIFF"),
        (gray(257, np.int32), "TIFF"),
        (gray(1 / 255, np.float32), "TIFF"),
        (gray(1, np.float32), "TIFF"),
        (smooth().convert("L"), "PNG"),
        (smooth().convert("LA"), "PNG"),
    ],
)
def test_gray_of_any_depth_keeps_its_brightness(image: Image.Image, format: str) -> None:
    expected = smooth().convert("L").convert("RGB")
    close(load(saved(image, format)).pixels, expected, within=1)
    close(load(saved(image, format), side=60).pixels, expected.resize((60, 40)), within=2)


def test_sixteen_bit_colour_is_scaled() -> None:
    """Pillow writes none, so the PNG is put together here: 2 x 1 pixels, RGB of 16 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">6H", 0xFFFF, 0x8000, 0, 0, 0x4000, 0xC0FF)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row))
    pixels = load(content + chunk(b"IEND", b"")).pixels
    assert pixels.tolist() == [[[255, 128, 0], [0, 64, 192]]]


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
@pytest.mark.parametrize("side", [None, 80])
def test_cmyk_is_not_inverted(format: str, side: int | None) -> None:
    """Adobe's JPEGs store it upside down; Pillow writes the same marker and reads it back."""
    looks_like_quarters(load(saved(quarters().convert("CMYK"), format, quality=95), side=side))


def test_lab_becomes_rgb() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    in_lab = ImageCms.profileToProfile(smooth(), srgb, lab, outputMode="LAB")
    close(load(saved(in_lab, "TIFF")).pixels, smooth(), within=3)


def test_ycbcr_becomes_rgb_where_pillow_reads_it() -> None:
    stored = saved(smooth().convert("YCbCr"), "TIFF")
    if int(PIL.__version__.partition(".")[0]) >= 13:
        close(load(stored).pixels, smooth(), within=3)
    else:
        with pytest.raises(PictureError, match="uncompressed YCbCr, which Pillow reads from version 13 on"):
            load(stored)


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    image.putpixel((3, 3), (200, 0, 0, 255))
    image.putpixel((4, 4), (200, 0, 0, 128))
    pixels = load(saved(image, "PNG")).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[3, 3].tolist() == [200, 0, 0]
    assert np.abs(pixels[4, 4].astype(int) - [227, 127, 127]).max() <= 1


def test_a_palette_with_transparency_is_laid_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 1), 1)
    for format in ("PNG", "GIF"):
        pixels = load(saved(image, format, transparency=0)).pixels
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert pixels[1, 1].tolist() == [0, 0, 255]


def test_one_bit_is_black_and_white() -> None:
    image = Image.new("1", (9, 5))
    image.putpixel((4, 2), 1)
    pixels = load(saved(image, "PNG")).pixels
    assert pixels[2, 4].tolist() == [255, 255, 255]
    assert pixels.sum() == 3 * 255


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "lime")]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load(content).pixels[5, 5].tolist() == [255, 0, 0]


def swapped_profile() -> bytes:
    """An sRGB profile in which red and green have changed places, and its name is another."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = content.index(b"rXYZ"), content.index(b"gXYZ")
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(content).replace("sRGB".encode("utf-16-be"), "sGRB".encode("utf-16-be"))


def test_a_colour_profile_is_applied() -> None:
    pixels = load(saved(Image.new("RGB", (4, 4), (250, 20, 60)), "PNG", icc_profile=swapped_profile())).pixels
    assert np.abs(pixels.astype(int) - [20, 250, 60]).max() <= 3


def test_srgb_and_damaged_profiles_change_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"rubbish" * 50):
        close(load(saved(smooth(), "PNG", icc_profile=profile)).pixels, smooth(), within=0.01)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("side", [None, 200, 60])
@settings(max_examples=12)
@given(part=st.floats(0.02, 0.995))
def test_a_file_that_is_cut_off_is_an_error(format: str, side: int | None, part: float) -> None:
    content = CUT[format]
    with pytest.raises(PictureError, match="the given bytes: "):
        load(content[: int(len(content) * part)], side=side)


CUT = {
    format: saved(smooth(300, 200).quantize() if format == "GIF" else smooth(300, 200), format)
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
}


@pytest.mark.parametrize("side", [None, 300, 75])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2, 3, 500])
def test_a_jpeg_without_its_end_is_an_error_at_any_scale(
    side: int | None, progressive: bool, missing: int
) -> None:
    content = saved(smooth(), "JPEG", progressive=progressive)
    with pytest.raises(PictureError, match="cut off"):
        load(content[:-missing], side=side)


@settings(max_examples=150)
@given(data=st.data())
def test_damage_anywhere_gives_a_picture_or_a_picture_error(data: st.DataObject) -> None:
    content = bytearray(CUT[data.draw(st.sampled_from(sorted(CUT)))])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = load(bytes(content), side=data.draw(st.sampled_from([None, 64])))
    except PictureError:
        return
    assert picture.pixels.ndim == 3 and picture.pixels.shape[2] == 3


def bmp_header(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)
    )


def jpeg_header(width: int, height: int) -> bytes:
    content = bytearray(saved(Image.new("RGB", (16, 16)), "JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def test_limits_name_both_sizes_and_pillow_stays_silent() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PictureError, match=r"30000 x 30000 pixels is 900 megapixels.*than the 100"):
            load(bmp_header(30000, 30000))
        with pytest.raises(PictureError, match=r"15000 x 12500 pixels is 188 megapixels.*than the 180"):
            load(jpeg_header(15000, 12500), side=512)
        with pytest.raises(PictureError, match=r"13000 x 10000 pixels is 130 megapixels.*than the 100"):
            load(jpeg_header(13000, 10000))
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_jpeg_above_the_limit_of_pillow_is_read_at_a_reduced_scale() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = load(saved(Image.new("L", (14000, 12000), 77), "JPEG"), side=512)
    assert (picture.width, picture.height) == (14000, 12000)
    assert picture.pixels.shape == (439, 512, 3)
    assert np.abs(picture.pixels.astype(int) - 77).max() <= 2


def test_each_kind_of_bad_path_has_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    os.mkfifo(tmp_path / "pipe.jpg")
    words = {
        "empty.jpg": "the file is empty",
        "folder.jpg": "a folder, not a picture",
        "link.jpg": "a link that leads nowhere",
        "gone.jpg": "there is no such file",
        "text.jpg": "not a picture that virtue can read",
        "pipe.jpg": "not a regular file",
        "zero\0.jpg": "null",
    }
    for name, expected in words.items():
        with pytest.raises(PictureError, match=expected) as caught:
            load(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path))


def test_no_permission_has_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(quarters(), "PNG"))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(PictureError, match="permission denied"):
            load(path)
    finally:
        os.seteuid(user)


def test_names_in_no_encoding_are_read_and_can_be_printed(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(raw, "wb") as stream:
        stream.write(saved(quarters(), "PNG"))
    assert load(os.fsdecode(raw)).width == 640
    with pytest.raises(PictureError, match=r"caf\\xe9.jpg: there is no such file"):
        load(os.fsdecode(raw[:-3] + b"jpg"))


def test_pictures_in_memory(tmp_path: Path) -> None:
    image = quarters()
    path = tmp_path / "a.png"
    image.save(path)
    pixels = np.asarray(image)
    for source in (path, str(path), path.read_bytes(), image, pixels, load(path)):
        close(load(source).pixels, image, within=0.01)
        assert load(source, side=64).pixels.shape == (40, 64, 3)
    assert load(pixels[:, :, 0]).pixels.shape == (400, 640, 3)
    with pytest.raises(PictureError, match=r"an array of shape \(400, 640, 3\) and type float64"):
        load(pixels / 255)


def test_shrink_keeps_the_frame_of_the_original() -> None:
    picture = load(saved(smooth(), "PNG"))
    small = shrink(picture, 100)
    assert (small.width, small.height) == (603, 401)
    assert small.pixels.shape == (67, 100, 3)
    assert shrink(small, 100) is small


def test_masks_are_white_or_opaque(tmp_path: Path) -> None:
    expected = np.zeros((20, 30), bool)
    expected[5:10, 7:21] = True
    gray = Image.fromarray(np.where(expected, 255, 3).astype(np.uint8))
    clear = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (7, 5, 21, 10))
    for image in (gray, gray.convert("1"), gray.convert("RGB"), gray.convert("P"), clear):
        path = tmp_path / "mask.png"
        image.save(path)
        assert (load_mask(path, 30, 20) == expected).all()
    for array in (expected, expected.astype(np.uint8), expected.astype(np.uint8) * 255):
        assert (load_mask(array, 30, 20) == expected).all()
    with pytest.raises(PromptError, match="the mask is 30 x 20 pixels, the picture 20 x 30"):
        load_mask(path, 20, 30)


@pytest.mark.parametrize("size", [(20000, 3), (3, 20000), (1, 1)])
def test_extreme_shapes_keep_at_least_a_pixel_each_way(size: tuple[int, int]) -> None:
    picture = load(saved(Image.new("RGB", size, (9, 8, 7)), "PNG"), side=64)
    assert (picture.width, picture.height) == size
    assert picture.pixels.shape == (max(1, min(size[1], 64 * size[1] // max(size))),
                                    max(1, min(size[0], 64 * size[0] // max(size))), 3)  # fmt: skip
    assert (picture.pixels == (9, 8, 7)).all()


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    """Each takes a dozen bytes, and as long as decoding a picture."""
    stream = io.BytesIO()
    Image.new("L", (3000, 3000)).save(stream, "JPEG", progressive=True, quality=10)
    content = stream.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    assert load(content, side=64).width == 3000
    with pytest.raises(PictureError, match="scans of 3000 x 3000 pixels"):
        load(content[:-2] + scan * 3000 + content[-2:], side=64)
    with pytest.raises(PictureError, match="scans of 3000 x 3000 pixels"):
        load_mask(content[:-2] + scan * 3000 + content[-2:], 3000, 3000)


def test_a_webp_larger_than_memory_allows_is_refused() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (16383, 3907)).save(stream, "WEBP", lossless=True, method=0, quality=0)
    with pytest.raises(PictureError, match="more than the 64 that virtue decodes"):
        load(stream.getvalue(), side=64)


@pytest.mark.parametrize("part", ["text", "profile"])
def test_a_png_with_a_long_text_or_profile_is_read_up_to_a_limit(part: str) -> None:
    def made(size: int) -> bytes:
        text = PngImagePlugin.PngInfo()
        if part == "text":
            text.add_text("workflow", "x" * size, zip=True)
        profile = bytes(size) if part == "profile" else None
        return saved(smooth(), "PNG", pnginfo=text, icc_profile=profile)

    close(load(made(1_500_000)).pixels, smooth(), within=0.01)
    with pytest.raises(PictureError, match="texts or profiles of more than 64 MB in a PNG: store it without"):
        load(made(65_000_000))
    assert PngImagePlugin.MAX_TEXT_CHUNK == 1 << 20


def test_a_tiff_of_separate_planes_of_16_bits_is_refused_by_name() -> None:
    entries = [
        (256, 3, 1, 4),
        (257, 3, 1, 3),
        (258, 3, 3, 144),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 3, 150),
    ]
    entries += [(277, 3, 1, 3), (278, 3, 1, 3), (279, 4, 3, 162), (284, 3, 1, 2)]
    content = b"II*\0" + struct.pack("<IH", 8, len(entries))
    content += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    content += bytes(144 - len(content)) + struct.pack("<3H3I3I", 16, 16, 16, 174, 198, 222, 24, 24, 24)
    with pytest.raises(
        PictureError, match="a TIFF of 16 bits with separate planes: store it with interleaved"
    ):
        load(content + bytes(72))


def test_a_bmp_whose_alpha_is_empty_is_opaque() -> None:
    pixels = bytes([20, 60, 250, 0]) * 4
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 2, -2, 1, 32, 3, 16, 0, 0, 0, 0) + masks + bytes(52)
    content = b"BM" + struct.pack("<IHHI", 14 + 108 + 16, 0, 0, 14 + 108) + header + pixels
    assert Image.open(io.BytesIO(content)).mode == "RGBA"
    assert (load(content).pixels == (250, 60, 20)).all()
    assert load_cutout(content).alpha is None


@pytest.mark.parametrize("name", ["GIMP built-in Linear sRGB", "anything"])
def test_a_linear_profile_is_applied_whatever_it_is_called(name: str) -> None:
    """55 of 255 in linear light is 128 in sRGB."""
    flat = Image.new("RGB", (4, 4), (55, 55, 55))
    assert abs(int(load(saved(flat, "PNG", icc_profile=linear_profile(name))).pixels[0, 0, 0]) - 128) <= 1


def linear_profile(name: str) -> bytes:
    """sRGB's with straight tone curves and another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack(">I", profile[128:132])[0]
    table, body = struct.pack(">I", count), b""
    for n in range(count):
        tag, start, size = struct.unpack(">4sII", profile[132 + 12 * n : 144 + 12 * n])
        part = profile[start : start + size]
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            part = b"curv" + bytes(8)
        if tag == b"desc":
            text = name.encode("utf-16-be")
            part = b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text
        table += struct.pack(">4sII", tag, 132 + 12 * count + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    return struct.pack(">I", 132 + 12 * count + len(body)) + profile[4:128] + table + body


def test_orientation_goes_by_exif_and_not_by_xmp() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    exif = Image.Exif()
    exif[0x0112] = 6
    flat = Image.new("RGB", (40, 20))
    assert load(saved(flat, "JPEG", xmp=xmp)).pixels.shape == (20, 40, 3)
    assert load(saved(flat, "JPEG", xmp=xmp, exif=exif)).pixels.shape == (40, 20, 3)
