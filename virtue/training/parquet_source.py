"""MMEB-train and SCaR-train as published: Parquet files of queries, positives and negatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from virtue.distribution import install_hint
from virtue.errors import InputError
from virtue.geometry import Box, Prompt
from virtue.paths import printable
from virtue.training.examples import Example, Side

Kind = Literal["mmeb", "scar"]

IMAGE_TOKENS = ("<|image_1|>", "<|image_pad|>")
"""Where the image is in a published text: always first, and the model puts its own there."""
COLUMNS = {
    "query": ("qry", "qry_text"),
    "query image": ("qry_image_path", "qry_img_path"),
    "positive": ("pos_text", "tgt_text"),
    "positive image": ("pos_image_path", "tgt_img_path"),
    "negatives": ("neg_text",),
    "negative images": ("neg_image_path",),
    "box": ("bbox",),
}
"""What we read, and what the published files call it in training and evaluation. Of the evaluation's lists of
candidates the first is the truth and the others are negatives."""


def read_parquet(
    path: Path, images: Path, kind: Kind, *, weight: float = 1.0, limit: int | None = None
) -> list[ParquetSource]:
    """Reads a file, or the files of a folder and its folders: a source for each. Of MMEB's, which come in
    several wordings, `original` alone.

    Raises:
        InputError: there is no such file, it is damaged, or lacks a column.
    """
    files = [path]
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if any(file.name.startswith("original-") for file in files):
            files = [file for file in files if file.name.startswith("original-")]
        if not files:
            raise InputError(f"{printable(str(path))} holds no Parquet files: name a folder that does")
    return [ParquetSource(file, images, kind, weight=weight, limit=limit) for file in files]


class ParquetSource:
    """Implements `Source` for one file. Only the columns that count are held."""

    is_cheap = True

    def __init__(
        self, file: Path, images: Path, kind: Kind, *, weight: float = 1.0, limit: int | None = None
    ) -> None:
        # MMEB's files are called alike; their folders have the names.
        is_split = file.name.startswith("original-")
        self.name = f"{kind} {printable(file.parent.name if is_split else file.stem)}"
        self.weight = weight
        self.faults: list[str] = []
        self._images, self._kind = images, kind
        table = _read_table(file, kind)
        self._table = table if limit is None else table.slice(0, limit)

    def __len__(self) -> int:
        return len(self._table)

    def example(self, row: int) -> Example:
        values: dict[str, Any] = {name: column[row].as_py() for name, column in self._columns()}
        try:
            return self._example(values)
        except InputError as error:
            raise InputError(f"{self.name}, row {row}: {error}") from None

    def _columns(self) -> list[tuple[str, Any]]:
        return list(zip(self._table.column_names, self._table.columns, strict=True))

    def _example(self, values: dict[str, Any]) -> Example:
        box = _read_box(values.get("box")) if self._kind == "scar" else None
        texts, pictures = _as_list(values.get("positive")), _as_list(values.get("positive image"))
        negatives = [*zip(texts[1:], _fill(pictures[1:], len(texts[1:])), strict=False)]
        more, more_pictures = _as_list(values.get("negatives")), _as_list(values.get("negative images"))
        count = max(len(more), len(more_pictures))
        negatives += zip(_fill(more, count), _fill(more_pictures, count), strict=True)
        sides = [self._side(text, image) for text, image in negatives]
        return Example(
            self._demand(values.get("query"), values.get("query image"), "query", box),
            self._demand((texts or [None])[0], (pictures or [None])[0], "positive"),
            tuple(side for side in sides if side is not None),
        )

    def _demand(self, text: Any, image: Any, what: str, box: Box | None = None) -> Side:
        side = self._side(text, image, box)
        if side is None:
            raise InputError(f"it has no {what}")
        return side

    def _side(self, text: Any, image: Any, box: Box | None = None) -> Side | None:
        """Makes what the published code makes of a text and an image; None: both are empty."""
        words = text if isinstance(text, str) else ""
        for token in IMAGE_TOKENS:
            words = words.replace(token, "")
        if not isinstance(image, str) or not image:
            if box is not None:
                raise InputError("it has a box and no image")
            return Side(text=words, instruction="") if words.strip() else None
        words = words.replace(" \n", "\n")
        if box is not None:
            words = f"{words.rstrip()}\nReferring object bbox: {list(box.corners)}"
        return Side(words, self._images / image, Prompt(box=box) if box else None, instruction="")


def _read_table(file: Path, kind: Kind) -> Any:
    """Reads the columns that count, by our names."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"Parquet files need pyarrow, which is not installed: {install_hint('parquet')}"
        ) from None
    try:
        there = pyarrow.parquet.read_schema(file).names
        names = {
            ours: next((name for name in theirs if name in there), None) for ours, theirs in COLUMNS.items()
        }
        needed = ["query", "positive", *(["query image", "box"] if kind == "scar" else [])]
        if lacking := [COLUMNS[ours][0] for ours in needed if names[ours] is None]:
            raise InputError(f"{printable(str(file))} lacks the column {', '.join(lacking)}")
        held = {ours: name for ours, name in names.items() if name is not None}
        return (
            pyarrow.parquet.read_table(file, columns=[*held.values()])
            .select([*held.values()])
            .rename_columns([*held])
        )
    except FileNotFoundError:
        raise InputError(f"there is no file {printable(str(file))}") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{printable(str(file))} is no Parquet file, or damaged ({error})") from None


def _read_box(value: Any) -> Box:
    """x, y, w, h, as COCO has them."""
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(part) in (int, float) for part in value)
    ):
        raise InputError(f"its box is {value!r:.60}, not x, y, w, h")
    return Box.from_xywh(*map(float, value))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _fill(values: Sequence[Any], count: int) -> list[Any]:
    return [*values, *[None] * (count - len(values))]
