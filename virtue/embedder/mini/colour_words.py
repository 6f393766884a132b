"""Colour words of a text: the terms that they name, and the text without them."""

from __future__ import annotations

import re
from typing import NamedTuple

from virtue.embedder.mini.colours import TERMS

WORDS = {
    "black": "black", "white": "white", "ivory": "white", "grey": "grey", "gray": "grey", "silver": "grey",
    "greyish": "grey", "grayish": "grey", "red": "red", "crimson": "red", "scarlet": "red", "maroon": "red",
    "burgundy": "red", "vermilion": "red", "reddish": "red", "orange": "orange", "yellow": "yellow",
    "golden": "yellow", "gold": "yellow", "yellowish": "yellow", "green": "green", "greenish": "green",
    "blue": "blue", "navy": "blue", "azure": "blue", "cyan": "blue", "bluish": "blue",
    "turquoise": "blue green", "teal": "blue green", "indigo": "blue purple", "purple": "purple",
    "violet": "purple", "mauve": "purple", "purplish": "purple", "pink": "pink", "magenta": "pink",
    "fuchsia": "pink", "pinkish": "pink", "brown": "brown", "beige": "brown", "tan": "brown",
    "brownish": "brown",
}  # fmt: skip
"""Each word with the terms that it names."""
SHADES = ("dark", "light", "bright", "pale", "deep", "vivid", "soft", "dull")
THINGS = (
    "orange", "violet", "gold", "silver", "ivory", "navy", "fuchsia", "turquoise", "tan", "burgundy",
)  # fmt: skip
"""Words that name a thing too. They mean the colour if a noun follows, or a shade goes before."""
_AFTER_THINGS = """
    a an the and or but nor of in on at by to for from with without under over near behind beside between
    above below into onto up down off out is are was were be been being has have had that which who whose as
    it its his her their this these those lies lying sits sitting hangs hanging stands standing grows growing
    cut held seen
"""
NO_NOUNS = frozenset(_AFTER_THINGS.split())
"""Words that may follow a thing: after them no colour is meant."""
_PEOPLE = (
    "man woman men women person people boy boys girl girls guy guys lady ladies child children kid kids "
    "family couple american americans"
)
KINDS = {
    "black": f"{_PEOPLE} hole holes bear bears widow swan swans grouse stork tea pepper ice box magic friday",
    "white": f"{_PEOPLE} wine house shark sharks whale stork storks chocolate noise terrier water",
    "brown": f"{_PEOPLE} bear bears rice sugar bread",
    "grey": "wolf wolves whale whales fox heron owl parrot matter",
    "gray": "wolf wolves whale whales fox heron owl parrot matter",
    "silver": "medal spoon spoons screen salmon birch fork forks coin coins",
    "red": "panda pandas wine fox foxes wolf wolves deer squirrel squirrels admiral king cross sea carpet "
    "cabbage onion onions hair",
    "orange": "juice juices peel peels tree trees grove slice slices blossom blossoms marmalade soda zest",
    "golden": "retriever retrievers gate eagle eagles hour hamster hamsters delicious",
    "gold": "medal medals coin coins ring rings bar bars mine rush",
    "yellow": "jacket jackets pages",
    "green": "tea mamba card",
    "blue": "whale whales cheese heron herons terrier jay jays moon",
    "navy": "ship ships officer officers base yard seal seals",
    "purple": "heart",
    "tan": "lines",
}  # fmt: skip
"""What with a word before it is the name of a kind, or speaks of people: then the word is no colour."""
_BESIDE_COLOURS = """
    a an the of in is are that all some any something anything everything thing things object objects item
    items stuff one ones colour colours color colors coloured colored photo photos picture pictures image
    images background
"""
FILLERS = frozenset(_BESIDE_COLOURS.split())
"""Words that say nothing beside a colour."""
LOOSE_ENDS = ("that", "which", "is", "are", "in", "")
"""What a colour word leaves behind at the end of a text."""

_WORD = rf"(?:(?:{'|'.join(SHADES)})[ -])?(?:{'|'.join(WORDS)})(?:[ -]?colou?red)?"
_AND = r"(?:\s*[,/&]\s*(?:and\s+)?|\s+(?:and|or)\s+|-and-|[ -])"
_RUN = re.compile(
    rf"(?<![\w-])(?:(an?)\s+)?({_WORD}(?:{_AND}{_WORD})*)(?![\w'\u2019]|-\w)(?:\s+(\w+))?", re.IGNORECASE
)


class Coloured(NamedTuple):
    """A text without its colour words (empty if it says nothing else), and the numbers of the terms that
    these name, ascending."""

    rest: str
    terms: tuple[int, ...]


def read_colours(text: str) -> Coloured:
    """Reads the colours that things have in a text."""
    terms: set[int] = set()

    def cut(found: re.Match[str]) -> str:
        article, run, following = found.groups()
        noun = (following or "").lower()
        words = re.findall(r"[a-z]+", run.lower())
        named = [word for word in words if word in WORDS]
        shaded = any(word in SHADES for word in words)
        is_thing = named[-1] in THINGS and not shaded and (not noun or noun in NO_NOUNS)
        if is_thing or noun in KINDS.get(named[-1], "").split():
            return found[0]
        terms.update(TERMS.index(term) for word in named for term in WORDS[word].split())
        if article and noun:
            article = "an" if noun[0] in "aeiou" else "a"
        return " ".join(filter(None, (article, following)))

    words = _RUN.sub(cut, text).split()
    if not terms:
        return Coloured(text, ())
    while words and words[-1].strip(",()") in LOOSE_ENDS:
        words.pop()
    rest = " ".join(words).rstrip(",")
    says_more = any(word not in FILLERS for word in re.findall(r"\w+", rest.lower()))
    return Coloured(rest if says_more else "", tuple(sorted(terms)))
