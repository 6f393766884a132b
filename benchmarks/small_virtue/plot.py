"""Draws a report of the small VIRTUE: python -m benchmarks.small_virtue.plot OUT/report.json PLOT.svg"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROMPTS = {
    "box": "box", "text": "box as text", "circle": "red circle", "none": "no prompt", "crop": "crop",
}  # fmt: skip
FIGURES = {"p_at_1": "P@1 of ten", "pair": "bound pairs"}
CHANCE = {"p_at_1": 10, "pair": 50}


def draw(report: dict[str, Any], path: Path) -> None:
    """Draws the figures of all prompts with their 95 % intervals, and chance."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "virtue", "font.size": 9})
    from matplotlib import pyplot

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


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
