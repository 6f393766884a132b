"""The table of the colour part: what people call each colour, by the XKCD colour survey.

The survey (Randall Munroe, 2010, https://blog.xkcd.com/2010/05/03/color-survey-results/, CC0) gave 949 names
with a colour each, which matplotlib carries. A name belongs to the basic term of its head word.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from virtue.embedder.mini.colours import LEVELS, TERMS

KERNEL = 9.0
"""Distance in CIE Lab at which a name counts e^-1/2."""
NEUTRAL = 7.0
"""Chroma at which a colour is grey, black or white by e^-1/2."""
BLACK, WHITE = (16.0, 34.0), (70.0, 92.0)
"""Lightness between which black goes over into grey, and grey into white."""

HEADS = {
    "black": "black ebony",
    "white": "white ivory eggshell cream creme",
    "grey": "grey gray slate steel silver charcoal gunmetal cement stone",
    "red": """
        red crimson scarlet maroon burgundy wine cherry brick ruby blood tomato merlot cranberry claret
        vermillion carmine lipstick rouge bordeaux reddish berry strawberry
    """,
    "orange": """
        orange pumpkin tangerine apricot amber orangish orangeish orangered mango marigold cantaloupe
    """,
    "yellow": """
        yellow mustard gold golden lemon canary sunflower straw banana ochre ocher ocre goldenrod maize
        butter dandelion custard wheat saffron yellowish manilla parchment
    """,
    "green": """
        green lime olive mint moss forest sage emerald jade chartreuse avocado pea grass pear pine fern
        shamrock kiwi leaf seafoam asparagus celery spruce apple viridian greenish lightgreen darkgreen
        spearmint wintergreen evergreen pistachio celadon seaweed algae camo swamp snot booger lichen
        yellowgreen
    """,
    "blue": """
        blue navy azure sky cyan cerulean cobalt denim royal sapphire ocean periwinkle perrywinkle
        cornflower marine ultramarine azul lightblue darkblue bluish bluegrey greyblue blueberry
    """,
    "purple": """
        purple violet lavender lavendar lilac liliac plum mauve eggplant aubergine grape orchid wisteria
        heather amethyst iris mulberry heliotrope purply purpley purpleish purplish urple barney burple
        blurple
    """,
    "pink": """
        pink magenta rose fuchsia rosa blush carnation bubblegum watermelon pinkish pinky cerise salmon
        grapefruit raspberry
    """,
    "brown": """
        brown tan beige chocolate coffee taupe toupe sand sandy sandstone sienna siena umber mocha mud
        chestnut bronze copper caramel camel mahogany cinnamon clay earth sepia terracota terracotta
        cotta rust dirt leather cocoa hazel fawn adobe brownish poo poop shit diarrhea auburn russet
        mushroom putty buff butterscotch desert
    """,
}
"""Words of names that say which term is meant."""
BETWEEN = {
    "teal": "blue green", "turquoise": "blue green", "aqua": "blue green", "aquamarine": "blue green",
    "tealish": "blue green", "bluegreen": "blue green", "greenblue": "blue green", "indigo": "blue purple",
    "peach": "orange pink", "coral": "orange pink", "melon": "orange pink", "khaki": "green brown",
}  # fmt: skip
"""Words that lie between two terms."""


def export_colours(path: Path) -> None:
    """Writes the table: (32, 32, 32, 11) uint8, the shares of the terms for each colour of RGB."""
    places, shares = read_names()
    levels = (np.arange(LEVELS) + 0.5) * (256 / LEVELS)
    colours = lab(np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3))
    table = np.zeros((len(colours), len(TERMS)))
    for start in range(0, len(colours), 1024):
        some = colours[start : start + 1024]
        squares = ((some[:, None] - places) ** 2).sum(axis=2)
        # Less the nearest, so that what no name is near takes the nearest's.
        near = np.exp(-(squares - squares.min(axis=1, keepdims=True)) / (2 * KERNEL**2))
        table[start : start + 1024] = near @ shares
    table /= table.sum(axis=1, keepdims=True)
    neutral = np.exp(-(colours[:, 1] ** 2 + colours[:, 2] ** 2) / (2 * NEUTRAL**2))[:, None]
    table = neutral * _grey_axis(colours[:, 0]) + (1 - neutral) * table
    scaled = np.round(255 * table).astype(np.uint8)
    np.savez(path, table=scaled.reshape(LEVELS, LEVELS, LEVELS, len(TERMS)))


def read_names() -> tuple[np.ndarray, np.ndarray]:
    """Returns the colours of the names in CIE Lab (n, 3), and which terms they are (n, 11), rows sum to 1."""
    from matplotlib.colors import XKCD_COLORS, to_rgb

    known = {word: (term,) for term, words in HEADS.items() for word in words.split()}
    known |= {word: tuple(terms.split()) for word, terms in BETWEEN.items()}
    colours, shares = [], []
    for name, code in XKCD_COLORS.items():
        words = [word for word in re.split(r"[^a-z]+", name.removeprefix("xkcd:")) if word in known]
        if not words:
            continue
        plain = {"grey" if word == "gray" else word for word in words}
        # "blue green" is either; "olive brown" is brown.
        terms = tuple(plain) if len(plain) == 2 and plain < set(TERMS) else known[words[-1]]
        colours.append([255 * value for value in to_rgb(code)])
        shares.append([(term in terms) / len(terms) for term in TERMS])
    return lab(np.array(colours)), np.array(shares)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Converts sRGB (n, 3), 0 to 255, to CIE Lab for the white of D65."""
    values = rgb / 255
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    xyz = linear @ np.array(
        [
            [0.4124564, 0.2126729, 0.0193339],
            [0.3575761, 0.7151522, 0.1191920],
            [0.1804375, 0.0721750, 0.9503041],
        ]
    )
    ratios = xyz / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def _grey_axis(lightness: np.ndarray) -> np.ndarray:
    """(n, 11) shares of black, white and grey by lightness alone."""
    shares = np.zeros((len(lightness), len(TERMS)))
    black = np.interp(lightness, BLACK, (1, 0))
    white = np.interp(lightness, WHITE, (0, 1))
    for term, share in (("black", black), ("white", white), ("grey", 1 - black - white)):
        shares[:, TERMS.index(term)] = share
    return shares
