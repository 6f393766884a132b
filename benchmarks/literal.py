"""What finding words letter for letter costs: `python -m benchmarks.literal`.

Prints one JSON object. `writing`: a library of made-up captions and names, committed with its tokens and
without, in turn; seconds and bytes, and what the tokens add to them. `looking`: milliseconds of a processor
to find and score the captions and names for a query, one to five words of a caption (rare and common ones).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np

from virtue import Box, Query
from virtue.retrieval.copies import Copies
from virtue.retrieval.literal import LiteralQuery
from virtue.retrieval.query_vectors import EncodedQuery
from virtue.retrieval.row_search import among_captions, among_regions
from virtue.store import EmbeddedPhoto, FileRecord, NewCaption, NewRegion, PhotoInfo, open_store
from virtue.store.catalogue import token_tables
from virtue.tokens import tokenize

DIM = 768
WORDS_A_CAPTION = 10
VOCABULARY = 20_000
"""Different words, used as often as Zipf's law says."""
PHOTOS_A_COMMIT = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captions", type=int, default=20_000, help="one a photo")
    parser.add_argument("--rounds", type=int, default=3, help="of writing, with and without")
    parser.add_argument("--searches", type=int, default=300)
    given = parser.parse_args()
    captions = list(make_captions(given.captions))
    with tempfile.TemporaryDirectory() as folder:
        rounds: dict[bool, list[tuple[float, int]]] = {True: [], False: []}
        for number in range(given.rounds):
            for with_tokens in (False, True):
                place = Path(folder) / f"{number}-{with_tokens}"
                rounds[with_tokens].append(write(place, captions, with_tokens))
        (without, plain), (with_tokens, full) = (
            (statistics.median(seconds for seconds, _ in rounds[kind]), rounds[kind][0][1])
            for kind in (False, True)
        )
        figures = {
            "benchmark": "literal",
            "captions": given.captions,
            "writing": {
                "seconds_without": round(without, 2),
                "seconds_with": round(with_tokens, 2),
                "added_us_a_caption": round(1e6 * (with_tokens - without) / given.captions),
                "added_bytes_a_caption": round((full - plain) / given.captions),
                "catalogue_bytes_without": plain,
            },
            "looking": look(Path(folder) / "0-True", captions, given.searches),
            "python": platform.python_version(),
        }
    print(json.dumps(figures, indent=2))


def make_captions(count: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, length)) for length in rng.integers(2, 11, VOCABULARY)]
    shares = 1 / np.arange(1, VOCABULARY + 1)
    drawn = rng.choice(VOCABULARY, (count, WORDS_A_CAPTION), p=shares / shares.sum())
    return (" ".join(words[word] for word in row) for row in drawn)


def write(folder: Path, captions: list[str], with_tokens: bool) -> tuple[float, int]:
    """Returns the seconds that a library of these captions takes, and the bytes of its catalogue."""
    vector = np.zeros((1, DIM), np.float32)
    vector[0, 0] = 1
    with ExitStack() as stack:
        if not with_tokens:
            for name in ("put_captions", "put_names", "purge"):
                stack.enter_context(mock.patch.object(token_tables, name, lambda *_: None))
        store = stack.enter_context(open_store(folder, create=True))
        began = time.perf_counter()
        with store.write("benchmark") as writer:
            writer.generation("made up", "made up", DIM)
            for first in range(0, len(captions), PHOTOS_A_COMMIT):
                some = list(enumerate(captions[first : first + PHOTOS_A_COMMIT], first))
                writer.commit(
                    [photo(number, text, vector) for number, text in some],
                    [file(number) for number, _ in some],
                )
        seconds = time.perf_counter() - began
    return seconds, sum(path.stat().st_size for path in folder.glob("catalogue.db"))


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def photo(number: int, text: str, vector: np.ndarray) -> EmbeddedPhoto:
    regions = (NewRegion(Box(0, 0, 4000, 3000), "whole"),)
    info = PhotoInfo(digest(number), 4000, 3000)
    return EmbeddedPhoto(info, "benchmark", regions, vector, (NewCaption(text, "sidecar"),), vector)


def file(number: int) -> FileRecord:
    name = f"/home/anna/photos/{2000 + number % 25}/album {number // 200}/IMG_{number:05}.jpg"
    return FileRecord(name.encode(), 1, 1, None, hash=digest(number))


def look(folder: Path, texts: list[str], searches: int) -> dict[str, float]:
    step = max(1, len(texts) // searches)
    queries = [tokenize(text)[: 1 + number % 5] for number, text in enumerate(texts[::step])]
    times = []
    vector = np.zeros((1, DIM), np.float32)
    with open_store(folder, read_only=True) as store:
        for tokens in [*queries[:5], *queries]:
            with store.read() as snapshot:
                encoded = EncodedQuery(vector, "text")
                captions = among_captions(snapshot, encoded, None, frozenset(), Copies(snapshot))
                regions = among_regions(snapshot, encoded, "photos", None, frozenset(), Copies(snapshot))
                began = time.process_time()
                query = LiteralQuery(Query.of(" ".join(tokens)))
                query.find(captions, "caption", 0.5, 10)
                query.find(regions, "name", 0.5, 10)
                times.append(1000 * (time.process_time() - began))
    times = times[5:]
    return {
        "p50_ms": round(statistics.median(times), 3),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 3),
        "searches": len(times),
    }


if __name__ == "__main__":
    main()
