"""Builds the photo set on which the README's figures stand, from packages that anyone can install.

    apt-get download opencv-doc tuxpaint-stamps-default mate-backgrounds lomiri-wallpapers-16.04
    for deb in *.deb; do dpkg -x "$deb" packages; done
    pip install --no-deps --target packages scikit-image scikit-learn
    python -m virtue.evaluation.sample_photos photos --packages packages

It holds real photos (samples of OpenCV, scikit-image and scikit-learn, wallpapers), 320 to 1,024
pixels on the long side, and pictures of 320 pixels made by laying every other photographic stamp of
Tux Paint on a plain or photographed ground: many of them alike, as in a real collection. `texts.csv`
(query,path) says which photos a text should find, and `absent.txt` names things that no photo shows. The
stamps are GPL-2: build the set, don't ship it. The stamps and wallpapers used here are kept out of what the
bundled model's projection learns from (`tools.mini.training_pictures`).

`--part 1` builds another set, of the other half of the stamps alone: what was chosen on one set is checked on
the other. The projection did learn from those, which flatters pictures as queries, but not texts.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from virtue.escaping import escape_stderr

SEED = 7
SMALL = 320
SIDES = (320, 320, 500, 640, 1024)
"""Long sides of the real photos, dealt in turn."""

REAL = {
    "astronaut.png": "a woman in an orange space suit",
    "camera.png": "a photographer with a camera on a tripod",
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee",
    "coins.png": "old coins",
    "rocket.jpg": "a rocket on its launch pad at night",
    "motorcycle_left.png": "a red motorcycle in a garage",
    "hubble_deep_field.jpg": "galaxies in deep space",
    "retina.jpg": "",
    "moon.png": "",
    "china.jpg": "a Chinese temple",
    "flower.jpg": "an orange dahlia flower",
    "apple.jpg": "an apple",
    "orange.jpg": "an orange",
    "baboon.jpg": "the face of a baboon",
    "board.jpg": "an electronic circuit board",
    "box_in_scene.png": "",
    "building.jpg": "a large white office building",
    "butterfly.jpg": "a butterfly on a leaf",
    "chicky_512.png": "a small brown dog lying on a carpet",
    "fruits.jpg": "sliced fruit",
    "graf1.png": "graffiti on a wall",
    "home.jpg": "an old church under a blue sky",
    "left.jpg": "a book on a table",
    "left05.jpg": "",
    "right12.jpg": "",
    "leuvenA.jpg": "",
    "licenseplate_motion.jpg": "the back of a car on the road",
    "messi5.jpg": "a football player kicking the ball",
    "rubberwhale1.png": "",
    "squirrel_cls.jpg": "a squirrel in a tree",
    "stuff.jpg": "",
    "sudoku.png": "a crossword or number puzzle in a newspaper",
    "ela_original.jpg": "",
    "aloeL.jpg": "",
    "aero1.jpg": "a city seen from the air",
    "basketball1.png": "",
    "plant.jpg": "plants in pots",
    "scenetext01.jpg": "a parking sign",
    "scenetext02.jpg": "",
    "scenetext03.jpg": "",
    "scenetext04.jpg": "",
    "scenetext05.jpg": "",
    "scenetext06.jpg": "",
    "Dune.jpg": "tall grass on a sand dune",
    "LadyBird.jpg": "",
    "YellowFlower.jpg": "a yellow daisy",
    "FreshFlower.jpg": "",
    "TwoWings.jpg": "",
    "Garden.jpg": "",
    "GreenMeadow.jpg": "",
    "Storm.jpg": "",
    "Bridge_by_Sander_Klootwijk.jpg": "a bridge",
    "Wine_by_Jakkub_Mede.jpg": "wine and chairs in a restaurant",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg": "a mountain valley",
    "seeding_by_Clements_Engelhardt.jpg": "",
    "aitzgorri_by_Aitzol_Berasategi.jpg": "",
    "friends_by_Aitzol_Berasategi.jpg": "",
    "life_by_Aitzol_Berasategi.jpg": "a stream between rocks in the forest",
    "sunset_by_Aitzol_Berasategi.jpg": "",
    "greentock_by_Peter_Nerlich.jpg": "a wall clock",
    "Dragonfly_by_Bolly.jpg": "",
}
"""File name -> the query it answers, or none."""

STAMPED = {
    "frog-1": "a frog",
    "little-penguin": "a penguin",
    "penguin": "a penguin",
    "peacock": "a peacock",
    "pink_flamingo": "a flamingo",
    "tucan": "a toucan",
    "bee": "a bee",
    "grasshopper": "a grasshopper",
    "european-bear": "a bear",
    "cow": "a cow",
    "sheep": "a sheep",
    "camel": "a camel",
    "lion-2": "a lion",
    "tiger": "a tiger",
    "elephant": "an elephant",
    "zebra": "a zebra",
    "giraffe": "a giraffe",
    "rabbit_little": "a rabbit",
    "rabbit-2": "a rabbit",
    "koala": "a koala",
    "Strawberry2": "a strawberry",
    "lemon": "a lemon",
    "broccoli": "broccoli",
    "guitar2": "a guitar",
    "guitar_electric": "a guitar",
    "drumkit": "a drum kit",
    "violin": "a violin",
    "hammer": "a hammer",
    "wrench": "a wrench",
    "wrench_plumbers": "a wrench",
    "toilet": "a toilet",
    "stoplight_01_red": "a traffic light",
    "stoplight_03_green": "a traffic light",
    "747": "an airplane",
    "green_korean_bus": "a green bus",
    "truck": "a pickup truck",
    "camera_35mm": "a film camera",
    "uk_post_box": "a red post box",
}
"""Stem of a stamp -> the query that a photo of it answers."""

OTHERS = {
    "owl": "an owl",
    "pelican": "a pelican",
    "pigeon": "a pigeon",
    "turkey": "a turkey",
    "clownfish": "a clownfish",
    "lobster": "a lobster",
    "seahorse": "a seahorse",
    "fly": "a fly",
    "mantis": "a praying mantis",
    "iguana": "an iguana",
    "gorilla": "a gorilla",
    "dolphin": "a dolphin",
    "otter": "an otter",
    "edward_bear": "a teddy bear",
    "horse": "a horse",
    "ferret": "a ferret",
    "hedgehog": "a hedgehog",
    "rhino_black": "a rhinoceros",
    "capybara": "a capybara",
    "kangaroo": "a kangaroo",
    "wombat": "a wombat",
    "sombrero": "a sombrero",
    "t_baseballcap": "a baseball cap",
    "t_jacket": "a jacket",
    "t_poloshirt": "a shirt",
    "t_shirt": "a shirt",
    "t_tshirt": "a shirt",
    "Cherry_Stella": "cherries",
    "kiwi": "a kiwi fruit",
    "pineapple": "a pineapple",
    "ginger": "ginger",
    "corn": "corn",
    "binoculars": "binoculars",
    "trumpet": "a trumpet",
    "bassoon": "a bassoon",
    "kettle": "a kettle",
    "rubberduck": "a rubber duck",
    "saw": "a saw",
    "toolbox": "a toolbox",
    "mercurythermometer": "a thermometer",
    "syringe": "a syringe",
    "eggplant": "an eggplant",
    "paintbrush_large": "a paintbrush",
    "pinecone": "a pine cone",
    "stop": "a stop sign",
    "traffic_cone": "a traffic cone",
    "indycar": "a race car",
    "firetruck": "a fire truck",
    "balloon360": "a hot air balloon",
    "cementmixer": "a cement mixer",
    "nutcracker": "a nutcracker",
    "cylinder": "a gas cylinder",
    "lavender": "lavender",
    "birch": "a birch tree",
}
"""The same for the other half of the stamps: things of which the first set has no photo."""

IN_BOTH = {
    "a bear", "a camel", "a cow", "a cup of coffee", "a drum kit", "a frog", "a guitar", "a hammer", "a lion",
    "a parking sign", "a peacock", "a penguin", "a pickup truck", "a rabbit", "a red post box", "a sheep",
    "a small brown dog lying on a carpet", "a squirrel in a tree", "a tiger", "a traffic light", "a wrench",
    "a yellow daisy", "an orange", "an orange dahlia flower", "plants in pots",
    "the back of a car on the road",
}  # fmt: skip
"""Queries of the first set that photos of the second would answer too."""

GROUNDS = ("mate/nature", "lomiri-wallpapers", "share/backgrounds")
PHOTOGRAPHIC = ("animals", "clothes", "food", "hobbies", "household", "medical", "plants", "vehicles", "town")
SMALLEST_STAMP = 90


def stamps(packages: Path, part: int) -> list[Path]:
    """Lists every other photographic stamp (part 0 or 1) of Tux Paint, cut-outs with an alpha channel."""
    root = next(packages.glob("**/tuxpaint/stamps"))
    found = []
    for path in sorted(root.rglob("*.png")):
        drawn = "cartoon" in str(path) or "_mirror" in path.stem or "_flip" in path.stem
        if path.relative_to(root).parts[0] not in PHOTOGRAPHIC or drawn:
            continue
        with Image.open(path) as image:
            if max(image.size) >= SMALLEST_STAMP:
                found.append(path)
    return found[part::2]


def paste(ground: Image.Image, stamp: Image.Image, share: float, rng: random.Random) -> None:
    """Lays a stamp on the ground, `share` of its size where it fits, somewhere inside."""
    scale = share * min(ground.width / stamp.width, ground.height / stamp.height)
    size = max(int(stamp.width * scale), 1), max(int(stamp.height * scale), 1)
    stamp = stamp.resize(size, Image.Resampling.LANCZOS)
    left = rng.randint(0, ground.width - size[0])
    top = rng.randint(0, ground.height - size[1])
    ground.paste(stamp, (left, top), stamp)


def plain_ground(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Makes a studio's backdrop: one pale or dark colour, lighter towards the top."""
    base = rng.choice([(250, 250, 250), (232, 228, 220), (205, 214, 222), (40, 44, 50), (120, 96, 70)])
    ground = Image.new("RGB", size, base)
    light = Image.linear_gradient("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize(size)
    return Image.composite(
        Image.new("RGB", size, (255, 255, 255)), ground, light.point([value // 6 for value in range(256)])
    )


def crop(photo: Image.Image, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Crops a window of the photo, a third to all of what fits, and shrinks it to `size`."""
    scale = min(photo.width / size[0], photo.height / size[1]) * rng.uniform(0.33, 1)
    w, h = int(size[0] * scale), int(size[1] * scale)
    left, top = rng.randint(0, photo.width - w), rng.randint(0, photo.height - h)
    return photo.crop((left, top, left + w, top + h)).resize(size, Image.Resampling.LANCZOS)


def real_photos(packages: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """Yields (name, query, picture) of the photos in `REAL`, each scaled to one of `SIDES`."""
    paths = {path.name: path for path in sorted(packages.rglob("*")) if path.name in REAL}
    missing = sorted(set(REAL) - set(paths))
    if missing:
        raise SystemExit(
            f"not found below {packages}: {', '.join(missing)}; install what the docstring names"
        )
    for turn, (name, query) in enumerate(REAL.items()):
        with Image.open(paths[name]) as image:
            photo = image.convert("RGB")
        photo.thumbnail((SIDES[turn % len(SIDES)],) * 2, Image.Resampling.LANCZOS)
        yield Path(name).stem, query, photo


def stamped_photos(packages: Path, part: int, rng: random.Random) -> Iterator[tuple[str, str, Image.Image]]:
    """Yields (name, query, picture), each with one large stamp of this part on a background of 320 pixels."""
    queries = OTHERS if part else STAMPED
    grounds = []
    for path in sorted(packages.rglob("*.jpg")):
        if path.name not in REAL and any(part in path.as_posix() for part in GROUNDS):
            with Image.open(path) as image:
                image.draft("RGB", (1600, 1600))
                grounds.append(image.convert("RGB"))
    for path in stamps(packages, part):
        size = rng.choice([(SMALL, 240), (SMALL, 214), (240, SMALL)])
        ground = plain_ground(size, rng) if rng.random() < 0.5 else crop(rng.choice(grounds), size, rng)
        with Image.open(path) as image:
            paste(ground, image.convert("RGBA"), rng.uniform(0.6, 0.95), rng)
        yield f"stamp_{path.stem}", queries.get(path.stem, ""), ground


def build(packages: Path, out: Path, part: int = 0) -> dict[str, int]:
    """Writes the photos, texts.csv and absent.txt into `out`."""
    rng = random.Random(SEED)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    count = 0
    real = [] if part else real_photos(packages)
    for name, query, photo in [*real, *stamped_photos(packages, part, rng)]:
        photo.save(out / f"{name}.jpg", quality=90)
        count += 1
        if query:
            rows.append((query, f"{name}.jpg"))
    with (out / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("query", "path"), *rows])
    elsewhere = {*REAL.values(), *STAMPED.values()} - IN_BOTH - {""} if part else OTHERS.values()
    absent = sorted(set(elsewhere))
    (out / "absent.txt").write_text("".join(f"{query}\n" for query in absent), encoding="utf-8")
    return {"photos": count, "queries": len({query for query, _ in rows})}


def main() -> None:
    escape_stderr()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", type=Path, required=True, help="the folder they were unpacked into")
    parser.add_argument("--part", type=int, choices=(0, 1), default=0, help="which half of the stamps")
    given = parser.parse_args()
    print(json.dumps(build(given.packages, given.out, given.part)))


if __name__ == "__main__":
    main()
