"""Figures as tables in Markdown: shares in percent, each with its interval; and the paper's beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from virtue.evaluation.measures import Measured

Cell: TypeAlias = "Measured | float | int | str | None"
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures.

    Attributes:
        columns: what the figures are.
        rows: what they are of, and for each column a figure; a float is a share too, None was not measured.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]

    def as_markdown(self) -> str:
        lines = [f"**{self.title}**", "", _line(["", *self.columns]), "|---" * (len(self.columns) + 1) + "|"]
        lines += [_line([name, *map(show, cells)]) for name, cells in self.rows]
        return "\n".join(lines) + "\n"


def show(cell: Cell) -> str:
    """Writes a figure as a table has it: "62.5 (60.1 to 64.8)" for a share of 0.625."""
    if cell is None:
        return NOT_MEASURED
    if isinstance(cell, Measured):
        return f"{100 * cell.value:.1f} ({100 * cell.low:.1f} to {100 * cell.high:.1f})"
    return f"{100 * cell:.1f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@cache
def read_paper(benchmark: str) -> dict[str, Any]:
    """Reads the paper's table of a benchmark: columns, and rows in percent by the names of models."""
    table: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "paper.json").read_text())[benchmark]
    return table


def paper_table(benchmark: str, title: str, name: str, measured: Sequence[Measured | None]) -> Table:
    """Returns the paper's table with what was measured here as its first row."""
    paper = read_paper(benchmark)
    rows: list[tuple[str, Sequence[Cell]]] = [(f"{name}, measured here", measured)]
    rows += [(model, [figure / 100 for figure in figures]) for model, figures in paper["rows"].items()]
    return Table(title, paper["columns"], rows)
