"""Finds the photo that a text describes: python -m virtue.evaluation.texts FOLDER

The texts come from `texts.csv` in the folder (columns query and path; several rows of one query: each of
those photos is right), or else from a text file beside each photo (`a.jpg`, `a.txt`).
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from virtue.embedder import Embedder
from virtue.errors import InputError
from virtue.escaping import escape_stderr
from virtue.evaluation.rows import (
    REGIONS,
    add_model_options,
    embed_photos,
    load_model,
    photo_paths,
    recall,
)


def read_texts(folder: Path, paths: list[Path]) -> dict[str, set[int]]:
    """Reads for each query the indices of the photos that it should find.

    Raises:
        InputError: there are no texts, or one names a photo that is not there.
    """
    places = {path: index for index, path in enumerate(paths)}
    pairs = []
    table = folder / "texts.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            pairs = [(row["query"], folder / row["path"]) for row in csv.DictReader(file)]
    else:
        beside = [(path.with_suffix(".txt"), path) for path in paths]
        pairs = [(text.read_text("utf-8").strip(), path) for text, path in beside if text.is_file()]
    if not pairs:
        raise InputError(f"{folder} holds neither texts.csv nor a text file beside any photo")
    right: dict[str, set[int]] = {}
    for query, path in pairs:
        if path not in places:
            raise InputError(f"texts.csv names {path.name}, which is not in {folder}")
        right.setdefault(query, set()).add(places[path])
    return right


def evaluate(embedder: Embedder, folder: Path, regions: int = REGIONS) -> dict[str, float]:
    paths = photo_paths(folder)
    texts = read_texts(folder, paths)
    rows = embed_photos(embedder, paths, regions)
    queries = zip(embedder.queries(texts, "photos"), texts.values(), strict=True)
    size = {
        "photos": len(paths),
        "queries": len(texts),
        "rows_per_photo": round(len(rows.owners) / len(paths), 1),
    }
    return size | recall(rows, queries)


def main() -> None:
    escape_stderr()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    add_model_options(parser)
    parser.add_argument("--regions", type=int, default=REGIONS, help="proposals for each photo")
    given = parser.parse_args()
    print(json.dumps(evaluate(load_model(given), given.folder, given.regions)))


if __name__ == "__main__":
    main()
