"""All that is to be known of a card, in one command: `python -m benchmarks.cuda`.

    python -m benchmarks.cuda [--seconds 480] [--device cuda:0] [--parts tests,reference,...]
    python -m benchmarks.cuda --device cpu --tiny       # every part with a tiny model, to see that it works

For a bare card with torch and transformers, and no weights: those of a size of 2B are random. Parts, in this
order, each of which fails alone: vectors of the published code's small model in fp32 and bf16; regions a
second and whole photos a second of VIRTUE-2B in both layouts, with the share of the card's peak; training an
index, and exact searches of rows in the card's memory, against the processor's; the tests that use a card (if
pytest is here); compiled against eager. A part for which the time is up is left out. Prints one JSON object.
Exit status 2 without a card.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.regions import (
    CELL,
    FULL,
    LAYOUTS,
    TINY,
    model_of,
    network_of,
    operations,
    peak_of,
    seconds,
    shared,
    whole,
)

ROOT = Path(__file__).parent.parent
TESTS = (
    "tests/store/test_torch_training.py",
    "tests/store/test_device_scan.py",
    "tests/store/test_faiss_gpu.py",
)
REGIONS = (1, 4, 16, 64)
TOKENS = {"published": 256, "image-first": 16}
COMPILE_SECONDS = 150
"""Without so much time left, nothing is compiled."""


class Card:
    """What is measured, and until when."""

    def __init__(self, device: torch.device, tiny: bool, limit: float) -> None:
        self.device, self.tiny = device, tiny
        self.size = TINY if tiny else FULL
        self._end = time.monotonic() + limit

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


def run_tests(card: Card) -> dict[str, Any]:
    """The tests that run on a card as well as on the processor."""
    kind = card.device.type
    words = [*TESTS[2:], "-k", "fewer or processor"] if card.tiny else [*TESTS, "-k", "cuda or card"]
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=max(30, card.left / 3), check=False
    )
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return {"device": kind, "status": done.returncode, "said": said[-1] if said else ""}


def compare_with_reference(card: Card) -> dict[str, Any]:
    """Vectors of the published code for a small model, in each precision."""
    from tests.data.recipe import picture, tokens
    from tests.embedder.virtue_model.checkpoints import published_folder
    from virtue import Embedder

    reference = json.loads((ROOT / "tests/data/reference_embeddings.json").read_text())
    cases = reference["cases"][:2] if card.tiny else reference["cases"]
    items: list[Any] = []
    wanted: list[Any] = []
    for case in cases:
        for number, image in enumerate(case["images"]):
            item: dict[str, Any] = {"text": " ".join(map(str, tokens(*case["texts"][number])))}
            if image is not None:
                x, y = image[1] / 1024, image[2] / 1024
                item["image"] = picture(*image)
                if "point" in case:
                    item["points"] = [(case["point"][0] * x, case["point"][1] * y, 1)]
                if "bboxes" in case:
                    x0, y0, x1, y1 = case["bboxes"][number]
                    item["box"] = (x0 * x, y0 * y, x1 * x, y1 * y)
            items.append(item)
            wanted.append(case["embedding"][number])
    expected = np.asarray(wanted)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(published_folder(reference, Path(scratch) / "VIRTUE"))
        for dtype in ("fp32", "bf16"):
            embedder = Embedder.from_pretrained(folder, device=str(card.device), offline=True, dtype=dtype)
            vectors = embedder.encode(items)
            lengths = np.linalg.norm(expected, axis=1)
            found[dtype] = {
                "rows": len(items),
                "least_cosine": round(float((np.vecdot(vectors, expected) / lengths).min()), 6),
                "greatest_difference": float(np.abs(vectors - expected).max()),
            }
    return found


def measure_model(card: Card) -> Iterator[dict[str, Any]]:
    """Regions and whole photos a second, in both layouts."""
    device, size, peak = card.device, card.size, peak_of(card.device)
    repeats = 1 if card.tiny else 3
    for layout in LAYOUTS:
        counted = network_of(size, layout, TOKENS[layout], torch.device("meta"))
        with tempfile.TemporaryDirectory() as folder:
            model: Any = model_of(network_of(size, layout, TOKENS[layout], device), Path(folder))
        regions, photos = ((1, 4), 2) if card.tiny else (REGIONS, 16)
        works = [("regions", shared, count) for count in regions] + [("whole_photos", whole, photos)]
        for name, work, count in works:
            if card.left < 0:
                return
            taken = seconds(partial(work, model, size, count), device, repeats)
            made = operations(counted, size, count, "whole" if work is whole else "shared")
            yield {
                "layout": layout,
                name: count,
                "image_tokens": (size.side // CELL) ** 2,
                f"{name}_per_second": round(count / taken, 2),
                "teraflop_per_second": round(made / taken / 1e12, 2),
                "share_of_peak": peak and round(made / taken / peak, 3),
            }
        model = None
        if device.type == "cuda":
            torch.cuda.empty_cache()


def measure_index(card: Card) -> dict[str, Any]:
    """Seconds for training an index and encoding all rows, by each backend that is here."""
    from tests.store.clustered import vectors
    from virtue.store.ann import training
    from virtue.store.ann.backend import choose_backend
    from virtue.store.ann.faiss_gpu_backend import count_gpus

    count, dim = (3_000, 32) if card.tiny else (500_000, 256)
    rows, numbers = vectors(count, 1, dim=dim).astype(np.float16), np.arange(count)
    found: dict[str, Any] = {"rows": count, "dim": dim}
    for place in [str(card.device), *["faiss-gpu"][: count_gpus()], "faiss"]:
        if card.left < 0:
            break
        began = time.perf_counter()
        made = training.train(choose_backend(0, place), rows, numbers)
        trained = time.perf_counter()
        training.encode(choose_backend(0, place), made.index, made.scale, rows, numbers)
        ended = time.perf_counter()
        found[place] = {
            "training_s": round(trained - began, 2),
            "encoding_s": round(ended - trained, 2),
            "distance": round(made.residual, 4),
        }
    return found


def measure_search(card: Card) -> dict[str, Any]:
    """Milliseconds of an exact search of rows in the card's memory, and of the processor's scan."""
    from tests.store.clustered import DIM, add, vectors
    from virtue.store import open_store

    photos = 200 if card.tiny else 20_000  # of 20 regions each
    queries = vectors(8, 7)
    found: dict[str, Any] = {"dim": DIM}
    with tempfile.TemporaryDirectory() as scratch:
        with open_store(Path(scratch) / "library", create=True) as store, store.write("benchmark") as writer:
            writer.generation("mini", "fingerprint", DIM)
            for first in range(0, photos, 1_000):
                add(writer, first, min(1_000, photos - first))
        best: dict[str, list[Any]] = {}
        for place in (str(card.device), None):
            with open_store(Path(scratch) / "library", vectors_device=place) as store:
                taken, best[place or "processor"] = [], []
                for query in [queries[0], *queries]:  # the first brings the rows there
                    with store.read() as snapshot:
                        began = time.perf_counter()
                        hits = snapshot.rank("regions", query[None]).top(10)
                        taken.append(time.perf_counter() - began)
                        best[place or "processor"].append(hits.rows.tolist())
                found["rows"] = 20 * photos
                found[place or "processor"] = {
                    "first_ms": round(1e3 * taken[0], 2),
                    "ms": round(1e3 * float(np.median(taken[1:])), 3),
                }
    first, second = best.values()
    return found | {"same_hits": first == second}


def measure_compiled(card: Card) -> dict[str, Any]:
    """Regions a second with and without torch.compile, each in a process of its own, which can be ended."""
    if card.left < COMPILE_SECONDS and not card.tiny:
        return {"left_out": f"{max(0, card.left):.0f} s are left, and compiling takes {COMPILE_SECONDS}"}
    count = 1 if card.tiny else 16
    found: dict[str, Any] = {"layout": "image-first", "regions": count}
    for name, more in (("eager", []), ("compiled", ["--compile"])):
        words = [
            sys.executable, "-m", "benchmarks.regions", "--work", "shared", "--layout", "image-first",
            "--size", card.size.name, "--segmentation-tokens", "16", "--regions", str(count),
            "--device", str(card.device), "--repeats", "1", *more,
        ]  # fmt: skip
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, timeout=max(30, card.left), check=False
        )
        if done.returncode:
            found[name] = {"failed": done.stderr.strip().splitlines()[-1:]}
        else:
            told = json.loads(done.stdout)
            found[name] = {"regions_per_second": round(count / told["seconds"], 2)}
    return found


PARTS: dict[str, Callable[[Card], Any]] = {
    "reference": compare_with_reference,
    "model": lambda card: list(measure_model(card)),
    "index": measure_index,
    "search": measure_search,
    "tests": run_tests,
    "compiled": measure_compiled,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=480, help="after which no part begins any more")
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--tiny", action="store_true", help="a tiny model: that it works, not how fast")
    given = parser.parse_args()
    if given.device != "cpu" and not torch.cuda.is_available():
        print(
            "there is no card of CUDA here: --device cpu --tiny tries everything without one", file=sys.stderr
        )
        return 2
    device = torch.device(given.device)
    card = Card(device, given.tiny, given.seconds)
    began = time.monotonic()
    figures: dict[str, Any] = {
        "benchmark": "cuda",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "size": card.size.name,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    for name in given.parts.split(","):
        if card.left < 0:
            figures[name] = {"left_out": "the time is up"}
            continue
        started = time.monotonic()
        try:
            figures[name] = PARTS[name](card)
        except Exception as error:  # noqa: BLE001 - what fails is told, and the others go on
            figures[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
        figures[f"{name}_took_s"] = round(time.monotonic() - started, 1)
        print(f"{name}: {figures[f'{name}_took_s']} s", file=sys.stderr)
    figures["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
