"""Trains and measures a small VIRTUE: python -m benchmarks.small_virtue OUT --cutouts DIR --grounds DIR

Works out features of scenes, trains the segmentation stream, short runs that differ in one choice each
(`variants.py`), then the towers at length and the reader of captions, and
prints the figures on scenes of names and grounds kept for tests as JSON, with 95 % intervals. What OUT holds
already is not done again: a command that was cut goes on with the stage it was at. Needs the extra `train`
and what requirements.txt beside this file names; docs/results.md has what came out, and where pictures are
gathered from.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.small_virtue.batches import MODES, Questions
from benchmarks.small_virtue.features import FITTED, Projection, SceneFeatures, cache_scenes
from benchmarks.small_virtue.measuring import guess_blindly, measure, score, tell
from benchmarks.small_virtue.reading import CaptionReader, distil
from benchmarks.small_virtue.segmenter import (
    Segmenter,
    cache_grid,
    cache_shares,
    measure_masks,
    train_segmenter,
)
from benchmarks.small_virtue.training import Plan, SmallVirtue, train
from benchmarks.small_virtue.variants import VARIANTS, Variant
from benchmarks.small_virtue.words import read_conse
from virtue.evaluation.measures import Measured
from virtue.training.scenes import Scenes, draw_grounds, read_cutouts, read_grounds, split
from virtue.training.scenes.splits import Part

TRAIN_SEED, TEST_SEED = 0, 1
EVERY, TEST_EVERY = 6, 3
"""Of how many scenes one is seen as a crop and with a circle, too."""
WRONG_FRAME = 256 / 1024
"""What boxes shrink by if pixels of the picture are taken for those of a square of 1,024."""


def find_features(given: argparse.Namespace) -> tuple[SceneFeatures, SceneFeatures, Projection]:
    """Returns the scenes to learn from and those kept for tests, worked out if they are not there."""
    cutouts, photos = read_cutouts(given.cutouts), read_grounds(given.grounds)

    def make(part: Part, count: int, seed: int, bound: float) -> Scenes:
        grounds = [*split(photos, part), *split(draw_grounds(), part)]
        return Scenes(split(cutouts, part), grounds, length=count, seed=seed, bound=bound)

    learnt, kept = make("train", given.scenes, TRAIN_SEED, 0.5), make("test", given.tests, TEST_SEED, 1.0)
    given.out.mkdir(parents=True, exist_ok=True)
    axes = given.out / "projection.npz"
    if not axes.is_file():
        Projection.fit([learnt[number] for number in range(min(FITTED, given.scenes))]).save(axes)
    projection = Projection.load(axes)
    return (
        cache_scenes(given.out / "train", learnt, projection, EVERY, given.processes),
        cache_scenes(given.out / "test", kept, projection, TEST_EVERY, given.processes),
        projection,
    )


def load_or(path: Path, model: nn.Module, make: Any) -> Any:
    """Returns a trained network from its file, or trains it and writes the file."""
    if path.is_file():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    trained = make()
    torch.save(trained.state_dict(), path)
    return trained


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--cutouts", type=Path, required=True)
    parser.add_argument("--grounds", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=20_000, help="to learn from")
    parser.add_argument("--tests", type=int, default=1500, help="scenes to measure on, all of them bound")
    parser.add_argument(
        "--samples", type=int, default=160_000, help="questions to learn from; 0: short runs alone"
    )
    parser.add_argument("--masks", type=int, default=30_000, help="masks to learn from")
    parser.add_argument("--short", type=int, default=20_000, help="questions that variants learn from")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of short runs")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.processes)
    learnt, kept, projection = find_features(given)
    conse = read_conse(projection)
    held = given.out / "report.json"
    report: dict[str, Any] = json.loads(held.read_text()) if held.is_file() else {}

    def keep(name: str, measure_it: Callable[[], Any]) -> None:
        if name in report:
            return
        report[name] = measure_it()
        held.write_text(json.dumps(report, indent=2))
        print(json.dumps({name: report[name]}), file=sys.stderr, flush=True)

    segmenter = load_or(
        given.out / "segmenter.pt", Segmenter(), lambda: train_segmenter(learnt, samples=given.masks, seed=0)
    )
    questions, asked = (Questions(each, cache_shares(segmenter, each)) for each in (learnt, kept))
    keep("blind guesses", lambda: {name: _as_json(found) for name, found in guess_blindly(asked).items()})
    keep("masks", lambda: _as_json(measure_masks(segmenter, kept)))

    def learn(name: str, plan: Plan, learnt_from: Questions = questions) -> SmallVirtue:
        made: SmallVirtue = load_or(
            given.out / name, plan.start(conse), lambda: train(learnt_from, conse, plan)
        )
        return made

    def try_variant(variant: Variant, seed: int) -> Any:
        own, other = (
            Questions(
                each,
                cache_shares(segmenter, each) if variant.masks else None,
                grid=cache_grid(segmenter, each, variant.grid) if variant.grid else None,
            )
            for each in (learnt, kept)
        )
        plan = Plan(samples=given.short, seed=seed, **variant.plan)
        model = learn(f"{variant.slug}-{seed}.pt", plan, own)
        return _figures(model, other, modes=variant.modes)

    for variant in VARIANTS:
        for seed in given.seeds if variant.is_repeated else given.seeds[:1]:
            keep(f"{variant.name}, seed {seed}", partial(try_variant, variant, seed))

    if given.samples:
        model = learn("towers.pt", Plan(samples=given.samples))
        keep("parsed captions", lambda: _figures(model, asked))
        words = learnt.vocabulary
        reader = load_or(
            given.out / "reader.pt",
            CaptionReader(),
            lambda: distil(model.captions, words["names"], words["grounds"], seed=0),
        )
        keep("captions", lambda: _figures(model, asked, reader))
        wrong = Questions(kept, cache_shares(segmenter, kept, WRONG_FRAME), WRONG_FRAME)
        keep("box in the wrong frame", lambda: _figures(model, wrong, reader, ["box"]))
    print(json.dumps(report, indent=2))


def _figures(
    model: SmallVirtue,
    questions: Questions,
    reader: CaptionReader | None = None,
    modes: Iterable[str] = MODES,
) -> dict[str, Any]:
    """Measures all modes, crops and circles where there are some; "box on photos" and "box on drawn grounds"
    are parts of "box"."""
    told = tell(model, questions, reader)
    scores = {mode: score(model, questions, mode, told) for mode in modes}
    is_seen_anew = np.isin(questions.bound, questions.cropped)
    found = {
        mode: _as_json(measure(each, questions, is_seen_anew if mode in ("crop", "circle") else None))
        for mode, each in scores.items()
    }
    photo = np.asarray(questions.features.photo)[questions.bound]
    for name, some in {"photos": photo, "drawn grounds": ~photo}.items():
        found[f"box on {name}"] = _as_json(measure(scores["box"], questions, some))
    return found


def _as_json(found: dict[str, Measured]) -> dict[str, Any]:
    return {name: each.as_json() for name, each in found.items()}


if __name__ == "__main__":
    main()
