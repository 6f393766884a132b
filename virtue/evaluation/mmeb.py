"""MMEB: 36 sets of queries, each with candidates of its own (arXiv 2410.05160; `MMEB_Test_Instruct`).

A set is a Parquet file with a row for each query. Columns: `qry_inst`, `qry_text`, `qry_img_path`,
`tgt_inst`, `tgt_text` and `tgt_img_path` (lists, the first candidate is true; empty strings where there is
none).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from virtue.embedder import Embedder
from virtue.embedder.model import InstructedModel
from virtue.errors import InputError
from virtue.evaluation.embed_each import embed_each
from virtue.evaluation.findings import MAX_NAMED, Tell
from virtue.evaluation.measures import Measured, hits_at
from virtue.evaluation.outcomes import Outcomes, digest_of, digest_of_file
from virtue.evaluation.parquet_rows import read_rows

GROUPS = {
    "Cls": "ImageNet-1K N24News HatefulMemes VOC2007 SUN397 Place365* ImageNet-A* ImageNet-R* ObjectNet* "
    "Country211*",
    "VQA": "OK-VQA A-OKVQA DocVQA InfographicsVQA ChartQA Visual7W ScienceQA* VizWiz* GQA* TextVQA*",
    "Ret": "VisDial CIRR VisualNews_t2i VisualNews_i2t MSCOCO_t2i MSCOCO_i2t NIGHTS WebQA FashionIQ* "
    "Wiki-SS-NQ* OVEN* EDIS*",
    "Ground": "MSCOCO RefCOCO* RefCOCO-Matching* Visual7W-Pointing*",
}
"""The sets of each group of tasks; those with a star are out of the domain of MMEB's training sets."""
SETS = {name.rstrip("*"): group for group, names in GROUPS.items() for name in names.split()}
"""Name of a set -> its group."""
OUT_OF_DOMAIN = {name[:-1] for names in GROUPS.values() for name in names.split() if name.endswith("*")}
COLUMNS = ("qry_inst", "qry_text", "qry_img_path", "tgt_inst", "tgt_text", "tgt_img_path")
IMAGE_TOKEN = "<|image_1|>"
ITEMS_AT_ONCE = 32
AS_IT_IS = "{text}"
"""The instruction that gives a model the words of an item and nothing else."""


@dataclass(frozen=True, slots=True)
class MmebItem:
    """A query or a candidate: a picture, a text, or both, and the words with which it is told."""

    picture: Path | None
    text: str
    instruction: str

    @property
    def words(self) -> str:
        """What a model that takes instructions is told after the picture, as the published code joins it."""
        told = self.instruction.replace(IMAGE_TOKEN, "")
        told = f"{IMAGE_TOKEN} {told}" if self.picture else told
        told = " ".join(filter(None, [told, self.text])).replace(" \n", "\n")
        return told.removeprefix(IMAGE_TOKEN)

    def digest(self) -> str:
        return digest_of(digest_of_file(self.picture) if self.picture else "", self.text, self.instruction)


