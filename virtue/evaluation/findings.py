"""What an evaluation found: figures by name, of how many things, and what had to be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from virtue.evaluation.measures import Measured
from virtue.evaluation.tables import Cell, Table

Tell = Callable[[int, int], None]
"""Called with how many things are done, and of how many."""
MAX_NAMED = 20
"""Things left out that a result names; all are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What an evaluation found.

    Attributes:
        name: of the evaluation.
        figures: shares, or means from 0 to 1, by name.
        facts: of how many photos, queries and so on; or lists of what each query gave.
        bad: what was left out, each with why.
    """

    name: str
    figures: Mapping[str, Measured]
    facts: Mapping[str, Any] = field(default_factory=dict)
    bad: Sequence[tuple[str, str]] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.facts,
            **{name: figure.as_json() for name, figure in self.figures.items()},
            "bad": len(self.bad),
            "bad_rows": [{"row": row, "why": why} for row, why in self.bad[:MAX_NAMED]],
        }

    def as_table(self) -> Table:
        rows: list[tuple[str, Sequence[Cell]]] = [
            (name, [figure, figure.queries]) for name, figure in self.figures.items()
        ]
        counts = {name: fact for name, fact in self.facts.items() if isinstance(fact, int)}
        rows += [(name, ["", fact]) for name, fact in counts.items()]
        if self.bad:
            rows.append(("left out", ["", len(self.bad)]))
        return Table(self.name, ["share or mean", "number"], rows)
