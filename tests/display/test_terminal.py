"""Previews, read back from what a terminal would get."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from dapple import from_ansi
from PIL import Image

from virtue import Box, Hit
from virtue.display.terminal import preview

TERMINALS = {
    "kitty": {"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"},
    "sixel": {"TERM": "foot"},
    "blocks": {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
}
VARIABLES = (
    "TERM", "TERM_PROGRAM", "COLORTERM", "KITTY_WINDOW_ID", "GHOSTTY_RESOURCES_DIR", "TMUX", "STY",
    "XTERM_VERSION", "NO_COLOR", "COLUMNS", "LINES",
)  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def hit(tmp_path: Path) -> Hit:
    """A blue photo with a box in its middle."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (400, 300), (0, 0, 160)).save(path)
    box = Box(100, 75, 300, 225)
    return Hit(1, 0.5, bytes(path), box, 400, 300, "region", None, 1, box, 1)


def shown(hit: Hit, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    assert preview(hit, stream)
    rank, *others = stream.getvalue().split("\n")
    assert rank.startswith("  1 ")
    assert all(line.startswith("    ") for line in others[:-1])
    return "\n".join(line[4:] for line in (rank, *others))


def protocol(output: str) -> str:
    if output.startswith("\033_G"):
        return "kitty"
    if output.startswith("\033P"):
        return "sixel"
    return "blocks" if "\033[38;" in output else "braille"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        *[(environment, name) for name, environment in TERMINALS.items()],
        ({"TERM": "xterm-ghostty", "GHOSTTY_RESOURCES_DIR": "/"}, "kitty"),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(390)"}, "blocks"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "foot", "TMUX": "/tmp/x"}, "blocks"),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1", "NO_COLOR": ""}, "braille"),
        ({"TERM": "dumb"}, "braille"),
    ],
)
def test_the_terminal_gets_what_it_can_show(
    hit: Hit, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    assert protocol(shown(hit, monkeypatch, **environment)) == expected


def test_kitty_gets_the_picture_with_the_box_drawn(hit: Hit, monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(hit, monkeypatch, **TERMINALS["kitty"])
    assert "c=53,r=20" in output.split(";")[0]
    chunks = re.findall(r"\033_G[^;]*;([^\033]*)\033\\", output)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode("".join(chunks)))))
    height, width = image.shape[:2]
    assert width / height == pytest.approx(4 / 3, rel=0.02)
    middle = image[height // 2]
    bright = np.flatnonzero(middle[:, 0] > 200)
    assert bright.min() == pytest.approx(width / 4, abs=3)
    assert bright.max() == pytest.approx(3 * width / 4, abs=3)
    assert np.abs(middle[width // 2].astype(int) - [0, 0, 160]).max() < 3


def test_sixels_show_the_picture_with_the_box_drawn(hit: Hit, monkeypatch: pytest.MonkeyPatch) -> None:
    image = sixels(shown(hit, monkeypatch, **TERMINALS["sixel"]))
    height, width = image.shape[:2]
    bright = np.flatnonzero((image[height // 2, :, :2] > 60).all(axis=1))
    assert bright.min() == pytest.approx(width / 4, abs=3)
    assert bright.max() == pytest.approx(3 * width / 4, abs=3)
    inside = image[height // 2 - 20 : height // 2 + 20, width // 2 - 20 : width // 2 + 20].mean(axis=(0, 1))
    assert inside == pytest.approx([100 / 12, 100 / 12, 100 * 160 / 255], abs=3)


def sixels(output: str) -> np.ndarray:
    """(height, width, 3) of percentages, read as a terminal does: six rows, one colour at a time."""
    body = re.fullmatch(r"\033P[^q]*q(.*)\033\\\n", output, re.S)
    assert body is not None
    palette: dict[int, tuple[int, ...]] = {}
    pixels: dict[tuple[int, int], tuple[int, ...]] = {}
    x = y = colour = 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|([?-~])", body.group(1)):
        number, *rgb = token.groups()[:4]
        if number:
            palette[int(number)] = tuple(int(part) for part in rgb)
        elif token[5]:
            colour = int(token[5])
        elif token[8]:
            x, y = 0, y + 6 * (token[8] == "-")
        else:
            pattern = ord(token[7] or token[9]) - 63
            count = int(token[6] or 1)
            marked = [bit for bit in range(6) if pattern >> bit & 1]
            pixels.update(
                ((y + bit, column), palette[colour]) for bit in marked for column in range(x, x + count)
            )
            x += count
    image = np.zeros((max(y for y, _ in pixels) + 1, max(x for _, x in pixels) + 1, 3))
    for (row, column), value in pixels.items():
        image[row, column] = value
    return image


def test_blocks_show_the_box_in_its_place(hit: Hit, monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(hit, monkeypatch, **TERMINALS["blocks"])
    lines = output.splitlines()
    assert len(lines) == 20
    visible = [re.sub(r"\033\[[0-9;]*m", "", line) for line in lines]
    assert {len(line) for line in visible} == {53}
    colours = from_ansi(output).colors
    assert colours is not None
    red = colours[colours.shape[0] // 2, :, 0]
    marked = np.flatnonzero(red > 0.7) / len(red)
    assert marked.min() == pytest.approx(0.25, abs=0.03)
    assert marked.max() == pytest.approx(0.75, abs=0.03)


def test_a_narrow_terminal_gets_a_narrow_preview(hit: Hit, monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(hit, monkeypatch, COLUMNS="20", LINES="50", **TERMINALS["blocks"])
    assert [len(re.sub(r"\033\[[0-9;]*m", "", line)) for line in output.splitlines()] == [16] * 6


def test_no_terminal_no_preview(hit: Hit) -> None:
    stream = io.StringIO()
    assert not preview(hit, stream)
    assert stream.getvalue() == ""


def test_a_photo_that_is_gone_costs_a_sentence(hit: Hit, monkeypatch: pytest.MonkeyPatch) -> None:
    os.unlink(hit.path)
    assert re.fullmatch(r"\(no preview: .*photo\.png: there is no such file\)\n", shown(hit, monkeypatch))
