"""Reading text in pictures: what is found, where, in which order, and what is not taken for text."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from virtue.errors import ModelError
from virtue.geometry import Box
from virtue.pictures import load
from virtue.reader import Line, Reader
from virtue.reader import reader as limits

READER = Reader()


def sign(text: str, size: int, ink: str = "black") -> Image.Image:
    """Text alone, everything else transparent."""
    font = ImageFont.load_default(size)
    x0, y0, x1, y1 = font.getbbox(text)
    picture = Image.new("RGBA", (round(x1 - x0), round(y1 - y0)), (0, 0, 0, 0))
    ImageDraw.Draw(picture).text((-x0, -y0), text, ink, font)
    return picture


def wall(width: int = 640, height: int = 480, colour: str = "#9ab") -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def put(
    picture: Image.Image, text: str, x: int, y: int, size: int, ink: str = "black", turn: float = 0
) -> Box:
    """Writes a text at its upper left corner, turned anticlockwise by degrees; returns its box."""
    drawn = sign(text, size, ink).rotate(turn, expand=True, resample=Image.Resampling.BICUBIC)
    picture.paste(drawn, (x, y), drawn)
    left, top, right, bottom = drawn.getbbox() or (0, 0, 0, 0)
    return Box(x + left, y + top, x + right, y + bottom)


def read(picture: Image.Image) -> list[Line]:
    return READER.read(load(picture, side=READER.side))


def texts(picture: Image.Image) -> list[str]:
    return [line.text for line in read(picture)]


def test_a_line_is_read_with_its_box_and_its_score() -> None:
    picture = wall()
    box = put(picture, "NO PARKING", 120, 200, 40)
    (line,) = read(picture)
    assert line.text == "NO PARKING"
    assert line.box.iou(box) > 0.6
    assert 0.9 < line.score <= 1


@pytest.mark.parametrize(
    ("ground", "ink"), [("white", "black"), ("black", "white"), ("#225", "#ee6"), ("#888", "#ddd")]
)
def test_ink_may_be_darker_or_lighter_than_its_ground(ground: str, ink: str) -> None:
    picture = wall(colour=ground)
    put(picture, "Platform 12", 100, 100, 30, ink)
    assert texts(picture) == ["Platform 12"]


@pytest.mark.parametrize("turn", [5, 12, 20, 35, 50, 75, 90, 180, 270, 315, 340])
def test_lines_may_be_tilted_stand_on_an_end_or_on_their_head(turn: float) -> None:
    picture = wall(600, 600)
    box = put(picture, "Swimming pool", 100, 100, 40, turn=turn)
    (line,) = read(picture)
    assert line.text == "Swimming pool"
    assert line.box.iou(box) > 0.6


@pytest.mark.parametrize("step", [1.2, 1.5])
def test_letters_that_stand_on_each_other_are_a_line(step: float) -> None:
    picture = wall(600, 800, "#234")
    for place, letter in enumerate("PHARMACY"):
        drawn = sign(letter, 50, "white")
        picture.paste(drawn, (300 - drawn.width // 2, 60 + round(place * step * 50)), drawn)
    (line,) = read(picture)
    assert line.text == "PHARMACY"
    assert line.box.iou(Box(280, 60, 320, 60 + 7 * step * 50 + 40)) > 0.5


@pytest.mark.parametrize("size", [10, 16, 60, 200])
def test_letters_may_be_small_and_large(size: int) -> None:
    picture = wall(640, 480, "white")
    put(picture, "Sale", 20, 100, size)
    assert texts(picture) == ["Sale"]


def test_a_screenshot_with_small_text_is_read_whole_and_in_order() -> None:
    words = Path("virtue/retrieval/common_nouns.txt")
    listed = (Path(__file__).parents[2] / words).read_text().split()
    wanted = [f"{one} {other}" for one, other in zip(listed[:144:2], listed[1:144:2], strict=True)]
    screen = wall(1920, 1080, "#1e1e1e")
    draw, font = ImageDraw.Draw(screen), ImageFont.load_default(14)
    for number, text in enumerate(wanted):
        row, column = divmod(number, 3)
        draw.text((60 + 620 * column, 30 + 42 * row), text, "#d0d0d0", font)
    found = texts(screen)
    assert len(found) == 72
    assert sum(one == other for one, other in zip(found, wanted, strict=True)) >= 68


def test_a_title_beside_small_print_is_read_too() -> None:
    page = wall(1500, 1100, "white")
    put(page, "MENU", 100, 30, 400)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for row in range(12):
        draw.text((100, 500 + 40 * row), f"soup of the day number {row + 10}", "black", font)
    found = texts(page)
    assert found[0] == "MENU"
    assert found[1:] == [f"soup of the day number {row + 10}" for row in range(12)]


def test_a_picture_smaller_than_its_original_has_boxes_of_the_original(tmp_path: Path) -> None:
    picture = wall(4000, 3000)
    box = put(picture, "Museum", 1000, 1500, 300)
    picture.save(tmp_path / "large.jpg")
    (line,) = READER.read(load(tmp_path / "large.jpg", side=READER.side))
    assert line.text == "Museum"
    assert line.box.iou(box) > 0.6
    assert READER.read(load(tmp_path / "large.jpg")) != []  # a picture at full size is shrunk


def test_turned_photos_are_read_upright(tmp_path: Path) -> None:
    picture = wall(640, 480)
    put(picture, "Harbour street", 100, 100, 40)
    turned = picture.rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    (line,) = READER.read(load(tmp_path / "turned.jpg", side=READER.side))
    assert line.text == "Harbour street"
    assert line.box.x1 <= 640 and line.box.y1 <= 480


def test_lines_come_from_top_to_bottom_and_from_left_to_right() -> None:
    picture = wall(640, 480, "white")
    for text, x, y in (("fourth", 350, 200), ("first", 40, 40), ("third", 40, 205), ("second", 350, 50)):
        put(picture, text, x, y, 30)
    put(picture, "fifth", 200, 350, 30)
    assert texts(picture) == ["first", "second", "third", "fourth", "fifth"]


def test_less_than_three_letters_is_no_line() -> None:
    picture = wall(640, 480, "white")
    for text, y in (("no", 40), ("42", 120), ("%%&&", 200), ("yes", 280)):
        put(picture, text, 200, y, 40)
    assert texts(picture) == ["yes"]


def test_photos_without_text_give_no_lines(example_photos: Path) -> None:
    for path in sorted(example_photos.glob("*.jpg")):
        assert READER.read(load(path, side=READER.side)) == [], path.name


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (2, 1), (1, 5000), (5000, 1), (6000, 40), (33, 31), (5000, 4000)]
)
def test_blank_pictures_of_any_size_give_no_lines(width: int, height: int) -> None:
    for grey in (0, 255):
        assert READER.read(load(Image.new("L", (width, height), grey), side=READER.side)) == []


def test_noise_and_stripes_give_no_lines() -> None:
    rng = np.random.default_rng(1)
    assert read(Image.fromarray(rng.integers(0, 256, (900, 1300, 3), dtype=np.uint8))) == []
    columns = np.zeros((700, 900), np.uint8)
    columns[:, ::8] = 255
    assert read(Image.fromarray(columns)) == []
    squares = np.kron(np.indices((40, 50)).sum(axis=0) % 2, np.ones((20, 20))).astype(np.uint8) * 255
    assert read(Image.fromarray(squares)) == []


def test_threads_share_a_reader() -> None:
    pictures = []
    for word in ("apple", "banana", "cherry", "damson"):
        pictures.append(wall(320, 240))
        put(pictures[-1], word, 60, 80, 40)
    reader = Reader()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: reader.read(load(picture)), pictures))
    assert [[line.text for line in lines] for lines in found] == [
        ["apple"],
        ["banana"],
        ["cherry"],
        ["damson"],
    ]
    assert found == [read(picture) for picture in pictures]


def test_of_very_many_lines_the_largest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = wall(640, 480, "white")
    for place, size in enumerate((16, 40, 18, 44, 20)):
        put(picture, f"line {place + 1} here", 100, 30 + 80 * place, size)
    monkeypatch.setattr(limits, "MAX_LINES", 2)
    assert texts(picture) == ["line 2 here", "line 4 here"]
    monkeypatch.setattr(limits, "MAX_LINES", 1000)
    monkeypatch.setattr(limits, "MAX_COLUMNS", 300)
    assert texts(picture) == ["line 4 here"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own figure")
def test_memory_is_bounded_whatever_is_in_the_picture() -> None:
    # Not getrusage, whose peak is also that of the process that started this one.
    program = """
from pathlib import Path
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from virtue.pictures import load
from virtue.reader import Reader
page = Image.new("RGB", (3200, 3200), "white")
draw = ImageDraw.Draw(page)
for row in range(6):
    draw.text((20, 500 * row), "a long line of words to read " * 9, "black", ImageFont.load_default(26))
lines = Reader().read(load(page))
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(len(lines), int(peak) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    lines, megabytes = map(int, done.stdout.split())
    assert lines == 6
    assert megabytes < 1000


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    reader = Reader(tmp_path)  # opens nothing yet
    with pytest.raises(ModelError, match=r"lacks its file detection\.onnx: install it again"):
        reader.read(load(wall()))


def test_readers_are_told_apart_by_name() -> None:
    assert Reader.name and isinstance(Reader.name, str)
    assert Reader.side >= 1024


def test_its_files_are_small_and_say_whose_they_are() -> None:
    folder = Path(limits.__file__).parent
    assert sum(path.stat().st_size for path in folder.glob("*.onnx")) < 9_000_000
    assert "PP-OCRv6_det_small" in (folder / "MODEL_LICENSES.md").read_text()
    assert "Baidu" in (folder / "README.md").read_text()
