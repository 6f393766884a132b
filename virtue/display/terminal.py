"""Hits as pictures in the terminal: kitty's protocol, sixels, or blocks of coloured characters."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

from PIL import Image

from virtue.display.draw import draw_box
from virtue.errors import PictureError
from virtue.escaping import draw_on
from virtue.pictures import Picture, load

if TYPE_CHECKING:
    from dapple import Renderer

    from virtue.geometry import Box
    from virtue.retrieval.hit import Hit

COLUMNS, LINES = 60, 20
"""Size of a preview in characters at most, so that several fit on a screen."""
CELL = (8, 16)
"""Pixels of a character, about: terminals do not tell by environment."""
MARGIN = 4
"""Columns at the left of a preview, in which its rank stands."""
LEVELS = 6
"""Of each channel in a sixel picture: as many as dapple's palette has at most."""


def preview(hit: Hit, stream: TextIO | None = None) -> bool:
    """Shows the rank of a hit, and beside it its photo with its box drawn on it, if `stream` (default:
    stdout) is a terminal.

    The terminal tells by its environment what it can show; inside tmux and screen, which swallow
    graphics, and wherever nothing is known, it is blocks of coloured characters. `NO_COLOR` makes them
    Braille dots. A photo that cannot be read any more costs a sentence.

    Returns:
        Whether there was a terminal to show it on.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        return False
    try:
        picture = load(hit.path, side=COLUMNS * CELL[0])
    except PictureError as error:
        stream.write(f"{_rank(hit)}(no preview: {error})\n")
        return True
    drawn = draw_on(stream)
    shown = io.StringIO()
    show(picture, hit.box, choose_renderer(), shown)
    # Pixels begin at the cursor; characters are lines of their own.
    drawn.write(_rank(hit) + shown.getvalue().rstrip("\n").replace("\n", "\n" + " " * MARGIN) + "\n")
    drawn.flush()
    return True


def _rank(hit: Hit) -> str:
    return f"{hit.rank:>{MARGIN - 1}} "


def choose_renderer() -> Renderer:
    """Chooses how this terminal shows pictures best, by its environment."""
    from dapple import Protocol, braille, detect_terminal, kitty, quadrants, sixel

    terminal, name = detect_terminal(), os.environ.get("TERM", "")
    # What shows pixels shows colours, unless told not to.
    if "NO_COLOR" in os.environ or not (terminal.is_pixel_renderer or terminal.color_support):
        return braille
    multiplexed = "TMUX" in os.environ or "STY" in os.environ or name.startswith(("screen", "tmux"))
    if terminal.protocol is Protocol.KITTY and not multiplexed:
        return kitty
    # An xterm shows sixels only if it was started as a VT340, and does not say whether it was.
    plain_xterm = "XTERM_VERSION" in os.environ
    if terminal.protocol is Protocol.SIXEL and not multiplexed and not plain_xterm:
        return sixel
    return quadrants(true_color=os.environ.get("COLORTERM") in ("truecolor", "24bit"))


def show(picture: Picture, box: Box, renderer: Renderer, stream: TextIO) -> None:
    """Writes a picture with a box on it, at most `COLUMNS` x `LINES` characters large."""
    from dapple import KittyRenderer, SixelRenderer, from_pil

    columns, lines = _size(picture)
    is_blocks = renderer.cell_width > 1
    cell = (renderer.cell_width, renderer.cell_height) if is_blocks else CELL
    image = Image.fromarray(picture.pixels).resize(
        (columns * cell[0], lines * cell[1]), Image.Resampling.LANCZOS
    )
    scaled = box.scaled(image.width / picture.width, image.height / picture.height)
    draw_box(image, scaled, 1 if is_blocks else None, edged=not is_blocks)
    if isinstance(renderer, KittyRenderer):
        renderer = renderer(columns=columns, rows=lines)
    if isinstance(renderer, SixelRenderer):
        image = _dithered(image)
    canvas = from_pil(image)
    renderer.render(canvas.bitmap, canvas.colors, dest=stream)
    stream.write("\n")


def _dithered(image: Image.Image) -> Image.Image:
    """Dithers a picture to the colours of dapple's sixels, so that there are no bands."""
    steps = [round(255 * (level + 0.5) / LEVELS) for level in range(LEVELS)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        [value for red in steps for green in steps for blue in steps for value in (red, green, blue)]
    )
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")


def _size(picture: Picture) -> tuple[int, int]:
    terminal = shutil.get_terminal_size()
    most_columns = max(1, min(COLUMNS, terminal.columns - MARGIN))
    most_lines = min(LINES, max(terminal.lines - 2, 1))
    scale = min(most_columns * CELL[0] / picture.width, most_lines * CELL[1] / picture.height)
    return (
        max(1, round(picture.width * scale / CELL[0])),
        max(1, round(picture.height * scale / CELL[1])),
    )