@dataclass(frozen=True, slots=True)
class MmebQuery:
    """A row: a query and its candidates, of which the first is true."""

    row: int
    query: MmebItem
    candidates: tuple[MmebItem, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MmebResult:
    """What one set gave. `hit_at_1` is None if no row could be used."""

    name: str
    hit_at_1: Measured | None
    bad: list[tuple[int, str]]
    rows: int

    def as_json(self) -> dict[str, Any]:
        nothing = {"hit_at_1": None, "low": None, "high": None, "queries": 0}
        return {
            "name": self.name,
            "group": SETS.get(self.name),
            "domain": None if self.name not in SETS else "OOD" if self.name in OUT_OF_DOMAIN else "IND",
            **(self.hit_at_1.as_json("hit_at_1") if self.hit_at_1 else nothing),
            "rows": self.rows,
            "bad": len(self.bad),
            "bad_rows": [{"row": row, "why": why} for row, why in self.bad[:MAX_NAMED]],
        }


def mmeb_files(folder: Path) -> dict[str, list[Path]]:
    """Lists the sets in a folder: name -> Parquet files, either `NAME.parquet` or those in `NAME/`.

    Raises:
        InputError: there are none.
    """
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.parquet")):
        inside = file.relative_to(folder)
        found.setdefault(inside.parts[0].removesuffix(".parquet"), []).append(file)
    if not found:
        raise InputError(f"{folder} holds no Parquet files: name a copy of MMEB_Test_Instruct")
    order = [*SETS, *(name for name in found if name not in SETS)]
    return {name: found[name] for name in order if name in found}


def evaluate_mmeb(
    embedder: Embedder,
    name: str,
    files: Sequence[Path],
    images: Path,
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> MmebResult:
    """Evaluates a model on one set: how often the true candidate comes first among those of its query.

    A model that takes instructions (VIRTUE) is told those of the set; others get pictures and texts alone.

    Args:
        images: what paths of pictures in the set are relative to.
        cache: a folder where results are kept; None: nowhere.
        tell: called with how many queries and candidates are embedded, and of how many.

    Raises:
        InputError: a file cannot be read, or lacks a column.
    """
    bad: list[tuple[int, str]] = []
    queries = []
    for row, values in enumerate(value for file in files for value in read_rows(file, COLUMNS)):
        try:
            queries.append(_query(row, values, images))
        except InputError as error:
            bad.append((row, str(error)))
    total = len(queries) + len(bad)
    outcomes = Outcomes(cache, "mmeb", embedder.fingerprint, embedder.dtype)
    digests = {
        query.row: digest_of(query.query.digest(), [each.digest() for each in query.candidates])
        for query in queries
    }
    todo = [query for query in queries if outcomes.get(digests[query.row]) is None]
    new, faults = _hits(embedder, todo, tell)
    outcomes.add({digests[row]: [hit] for row, hit in new.items()})
    bad += [(row, str(fault)) for row, fault in faults.items()]
    known = [outcomes.get(digests[query.row]) for query in queries if query.row not in faults]
    hits = [values[0] for values in known if values is not None]
    return MmebResult(name, Measured.of(hits) if hits else None, sorted(bad), total)


def summarize(results: Sequence[MmebResult]) -> dict[str, Measured | None]:
    """Computes the means of the paper's table: of each group, in and out of domain, and of all; None where a
    set of them was not measured."""
    found = {result.name: result.hit_at_1 for result in results}
    parts = {group: [name for name in SETS if SETS[name] == group] for group in GROUPS}
    parts["IND"] = [name for name in SETS if name not in OUT_OF_DOMAIN]
    parts["OOD"] = [name for name in SETS if name in OUT_OF_DOMAIN]
    parts["all"] = list(SETS)
    means = {}
    for part, names in parts.items():
        measured = [figure for name in names if (figure := found.get(name)) is not None]
        means[part] = Measured.mean_of(measured) if len(measured) == len(names) else None
    return means


def _query(row: int, values: dict[str, Any], images: Path) -> MmebQuery:
    texts, pictures = values["tgt_text"], values["tgt_img_path"]
    if not isinstance(texts, list) or not isinstance(pictures, list) or len(texts) != len(pictures):
        raise InputError("tgt_text and tgt_img_path are no lists of the same length")
    told = values["tgt_inst"] or ""
    # A candidate without a picture is its text, and nothing else.
    candidates = [
        _item(images, picture, text, told if picture else "")
        for picture, text in zip(pictures, texts, strict=True)
    ]
    distinct = tuple(dict.fromkeys(candidates))
    if len(distinct) < 2:
        raise InputError("there are no two candidates")
    query = _item(images, values["qry_img_path"], values["qry_text"], values["qry_inst"] or "")
    return MmebQuery(row, query, distinct)


def _item(images: Path, picture: Any, text: Any, instruction: Any) -> MmebItem:
    if not all(value is None or isinstance(value, str) for value in (picture, text, instruction)):
        raise InputError("a text or the path of a picture is none")
    path = images / picture if picture else None
    if path is not None and not path.is_file():
        raise InputError(f"the picture {picture} is not there")
    if path is None and not text:
        raise InputError("there is neither a picture nor a text")
    return MmebItem(path, text or "", instruction)


def _hits(
    embedder: Embedder, queries: Sequence[MmebQuery], tell: Tell | None
) -> tuple[dict[int, float], dict[int, InputError]]:
    """Computes for each query whether its true candidate comes first, or why not."""
    items = list(dict.fromkeys(item for query in queries for item in query.candidates))
    total = len(items) + len(queries)
    done = 0
    places = {item: place for place, item in enumerate(items)}
    vectors: list[Any] = []
    for start in range(0, len(items), ITEMS_AT_ONCE):
        vectors += _embed(embedder, items[start : start + ITEMS_AT_ONCE], find=None)
        done = len(vectors)
        if tell:
            tell(done, total)
    hits: dict[int, float] = {}
    faults: dict[int, InputError] = {}
    for start in range(0, len(queries), ITEMS_AT_ONCE):
        some = queries[start : start + ITEMS_AT_ONCE]
        finds = ["photos" if query.candidates[0].picture else "captions" for query in some]
        for find in dict.fromkeys(finds):
            group = [query for query, wanted in zip(some, finds, strict=True) if wanted == find]
            vectors_of_group = _embed(embedder, [each.query for each in group], find)
            for query, asked in zip(group, vectors_of_group, strict=True):
                made = [asked, *(vectors[places[item]] for item in query.candidates)]
                fault = next((each for each in made if isinstance(each, InputError)), None)
                if fault is not None:
                    faults[query.row] = fault
                    continue
                scores = (np.stack(made[1:]) @ np.atleast_2d(made[0]).T).max(axis=1)[None]
                hits[query.row] = float(hits_at(scores, np.arange(scores.shape[1])[None] == 0)[0])
        if tell:
            tell(done + start + len(some), total)
    return hits, faults


def _embed(embedder: Embedder, items: Sequence[MmebItem], find: Any) -> list[np.ndarray | InputError]:
    """Embeds documents (`find` None) or queries."""
    if isinstance(embedder.model, InstructedModel):
        values = [_value(item, item.words) for item in items]
        return embed_each(lambda some: embedder.encode(some, prompt=AS_IT_IS, find=find), values)
    values = [_value(item, item.text) for item in items]
    if find is None:
        return embed_each(embedder.encode, values)
    return embed_each(lambda some: embedder.queries(some, find), values)


def _value(item: MmebItem, words: str) -> dict[str, Any]:
    return {"image": item.picture, "text": words or None}
