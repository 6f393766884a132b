"""Whether two files show the same picture: copies of every kind do, what differs in one digit does not."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.same_picture import (
    COPIES,
    OTHERS,
    at,
    encoded,
    in_wide_gamut,
    is_promised,
    letter,
    receipt,
    screenshot,
    with_text,
)
from tests.conftest import EXAMPLES, ROOT
from virtue.retrieval.same_picture import MIN_SIDE, look, same_picture

STREET = Image.open(EXAMPLES / "photos" / "street.jpg").convert("RGB")
RECEIPT = receipt(0)
LARGE = STREET.resize((1900, 1424), Image.Resampling.BICUBIC)
SMOOTH = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


@pytest.mark.parametrize("kind", [kind for kind in COPIES if is_promised(kind) and "0.33" not in kind])
def test_a_copy_is_the_same_picture(kind: str) -> None:
    copy = COPIES[kind](STREET)
    assert same_picture(encoded(STREET, "PNG"), copy)
    assert same_picture(copy, encoded(STREET, "PNG"))


@given(
    scale=st.floats(0.4, 1), quality=st.integers(60, 95), smooth=st.sampled_from(SMOOTH), page=st.booleans()
)
@settings(max_examples=25, derandomize=True)
def test_a_copy_of_any_size_is_the_same_picture(
    scale: float, quality: int, smooth: Image.Resampling, page: bool
) -> None:
    image = RECEIPT if page else STREET
    assert same_picture(image, at(scale, quality, smooth)(image))


@given(
    seed=st.integers(0, 10**6),
    digit=st.sampled_from("0123456789"),
    scale=st.floats(0.5, 1),
    quality=st.integers(50, 95),
)
@settings(max_examples=40, derandomize=True)
def test_a_receipt_with_another_digit_is_not(seed: int, digit: str, scale: float, quality: int) -> None:
    one, other = receipt(seed), receipt(seed, digit)
    if one.tobytes() != other.tobytes():
        assert not same_picture(encoded(one, quality=90), at(scale, quality)(other))


@pytest.mark.parametrize("font", [8, 10, 12])
def test_digits_too_small_to_be_read_are_not_taken_for_equal(font: int) -> None:
    """At half and a third of the size they are 2 to 4 pixels high: nothing is told, of copies neither."""
    one, other = receipt(7, font=font), receipt(7, "3", font)
    for scale, quality in ((1, 60), (0.5, 75), (0.5, 50), (0.34, 85)):
        assert not same_picture(encoded(one, quality=90), at(scale, quality)(other))
    assert same_picture(one, encoded(one, quality=85))
    assert not same_picture(one, at(0.4, 95)(one))


def test_receipts_of_one_layout_are_not() -> None:
    kept = [look(encoded(receipt(seed), quality=88)) for seed in range(6)]
    for first in range(6):
        for second in range(first):
            one, other = kept[first], kept[second]
            assert one is not None and other is not None
            assert not same_picture(one, other)


def test_a_page_with_another_word_or_number_is_not() -> None:
    assert not same_picture(letter(3), encoded(letter(3, True), quality=80))
    assert not same_picture(screenshot(3), encoded(screenshot(3, True), quality=80))


def test_small_text_on_a_large_screen_is_read_at_its_full_size() -> None:
    size = (3840, 2160)
    page = screenshot(5, size=size)
    assert same_picture(page, encoded(page, quality=80))
    assert not same_picture(page, encoded(screenshot(5, True, size), quality=80))


@pytest.mark.parametrize("kind", OTHERS)
def test_an_edit_a_crop_or_another_shot_is_not(kind: str) -> None:
    for image in (STREET, LARGE):
        assert not same_picture(image, encoded(OTHERS[kind](image), quality=85))
        assert not same_picture(image, at(0.6, 75)(OTHERS[kind](image)))


def test_frames_of_a_video_are_not() -> None:
    """Nothing moves but a ball of 20 pixels, by its own width."""
    frames = []
    for x in range(100, 200, 20):
        frame = STREET.copy()
        ImageDraw.Draw(frame).ellipse((x, 250, x + 20, 270), fill=(120, 110, 100))
        frames.append(encoded(frame, quality=75))
    for one, other in pairwise(frames):
        assert not same_picture(one, other)


def test_noise_of_another_shot_is_not() -> None:
    chance = np.random.default_rng(0)
    shots = [
        Image.fromarray(
            (np.asarray(STREET) + chance.normal(0, 8, (563, 751, 3))).clip(0, 255).astype(np.uint8)
        )
        for _ in range(2)
    ]
    assert not same_picture(*(encoded(shot, quality=95) for shot in shots))
    assert same_picture(shots[0], encoded(shots[0], quality=75))


def test_what_a_copy_may_change_as_much_is_not_told() -> None:
    """docs/search.md names these: an edit of less than two levels, half a pixel of blur, weak noise."""
    slight = STREET.point(lambda level: min(255, level + 1))
    assert same_picture(STREET, encoded(slight, quality=85))
    assert not same_picture(STREET, encoded(STREET.point(lambda level: min(255, level + 3)), quality=85))
    assert same_picture(STREET, encoded(STREET.filter(ImageFilter.GaussianBlur(0.4)), quality=85))
    assert not same_picture(STREET, encoded(STREET.filter(ImageFilter.GaussianBlur(0.8)), quality=85))


def test_a_faint_watermark_counts() -> None:
    plain = Image.new("RGB", (400, 300), (215, 220, 228))
    plain.paste(STREET.resize((150, 110)), (30, 40))
    marked = Image.blend(plain, with_text(plain, "SAMPLE", 1 / 10, (255, 255, 255)), 0.3)
    assert same_picture(plain, encoded(plain, quality=75))
    assert not same_picture(plain, encoded(marked, quality=75))


def test_colours_count() -> None:
    assert not same_picture(STREET, STREET.convert("L"))
    assert same_picture(STREET.convert("L"), encoded(STREET.convert("L"), quality=75))
    assert same_picture(STREET, in_wide_gamut(STREET))


def test_a_picture_too_small_to_read_is_not_told() -> None:
    small = STREET.resize((MIN_SIDE * 4 // 3 - 4, MIN_SIDE - 3))
    assert not same_picture(small, small)
    assert not same_picture(STREET, small)


def test_a_long_receipt_is_told_and_a_strip_is_not() -> None:
    roll = Image.new("RGB", (600, 5000))
    for number in range(5):
        roll.paste(receipt(number), (0, 1000 * number))
    other = roll.copy()
    other.paste(receipt(4, "7"), (0, 4000))
    assert same_picture(roll, encoded(roll, quality=80))
    assert not same_picture(roll, encoded(other, quality=80))
    strip = roll.resize((250, 4500))
    assert not same_picture(strip, strip)


def test_what_cannot_be_read_is_not_told(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(LARGE, quality=85))
    (tmp_path / "cut.jpg").write_bytes(photo.read_bytes()[:-9000])
    kept = look(photo)
    assert kept is not None
    assert same_picture(kept, photo)
    assert not same_picture(kept, tmp_path / "cut.jpg")
    assert not same_picture(tmp_path / "none.jpg", photo)
    assert look(tmp_path) is None
    again = look(photo)
    assert again is not None
    photo.unlink()
    assert not same_picture(kept, again)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_or_pages_the_first_is_not_all(format: str) -> None:
    first, second = (Image.fromarray(np.asarray(receipt(n))) for n in (1, 2))
    content = io.BytesIO()
    first.save(content, format, save_all=True, append_images=[second], lossless=True)
    assert look(content.getvalue()) is None
    assert not same_picture(content.getvalue(), first)


def test_the_benchmark_finds_copies_and_takes_nothing_else_for_one() -> None:
    words = [str(EXAMPLES / "photos"), "--count", "2", "--pages", "1"]
    words += ["--kinds", "lanczos 0.71", "WebP 80", "object of 0.5%", "one word"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.same_picture", *words], cwd=ROOT, capture_output=True, check=True
    )
    figures = json.loads(done.stdout)
    assert figures["called_same"] == 0 < figures["others"]
    assert figures["found"] >= 0.9 * figures["copies"] > 0
