"""Gathers cut-outs and grounds for scenes: python -m tools.scene_pictures OUT --emoji DIR --packages DIR

Writes cut-outs, each with its name, and photos, each with words for its place:

    OUT/cutouts/emoji    3D emoji (MIT)
    OUT/cutouts/stamps   photographic cut-outs of Tux Paint (GPL-2)
    OUT/grounds/free     photos under free licences, and of no GPL (CC0, CC-BY, CC-BY-SA, BSD, Apache-2.0)
    OUT/grounds/gpl      MATE's wallpapers (GPL-2)

`virtue build scenes --cutouts OUT/cutouts --grounds OUT/grounds` takes all of them; what is to ship learns
from `OUT/cutouts/emoji` and `OUT/grounds/free` alone. Nothing of it is part of the project. Unpack before,
outside the repository:

    --emoji     the npm package @lobehub/fluent-emoji-3d (MIT): npm pack @lobehub/fluent-emoji-3d@1.1.0
    --packages  Debian's tuxpaint-stamps-default (GPL-2: for tests and trials, never for weights that ship),
                and what virtue.evaluation.sample_photos names

`--part 0` takes the stamps that the set of `sample_photos` is made of, 1 (default) the others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import unicodedata
from pathlib import Path

from virtue.evaluation.sample_photos import stamps

PLACES = {
    "Dune.jpg": "on a dune with tall grass",
    "Garden.jpg": "in a garden",
    "GreenMeadow.jpg": "in a green meadow",
    "Storm.jpg": "under a stormy sky",
    "Bridge_by_Sander_Klootwijk.jpg": "by a bridge",
    "Wine_by_Jakkub_Mede.jpg": "in a restaurant with wine",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg": "in a mountain valley",
    "sunset_by_Aitzol_Berasategi.jpg": "at sunset",
    "life_by_Aitzol_Berasategi.jpg": "by a stream in the forest",
    "YellowFlower.jpg": "beside a yellow daisy",
    "china.jpg": "at a Chinese temple",
    "building.jpg": "at a large white office building",
    "home.jpg": "by an old church under a blue sky",
    "aero1.jpg": "in a city seen from the air",
    "fruits.jpg": "among sliced fruit",
    "leuvenA.jpg": "in a street of old houses",
    "graf1.png": "against a wall with graffiti",
    "rocket.jpg": "at a launch pad by night",
    "hubble_deep_field.jpg": "among galaxies in deep space",
    "coins.png": "among old coins",
    "plant.jpg": "among plants in pots",
    "flower.jpg": "among dahlia flowers",
    "scenetext01.jpg": "by a parking sign",
}
"""Photo -> words for its place."""
GPL_PHOTOS = ("Dune.jpg", "Garden.jpg", "GreenMeadow.jpg", "Storm.jpg", "YellowFlower.jpg")
EMOJI, STAMPS, FREE, GPL = "cutouts/emoji", "cutouts/stamps", "grounds/free", "grounds/gpl"
"""Folders of what is gathered."""
NO_THINGS = (
    "sign", "symbol", "button", "arrow", "clock face", "square", "squared", "mark", "letter", "flag",
    "keycap",
    "ideograph", "circled", "circle", "triangle", "diamond", "suit", "ornament", "silhouette", "star with",
    "moon symbol", "bar", "vertical", "sun behind", "weather", "question", "exclamation", "heavy", "no ",
    "modifier", "capricorn", "aquarius", "pisces", "aries", "taurus", "gemini", "cancer", "leo", "virgo",
    "libra", "scorpius", "sagittarius", "ophiuchus", "loop", "dash", "asterisk", "ten", "male", "female",
)  # fmt: skip
"""Words in names of emoji that are signs rather than things."""


def name_emoji(stem: str) -> str | None:
    """Names the thing that an emoji shows by its code points, as in "a hot dog"; None: it is no one thing."""
    points = [int(point, 16) for point in stem.split("-") if point != "fe0f"]
    name = unicodedata.name(chr(points[0]), "").lower() if len(points) == 1 else ""
    words = f" {name} "
    if not name or any(f" {word.strip()} " in words for word in NO_THINGS) or not name[0].isalpha():
        return None
    if name.endswith("s") and not name.endswith(("ss", "us")):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def gather(out: Path, emoji: Path | None, packages: Path | None, part: int) -> dict[str, int]:
    """Copies pictures and writes their captions; returns how many of each kind."""
    captions: dict[str, list[tuple[Path, str]]] = {EMOJI: [], STAMPS: [], FREE: [], GPL: []}
    for path in sorted(emoji.rglob("*.webp")) if emoji else []:
        if name := name_emoji(path.stem):
            captions[EMOJI].append((path, name))
    if packages:
        for path in stamps(packages, part):
            if (beside := path.with_suffix(".txt")).is_file():
                captions[STAMPS].append((path, beside.read_text("utf-8", "replace").splitlines()[0]))
        there = {path.name: path for path in sorted(packages.rglob("*")) if path.name in PLACES}
        for name, path in sorted(there.items()):
            captions[GPL if name in GPL_PHOTOS else FREE].append((path, PLACES[name]))
    for kind, pairs in captions.items():
        for path, caption in pairs:
            (out / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / kind / path.name)
            (out / kind / path.name).with_suffix(".txt").write_text(f"{caption}\n", encoding="utf-8")
    return {kind: len(pairs) for kind, pairs in captions.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--emoji", type=Path, help="where the emoji were unpacked")
    parser.add_argument("--packages", type=Path, help="where the packages were unpacked")
    parser.add_argument("--part", type=int, choices=(0, 1), default=1, help="which half of the stamps")
    given = parser.parse_args()
    print(json.dumps(gather(given.out, given.emoji, given.packages, given.part)))


if __name__ == "__main__":
    main()
