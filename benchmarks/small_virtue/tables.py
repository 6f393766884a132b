"""Prints the short runs of a report as a table: python -m benchmarks.small_virtue.tables OUT/report.json

Figures are in per cent, one for each seed. Of variants with several seeds follows by how much they differ
from the run as it is, with the same seeds: the mean, and its 95 % interval by Student's t.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.small_virtue.variants import VARIANTS

PROMPTS = {
    "box": "the box", "text": "the box as text", "circle": "a red circle around it", "none": "no prompt",
    "crop": "a crop, seen anew",
}  # fmt: skip
FIGURES = {"p_at_1": "P@1", "object": "object", "pair": "pair"}
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Number of seeds -> how many standard errors the half of an interval is."""


def find_runs(report: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Returns the runs of a variant by their seeds."""
    runs = {
        int(key.rpartition(" ")[2]): each for key, each in report.items() if key.startswith(f"{name}, seed ")
    }
    return {str(seed): runs[seed] for seed in sorted(runs)}


def values(runs: dict[str, dict[str, Any]], prompt: str, figure: str) -> list[float]:
    """Returns a figure of each run in per cent."""
    return [100 * run[prompt][figure]["value"] for run in runs.values()]


def write_tables(report: dict[str, Any]) -> str:
    lines = [f"| short run | prompt | {' | '.join(FIGURES.values())} |", f"|---|---|{'---|' * len(FIGURES)}"]
    differences = []
    base = find_runs(report, VARIANTS[0].name)
    for variant in VARIANTS:
        runs = find_runs(report, variant.name)
        for prompt in variant.modes if runs else ():
            cells = [" / ".join(f"{value:.1f}" for value in values(runs, prompt, name)) for name in FIGURES]
            lines.append(f"| {variant.name} | {PROMPTS[prompt]} | {' | '.join(cells)} |")
            if variant is not VARIANTS[0] and len(runs) in STUDENT and runs.keys() == base.keys():
                told = [differ(values(runs, prompt, name), values(base, prompt, name)) for name in FIGURES]
                differences.append(f"| {variant.name} | {PROMPTS[prompt]} | {' | '.join(told)} |")
    return "\n".join([*lines, "", *lines[:2], *differences])


def differ(these: list[float], those: list[float]) -> str:
    """Writes the mean difference with its interval."""
    found = np.subtract(these, those)
    half = STUDENT[len(found)] * found.std(ddof=1) / len(found) ** 0.5
    return f"{found.mean():+.1f} ({found.mean() - half:+.1f} to {found.mean() + half:+.1f})"


if __name__ == "__main__":
    print(write_tables(json.loads(Path(sys.argv[1]).read_text())))
