"""Draws a report of the small VIRTUE: python -m benchmarks.small_virtue.plot OUT/report.json PLOT.svg

With --short the short runs, a dot for each seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.small_virtue.tables import find_runs
from benchmarks.small_virtue.variants import VARIANTS

PROMPTS = {
    "box": "box", "text": "box as text", "circle": "red circle", "none": "no prompt", "crop": "crop",
}  # fmt: skip
FIGURES = {"p_at_1": "P@1 of ten", "pair": "bound pairs"}
CHANCE = {"p_at_1": 10, "pair": 50}
DOTS = {"box": ("#5b7fb5", -0.3), "none": ("#999", 0.1)}
"""Prompt -> colour, and how far from the middle of a row its dots lie."""


def draw(report: dict[str, Any], path: Path) -> None:
    """Draws the figures of all prompts with their 95 % intervals, and chance."""
    pyplot = _start_drawing()
    figure, axes = pyplot.subplots(1, len(FIGURES), figsize=(7, 2.4), sharey=True, layout="constrained")
    for axis, (name, title) in zip(axes, FIGURES.items(), strict=True):
        found = [report["parsed captions"][prompt][name] for prompt in PROMPTS]
        values = [100 * each["value"] for each in found]
        errors = [[100 * abs(each["value"] - each[end]) for each in found] for end in ("low", "high")]
        axis.barh(list(PROMPTS.values()), values, xerr=errors, color="#5b7fb5", ecolor="#333", capsize=3)
        axis.axvline(CHANCE[name], color="#b33", linestyle="--", linewidth=1)
        axis.set_title(f"{title}, % (dashed: chance)", fontsize=9)
    axes[0].invert_yaxis()
    figure.savefig(path, metadata={"Date": None})


def draw_short(report: dict[str, Any], path: Path) -> None:
    """Draws the figures of all short runs by the box and without a prompt, a dot for each seed with its 95 %
    interval."""
    pyplot = _start_drawing()
    figure, axes = pyplot.subplots(1, len(FIGURES), figsize=(7, 4.6), sharey=True, layout="constrained")
    runs = {variant.name: found for variant in VARIANTS if (found := find_runs(report, variant.name))}
    for axis, (name, title) in zip(axes, FIGURES.items(), strict=True):
        for prompt, (colour, side) in DOTS.items():
            dots = [
                (found, row + side + 0.08 * number)
                for row, variant in enumerate(runs.values())
                for number, found in enumerate(run[prompt][name] for run in variant.values())
            ]
            points = [100 * found["value"] for found, _ in dots]
            errors = [
                [100 * abs(found["value"] - found[end]) for found, _ in dots] for end in ("low", "high")
            ]
            places = [place for _, place in dots]
            label = PROMPTS[prompt]
            axis.errorbar(points, places, xerr=errors, fmt="o", ms=3, lw=0.8, color=colour, label=label)
        axis.axvline(CHANCE[name], color="#b33", linestyle="--", linewidth=1)
        axis.set_title(f"{title}, % (dashed: chance)", fontsize=9)
    axes[0].set_yticks(range(len(runs)), [*runs])
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def _start_drawing() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "virtue", "font.size": 9})
    from matplotlib import pyplot

    return pyplot


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("plot", type=Path)
    parser.add_argument("--short", action="store_true", help="the short runs")
    given = parser.parse_args()
    (draw_short if given.short else draw)(json.loads(given.report.read_text()), given.plot)
