"""Finds the photo that a text describes: `virtue evaluate texts`.

The texts come from `texts.csv` in the folder (columns query and path; several rows of one query: each of
those photos is right), or else from a text file beside each photo (`a.jpg`, `a.txt`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from virtue.embedder import Embedder
from virtue.errors import InputError
from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.outcomes import Outcomes
from virtue.evaluation.rows import REGIONS, readable_photos, recall, same_photos, score_photos


def read_texts(folder: Path, paths: list[Path]) -> tuple[dict[str, set[int]], list[tuple[str, str]]]:
    """Reads for each query the indices of the photos that it should find; and what cannot be used, with why.

    Raises:
        InputError: there are no texts that can be used.
    """
    places = {path: index for index, path in enumerate(paths)}
    same = same_photos(paths)
    table = folder / "texts.csv"
    if table.is_file():
        pairs = list(_read_table(table))
    else:
        beside = [(path.with_suffix(".txt"), path) for path in paths]
        pairs = [
            (text.read_text("utf-8-sig", "replace").strip(), path) for text, path in beside if text.is_file()
        ]
    right: dict[str, set[int]] = {}
    bad = []
    for query, path in pairs:
        if path not in places:
            bad.append((f"texts.csv, {query}", f"{path.name} is not in {folder}, or cannot be read"))
        elif query:
            right.setdefault(query, set()).update(same[places[path]])
    if not right:
        why = f": {bad[0][1]}" if bad else ""
        raise InputError(
            f"{folder} holds neither a texts.csv that names its photos nor a text file beside any{why}"
        )
    return right, bad


def _read_table(table: Path) -> Iterator[tuple[str, Path]]:
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        if not {"query", "path"} <= set(rows.fieldnames or ()):
            raise InputError(f"{table} lacks the columns query and path")
        for row in rows:
            yield (row["query"] or "").strip(), table.parent / (row["path"] or "")


def evaluate(
    embedder: Embedder,
    folder: Path,
    regions: int = REGIONS,
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes how often a text finds a photo that it describes first, and among the first five.

    Args:
        cache: a folder where scores are kept, to go on after an interruption; None: nowhere.
        tell: called with how many photos are scored, and of how many.
    """
    paths, bad = readable_photos(folder)
    texts, lost = read_texts(folder, paths)
    outcomes = Outcomes(cache, "texts", embedder.fingerprint, embedder.dtype, regions)
    scores, rows = score_photos(
        embedder,
        paths,
        lambda: embedder.queries(list(texts), "photos"),
        list(texts),
        outcomes,
        regions=regions,
        tell=tell,
    )
    facts = {"photos": len(paths), "rows_per_photo": round(rows, 1)}
    return Findings("texts", recall(scores, list(texts.values())), facts, [*bad, *lost])
