"""RAW photos and JPEG XL come out upright, in sRGB, in the frame of the whole picture, or with a reason."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.raw_files import make_dng, make_jpeg
from tests.test_pictures import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    corner_colours,
    looks_like_quarters,
    quarters,
    swapped_profile,
)
from virtue import Library
from virtue.errors import PictureError, PromptError
from virtue.formats import describe_passed_by
from virtue.indexer.metadata import read_metadata
from virtue.pictures import load, load_cutout, open_image
from virtue.service.decoder import make_thumbnail
from virtue.service.decoder_messages import ThumbnailTask


def jxl(pixels: np.ndarray | Image.Image, **options: object) -> bytes:
    return imagecodecs.jpegxl_encode(np.asarray(pixels), **{"lossless": True, "numthreads": 1, **options})


def jxl_of_jpeg(**options: object) -> bytes:
    """A JPEG packed again without loss, as tools do it, with all that it says of itself."""
    return imagecodecs.jpegxl_encode_jpeg(make_jpeg(quarters(), **options), usecontainer=True)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    quarters().save(stream, "JPEG", quality=95, exif=exif)
    return imagecodecs.jpegxl_encode_jpeg(stream.getvalue(), usecontainer=True)


# -- RAW --------------------------------------------------------------------------------------------------


def test_a_raw_is_half_the_pixels_of_its_frame() -> None:
    picture = load(make_dng(quarters(602, 400)))
    assert (picture.width, picture.height) == (602, 400)
    assert picture.pixels.shape == (200, 301, 3)
    looks_like_quarters(picture, within=40)


@pytest.mark.parametrize(
    "orientation, size, corners",
    [
        (3, (301, 200), (YELLOW, BLUE, GREEN, RED)),
        (6, (200, 301), (BLUE, RED, YELLOW, GREEN)),
        (7, (200, 301), (YELLOW, GREEN, BLUE, RED)),
        (8, (200, 301), (GREEN, YELLOW, RED, BLUE)),
    ],
)
def test_a_raw_is_upright(orientation: int, size: tuple[int, int], corners: tuple) -> None:
    picture = load(make_dng(quarters(301, 200), orientation=orientation), side=100)
    assert (picture.width, picture.height) == size
    assert max(picture.pixels.shape) == 100
    found = np.array(corner_colours(picture.pixels))
    assert np.abs(found - np.array(corners)).max() < 45


def test_the_small_picture_in_a_raw_never_takes_its_place() -> None:
    small = Image.new("RGB", (60, 40), (200, 0, 200))
    whole = make_dng(quarters(), thumbnail=small)
    picture = load(whole)
    assert (picture.width, picture.height) == (640, 400)
    looks_like_quarters(picture, within=40)
    with pytest.raises(PictureError, match="cut off"):
        load(whole[:-1000])


def test_a_raw_is_told_by_what_it_holds(tmp_path: Path) -> None:
    content = make_dng(quarters(), thumbnail=quarters(60, 40))
    for name in ("photo.dng", "photo.tif", "photo"):
        (tmp_path / name).write_bytes(content)
        assert load(tmp_path / name).width == 640
    plain = tmp_path / "plain.tif"
    quarters().save(plain)
    assert load(plain).pixels.shape == (400, 640, 3)
    named = tmp_path / "a jpeg.nef"
    named.write_bytes(make_jpeg(quarters()))
    assert load(named).pixels.shape == (400, 640, 3)


def test_what_a_raw_says_of_itself() -> None:
    with open_image(make_dng(quarters(), camera="Workshop Two", orientation=6)) as image:
        metadata = read_metadata(image)
        assert image._details.get(0x0112) is None
    assert (metadata.taken, metadata.camera) == ("2024-05-06T07:08:09", "Workshop Two")
    with open_image(make_dng(quarters(), taken=None)) as image:
        assert read_metadata(image).taken is None


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"rubbish" * 1000, "a RAW photo that LibRaw .* cannot decode"),
        (b"II*\0\x08\0\0\0" + bytes(range(256)) * 40, "a RAW photo that LibRaw .* cannot decode"),
        (make_dng(quarters())[:300], "cut off"),
        (make_dng(quarters())[:-40], "cut off"),
        (make_dng(quarters(), size=(60_000, 40_000)), "too large|megapixels"),
        (make_dng(quarters(), size=(20_000, 15_000)), "cut off"),
        (make_dng(quarters(), size=(6_000, 4_000)), "cut off"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(5000), "a RAW photo that LibRaw|cut off"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + b"\xff" * 5000, "a RAW photo that LibRaw|cut off"),
        (b"IIU\0\x18\0\0\0" + b"\x07" * 5000, "a RAW photo that LibRaw|cut off"),
    ],
)
def test_what_is_no_sound_raw_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "photo.nef"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=f"photo.nef: .*({reason})"):
        load(path)


def test_a_box_on_a_raw_is_in_pixels_of_the_frame(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "quarters.dng").write_bytes(make_dng(quarters()))
    query = tmp_path / "query.nef"
    query.write_bytes(make_dng(quarters()))
    with Library.create(tmp_path / "library") as library:
        library.index(tmp_path / "photos", ocr=False)
        (hit,) = library.search({"image": query, "box": (320, 200, 640, 400)})
        assert (hit.width, hit.height) == (640, 400)
        assert hit.box.x1 <= 640 and hit.box.y1 <= 400 and hit.box.x1 > 320
        with pytest.raises(PromptError, match="640"):
            library.search({"image": query, "box": (320, 200, 641, 400)})


def test_the_service_cuts_boxes_out_of_the_frame() -> None:
    for content in (make_dng(quarters()), make_jpeg(quarters())):
        made = make_thumbnail(ThumbnailTask(content, 80, (320, 200, 640, 400), 30.0))
        picture = load(made.content)
        assert picture.pixels.shape == (50, 80, 3)
        assert np.abs(picture.pixels.reshape(-1, 3).mean(0) - YELLOW).max() < 30


# -- JPEG XL ----------------------------------------------------------------------------------------------


def test_a_jpeg_xl_without_loss_has_its_pixels() -> None:
    for options in ({}, {"usecontainer": True}):
        assert np.array_equal(load(jxl(quarters(), **options)).pixels, np.asarray(quarters()))
    looks_like_quarters(load(jxl(quarters(), lossless=False, level=90)))
    gray = quarters().convert("L")
    assert np.array_equal(load(jxl(gray)).pixels, np.asarray(gray.convert("RGB")))


def test_16_bits_and_floats_are_read_by_their_profile() -> None:
    """The encoder takes both for linear light."""
    linear = (np.linspace(0, 1, 64)[:, None, None] * np.ones((1, 64, 3))).astype(np.float32)
    expected = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear) * 255
    for values in (linear, (linear * 65535).astype(np.uint16)):
        found = load(jxl(values)).pixels
        assert np.abs(found[4:].astype(int) - expected[4:]).max() < 9


def test_transparency_of_a_jpeg_xl() -> None:
    rgba = np.dstack([np.asarray(quarters()), np.zeros((400, 640), np.uint8)])
    rgba[:, 320:, 3] = 255
    picture = load(jxl(rgba), keep_alpha=True)
    assert corner_colours(picture.pixels) == [(255, 255, 255), GREEN, (255, 255, 255), YELLOW]
    assert picture.alpha is not None and picture.alpha[200, 100] == 0 and picture.alpha[200, 500] == 255
    assert load_cutout(jxl(rgba)).width == 320


def test_the_profile_of_a_jpeg_xl_is_applied() -> None:
    plain = corner_colours(load(jxl_of_jpeg()).pixels)
    swapped = corner_colours(load(jxl_of_jpeg(icc_profile=swapped_profile())).pixels)
    assert np.abs(np.array(plain)[:, [1, 0, 2]] - np.array(swapped)).max() < 12


@pytest.mark.parametrize(
    "orientation, corners", [(3, (YELLOW, BLUE, GREEN, RED)), (6, (BLUE, RED, YELLOW, GREEN))]
)
def test_a_jpeg_xl_is_upright(orientation: int, corners: tuple) -> None:
    picture = load(turned(orientation))
    assert (picture.width, picture.height) == ((400, 640) if orientation == 6 else (640, 400))
    assert np.abs(np.array(corner_colours(picture.pixels)) - np.array(corners)).max() < 12


def test_what_a_jpeg_xl_says_of_itself() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    with open_image(jxl_of_jpeg(xmp=packet)) as image:
        metadata = read_metadata(image)
    assert (metadata.taken, metadata.rating) == ("2024-05-06T07:08:09", 4)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = np.stack([np.asarray(quarters()), np.asarray(quarters())[::-1]])
    looks_like_quarters(load(jxl(frames)))


def test_what_is_no_sound_jpeg_xl_is_refused() -> None:
    sound = jxl(quarters(), usecontainer=True)
    for content in (
        sound[:20],
        sound[: len(sound) // 2],
        sound[:-4],
        b"\xff\x0a" + b"\x7f" * 400,
        b"\xff\x0a",
    ):
        with pytest.raises(PictureError, match=r"damaged|cut off"):
            load(content)


def test_a_jpeg_xl_that_says_it_is_huge_is_refused_before_it_is_decoded() -> None:
    # ISO/IEC 18181-1, SizeHeader: not in eights, 2**20 rows (30 bits, less one), as many columns; all else by
    # default.
    bits = "0" + "11" + f"{(1 << 20) - 1:030b}"[::-1] + "100" + "11"
    content = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(8, "little") + bytes(60)
    with pytest.raises(PictureError, match=r"1048576 x 1048576 pixels is .* more than the 64"):
        load(content)


# -- without the extra ------------------------------------------------------------------------------------


def without_extra(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs `virtue` where the packages of the extra cannot be imported."""
    code = (
        "import sys; sys.modules.update(rawpy=None, imagecodecs=None)\n"
        "from virtue.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_without_the_extra_files_are_counted_and_read_once_it_is_there(
    virtue, tmp_path: Path, home: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    quarters().save(photos / "plain.png")
    for name in ("a.NEF", "b.nef", "c.cr3", "d.dng"):
        (photos / name).write_bytes(make_dng(quarters(60, 40), taken=None))
    (photos / "e.jxl").write_bytes(jxl(quarters(60, 40)))
    for name in ("f.mp4", "g.MOV", "h.mov"):
        (photos / name).write_bytes(b"film")
    library = ("--database", tmp_path / "library")
    hint = "pip install 'virtue-search[formats]', then index again"
    passed = (
        f"passed by: 4 RAW photos (2 .nef, 1 .cr3, 1 .dng): {hint}; 1 JPEG XL picture (1 .jxl): {hint}; "
        "3 videos (2 .mov, 1 .mp4): not read"
    )
    first = without_extra("index", photos, *library, cwd=tmp_path)
    assert first.returncode == 0 and f"photos: 1 indexed; {passed}; " in first.stderr
    status = without_extra("status", *library, cwd=tmp_path)
    assert passed in status.stderr and "problems     0" in status.stdout
    asked = without_extra("search", photos / "a.NEF", *library, cwd=tmp_path)
    assert asked.returncode == 2
    assert (
        f"{photos / 'a.NEF'}: a RAW photo: to have it read, pip install 'virtue-search[formats]'"
        in asked.stderr
    )
    asked = without_extra("search", photos / "e.jxl", *library, cwd=tmp_path)
    assert (
        f"{photos / 'e.jxl'}: a JPEG XL: to have it read, pip install 'virtue-search[formats]'"
        in asked.stderr
    )

    assert b"4 RAW photos (2 .nef, 1 .cr3, 1 .dng): index again" in virtue("status", *library).stderr
    second = virtue("index", photos, *library).stderr.decode()
    # The four RAW photos have the same bytes.
    assert "passed by: 3 videos (2 .mov, 1 .mp4): not read" in second and "RAW" not in second
    listed = virtue("search", "--where", "width = 60", "-f", *library).stdout.decode().splitlines()
    assert {Path(path).name for path in listed} == {"a.NEF", "e.jxl"}

    third = without_extra("index", photos, *library, cwd=tmp_path)
    assert "missing" not in third.stderr and passed in third.stderr
    listed = virtue("search", "--where", "width = 60", "-f", *library).stdout.decode().splitlines()
    assert {Path(path).name for path in listed} == {"a.NEF", "e.jxl"}


def test_what_was_passed_by_in_words() -> None:
    assert describe_passed_by({}) == ""
    assert describe_passed_by({".mkv": 1}) == "1 video (1 .mkv): not read"
    assert (
        describe_passed_by({".mp4": 1200, ".avi": 1200}) == "2,400 videos (1,200 .avi, 1,200 .mp4): not read"
    )
