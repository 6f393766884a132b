"""MMEB's results as tables: each set, and the paper's table beside the means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virtue.evaluation.mmeb import OUT_OF_DOMAIN, SETS, MmebResult, summarize
from virtue.evaluation.tables import Cell, Table, paper_table


def mmeb_tables(results: Sequence[MmebResult], model: str) -> list[Table]:
    """Returns a table of these sets, and the paper's with the means of all."""
    rows: list[tuple[str, Sequence[Cell]]] = [
        (
            result.name,
            [
                result.hit_at_1,
                SETS.get(result.name, ""),
                "" if result.name not in SETS else "OOD" if result.name in OUT_OF_DOMAIN else "IND",
                result.rows - len(result.bad),
                len(result.bad),
            ],
        )
        for result in results
    ]
    means = list(summarize(results).values())
    title = "MMEB, with the figures of VIRTUE, arXiv 2510.00523"
    return [
        Table(f"MMEB with {model}", ["hit@1", "group", "domain", "queries", "left out"], rows),
        paper_table("mmeb", title, model, means),
    ]


def summary_as_json(results: Sequence[MmebResult]) -> dict[str, Any]:
    """Returns the means of the paper's table; null where one of their sets was not measured."""
    means = {name: figure.as_json() if figure else None for name, figure in summarize(results).items()}
    return {"name": "MMEB", "sets": sum(result.name in SETS for result in results), **means}
