"""What an evaluation found as three files: tables in Markdown, JSON lines, and a plot as SVG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from virtue.distribution import install_hint
from virtue.errors import InputError
from virtue.evaluation.measures import Measured
from virtue.evaluation.tables import Cell, Table

ROW_HEIGHT, WIDTH = 0.4, 8.0
"""Inches of a plot."""


def describe_settings(about: dict[str, Any]) -> str:
    """Says in two lines of Markdown with what the figures above were measured."""
    settings = "".join(f"; {name} {value}" for name, value in about["settings"].items())
    dtype = f", {about['dtype']}" if about["dtype"] else ""
    return (
        f"Model {about['model']} ({about['fingerprint']}{dtype}){settings}. "
        f"Shares in percent, with 95 % bootstrap intervals.\n`{about['command']}`\n"
    )


def check_report(folder: Path) -> None:
    """Checks, before anything is measured, that a report can be written.

    Raises:
        InputError: matplotlib is not installed, or there is a file in the folder's place.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            f"plots need matplotlib, which is not installed: {install_hint('evaluate')}"
        ) from None
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the report")


def write_report(
    folder: Path, name: str, tables: Sequence[Table], objects: Sequence[dict[str, Any]], about: dict[str, Any]
) -> None:
    """Writes NAME.md, NAME.jsonl and NAME.svg into a folder, over those of before.

    Raises:
        InputError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join([*(table.as_markdown() for table in tables), describe_settings(about)])
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        lines = "".join(f"{json.dumps(each)}\n" for each in objects)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        plot(tables, folder / f"{name}.svg")
    except OSError as error:
        raise InputError(f"the report cannot be written to {folder}: {error.strerror or error}") from None


def plot(tables: Sequence[Table], file: Path) -> None:
    """Draws the shares of tables, one below the other: a mark for each, with its interval."""
    from matplotlib.figure import Figure

    # Counts are for the written table alone.
    tables = [
        replace(each, rows=[row for row in each.rows if any(map(_is_share, row[1]))]) for each in tables
    ]
    heights = [max(len(table.rows), 2) for table in tables]
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * sum(heights) + 1.2 * len(tables)), layout="constrained")
    areas = figure.subplots(len(tables), squeeze=False, height_ratios=heights)[:, 0]
    for area, table in zip(areas, tables, strict=True):
        for number, column in enumerate(table.columns):
            marks = [(row, cells[number]) for row, (_, cells) in enumerate(table.rows)]
            shares = [(row, *_ends(cell)) for row, cell in marks if _is_share(cell)]
            if not shares:
                continue
            rows, values, lows, highs = zip(*shares, strict=True)
            ends = [[v - low for v, low in zip(values, lows, strict=True)],
                    [high - v for v, high in zip(values, highs, strict=True)]]  # fmt: skip
            # A little apart, so that intervals of one row do not lie on each other.
            shifted = [row + 0.12 * (number - (len(table.columns) - 1) / 2) for row in rows]
            area.errorbar(values, shifted, xerr=ends, fmt="o", markersize=4, capsize=2, label=column)
        area.set_yticks(range(len(table.rows)), [name for name, _ in table.rows])
        area.set_ylim(len(table.rows) - 0.4, -0.6)
        area.set_xlim(-2, 102)  # marks at the ends are seen whole
        area.set_xlabel("percent")
        area.set_title(table.title, fontsize="medium")
        area.grid(axis="x", alpha=0.3)
        area.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(file, format="svg", metadata={"Date": None})


def _is_share(cell: Cell) -> bool:
    return isinstance(cell, Measured | float)


def _ends(cell: Cell) -> tuple[float, float, float]:
    """Returns a share and the ends of its interval, in percent."""
    if isinstance(cell, Measured):
        return 100 * cell.value, 100 * cell.low, 100 * cell.high
    assert isinstance(cell, float)
    return (100 * cell,) * 3
