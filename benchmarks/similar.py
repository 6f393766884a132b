"""How well near-duplicates are told from other photos: python -m benchmarks.similar FOLDER

Makes copies of the photos of a folder, and says for each kind of copy the share of each tier, and what the
tiers make of pairs of different photos. Candidates are compared by their pixels, which tell nothing of
pictures that are too small; "too_small" is the share of these. Then times the comparison of 100,000 made-up
hashes, all with all. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from virtue.embedder import Embedder, Item
from virtue.evaluation.rows import photo_paths
from virtue.phash import perceptual_hash
from virtue.pictures import load
from virtue.retrieval.library_duplicates import MAX_DISTANCE, SAME
from virtue.retrieval.same_picture import MIN_SIDE, same_picture
from virtue.retrieval.similar import SIMILAR
from virtue.store.duplicates import near_pairs

HASHES = 100_000


def _jpeg(image: Image.Image, quality: int = 90) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()


def _cropped(image: Image.Image, share: float) -> bytes:
    x, y = round(image.width * share / 2), round(image.height * share / 2)
    return _jpeg(image.crop((x, y, image.width - x, image.height - y)))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "half the size": lambda image: _jpeg(image.resize((image.width // 2, image.height // 2))),
    "JPEG of quality 30": lambda image: _jpeg(image, 30),
    "5 % cut off": lambda image: _cropped(image, 0.05),
    "10 % cut off": lambda image: _cropped(image, 0.1),
    "a quarter brighter": lambda image: _jpeg(ImageEnhance.Brightness(image).enhance(1.25)),
}


def features(embedder: Embedder, source: Any) -> tuple[np.ndarray, int]:
    picture = load(source, side=embedder.model.side)
    (vector,) = embedder.embed([Item(embedder.scenes([picture])[0])])
    return vector, perceptual_hash(picture.pixels)


def is_small(source: Any) -> bool:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return min(image.size) < MIN_SIDE


def told(scores: np.ndarray, bits: np.ndarray, pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    candidates = (bits <= MAX_DISTANCE) & (scores >= SAME)
    same = np.zeros(len(pairs), bool)
    for place in np.flatnonzero(candidates):
        same[place] = same_picture(*pairs[place])
    shares = {
        "candidates": candidates,
        "same_picture": same,
        "similar": (candidates | (scores >= SIMILAR)) & ~same,
        "too_small": np.array([is_small(one) or is_small(other) for one, other in pairs]),
        "by_hash_alone": bits <= MAX_DISTANCE,
    }
    return {"pairs": len(pairs), **{name: round(float(each.mean()), 5) for name, each in shares.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="photos, spread over the folder")
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    embedder = Embedder.from_pretrained(given.model)
    paths = photo_paths(given.folder)
    paths = paths[:: max(1, len(paths) // given.count)]
    vectors, hashes = zip(*(features(embedder, path) for path in paths), strict=True)
    rows, bits = np.stack(vectors), np.array(hashes, np.uint64)
    for kind, copied in COPIES.items():
        scores, distances, pairs = [], [], []
        for path, row, phash in zip(paths, rows, hashes, strict=True):
            with Image.open(path) as image:
                copy = copied(image.convert("RGB"))
            vector, other = features(embedder, copy)
            scores.append(row @ vector)
            distances.append((phash ^ other).bit_count())
            pairs.append((path, copy))
        print(json.dumps({"pair": kind, **told(np.array(scores), np.array(distances), pairs)}), flush=True)
    places = np.triu_indices(len(rows), 1)
    different = np.bitwise_count(bits[:, None] ^ bits)[places]
    others = [(paths[one], paths[other]) for one, other in zip(*places, strict=True)]
    print(json.dumps({"pair": "different photos", **told((rows @ rows.T)[places], different, others)}))
    made = np.random.default_rng(0).integers(0, 2**64, HASHES, dtype=np.uint64)
    began = time.process_time()
    found = sum(len(one) for one, _ in near_pairs(made, MAX_DISTANCE))
    print(json.dumps({"hashes": HASHES, "seconds": round(time.process_time() - began, 2), "pairs": found}))


if __name__ == "__main__":
    main()
