"""SCaR's results as tables: what was measured, and the paper's table beside it."""

from __future__ import annotations

from collections.abc import Sequence

from virtue.evaluation.blind_guesses import GUESSES
from virtue.evaluation.measures import Measured
from virtue.evaluation.scar import ALL, PAIR, ScarResult
from virtue.evaluation.scar_files import ELEMENTS
from virtue.evaluation.tables import Cell, Table, paper_table, read_paper


def mean_of(results: Sequence[ScarResult]) -> Measured | None:
    """Returns the mean of files, each with the same weight, as in the paper; None: nothing was measured."""
    parts = [result.p_at_1 for result in results if result.p_at_1]
    return Measured.mean_of(parts) if parts else None


def scar_tables(results: Sequence[ScarResult], model: str) -> list[Table]:
    """Returns the table of these files; and if one is of the paper's five, the paper's with these figures."""
    figures = [*ELEMENTS, *([PAIR] if any(PAIR in result.swaps for result in results) else [])]
    rows: list[tuple[str, Sequence[Cell]]] = [
        (
            result.name,
            [result.p_at_1, *map(result.swaps.get, figures), result.rows - len(result.bad), len(result.bad)],
        )
        for result in results
    ]
    for result in results:
        for guess, blind in result.blind.items():
            some = [blind.get(figure) for figure in (ALL, *figures)]
            rows.append((f"{result.name}, blind: {GUESSES[guess]}", [*some, "", ""]))
    chance: list[Cell] = [0.1, *([0.25] * len(ELEMENTS)), *([0.5] if PAIR in figures else []), "", ""]
    if len(results) > 1:
        rows.append(("mean", [mean_of(results), *[""] * (len(figures) + 2)]))
    rows.append(("chance", chance))
    tables = [Table(f"SCaR with {model}", ["P@1", *figures, "regions", "left out"], rows)]
    found = {_column(result.name): result.p_at_1 for result in results}
    columns = read_paper("scar")["columns"][:-1]
    if any(found.get(column) for column in columns):
        sets = [found.get(column) for column in columns]
        every = mean_of(results) if all(sets) and len(results) == len(sets) else None
        title = "P@1 of SCaR, with the figures of VIRTUE, arXiv 2510.00523"
        tables.append(paper_table("scar", title, model, [*sets, every]))
    return tables


def _column(file: str) -> str | None:
    """Returns which of the paper's sets a file is of."""
    names = read_paper("scar")["files"].items()
    return next((column for part, column in names if part.lower() in file.lower()), None)
