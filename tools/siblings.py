"""Writes words and others under the same hypernym of WordNet: python -m tools.siblings WORDNET OUT

WORDNET is the folder of Debian's wordnet-base 3.0 (/usr/share/wordnet). The words are COCO's categories and
`virtue/retrieval/common_nouns.txt`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack "
    "umbrella handbag tie suitcase frisbee skis snowboard ball kite baseball_bat baseball_glove "
    "skateboard surfboard tennis_racket bottle wineglass cup fork knife spoon bowl banana apple "
    "sandwich orange broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed "
    "dining_table toilet television laptop mouse remote_control keyboard cell_phone microwave oven "
    "toaster sink refrigerator book clock vase scissors teddy_bear hair_dryer toothbrush"
)
TOO_GENERAL = ("person",)
MAX_SIBLINGS = 12
MAX_STEPS = 3
"""How many steps up a common hypernym may be, from either word."""


def read_hypernyms(folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Returns for each noun its first sense, and for each sense those right above it."""
    senses = {}
    for line in (folder / "index.noun").read_text("utf-8").splitlines():
        if not line.startswith(" "):
            words = line.split()
            senses[words[0]] = words[-int(words[2])]
    above = {}
    for line in (folder / "data.noun").read_text("utf-8").splitlines():
        if not line.startswith(" "):
            words = line.split()
            above[words[0]] = [words[at + 1] for at, word in enumerate(words) if word == "@" and at > 3]
    return senses, above


def ancestors(sense: str, above: dict[str, list[str]]) -> list[str]:
    """Lists a sense and what is above it, up to `MAX_STEPS`."""
    found = [sense]
    while len(found) <= MAX_STEPS and above.get(found[-1]):
        found.append(above[found[-1]][0])
    return found


def find_siblings(words: list[str], folder: Path) -> dict[str, list[str]]:
    senses, above = read_hypernyms(folder)
    lines = {
        word: ancestors(senses[word], above) for word in words if word in senses and word not in TOO_GENERAL
    }
    siblings = {}
    for word, line in lines.items():
        steps = {}
        for other, their in lines.items():
            common = [place for place, sense in enumerate(line) if sense in their]
            if common and common[0] and their.index(line[common[0]]):
                steps[other] = common[0] + their.index(line[common[0]])
        nearest = sorted(steps, key=lambda other: (steps[other], other))[:MAX_SIBLINGS]
        if len(nearest) >= 3:
            siblings[word.replace("_", " ")] = [other.replace("_", " ") for other in nearest]
    return siblings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    nouns = Path("virtue/retrieval/common_nouns.txt").read_text("utf-8").split("\n")
    words = sorted({word.strip().replace(" ", "_") for word in [*COCO.split(), *nouns] if word.strip()})
    found = find_siblings(words, given.wordnet)
    given.out.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
