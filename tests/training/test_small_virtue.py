"""The recipe of the small VIRTUE (`benchmarks.small_virtue`), in small: it learns what the prompt means."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.small_virtue.batches import Questions
from benchmarks.small_virtue.features import Projection, cache_scenes
from benchmarks.small_virtue.measuring import measure, score, tell
from benchmarks.small_virtue.training import Plan, train
from benchmarks.small_virtue.words import read_conse
from tests.training.drawn_cutouts import draw_cutouts
from virtue.training.scenes import Scenes, draw_grounds, read_cutouts

SEED = 0


def test_the_loss_falls_and_a_prompt_tells_which_thing_is_meant_in_new_scenes(tmp_path: Path) -> None:
    things = read_cutouts(draw_cutouts(tmp_path / "shapes"))
    learnt = Scenes(things, draw_grounds(), length=96, seed=SEED)
    new = Scenes(things, draw_grounds(), length=48, seed=SEED + 1, bound=1.0)
    projection = Projection.fit([learnt[number] for number in range(32)])
    questions = Questions(cache_scenes(tmp_path / "learnt", learnt, projection, every=10))
    asked = Questions(cache_scenes(tmp_path / "new", new, projection, every=48))

    losses: list[float] = []
    plan = Plan(samples=32 * 32, batch=32, seed=SEED)
    model = train(questions, read_conse(projection), plan, tell=lambda told: losses.append(told["loss"]))

    assert len(losses) == 32
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])
    captions = tell(model, asked)
    found = {mode: measure(score(model, asked, mode, captions), asked) for mode in ("box", "none")}
    assert found["box"]["object"].value > found["none"]["object"].value + 0.15

    for choice in (
        Plan(tokens=4),
        Plan(tokens=16, connector="mlp"),
        Plan(tokens=16, connector="linear", prefix=False),
    ):
        spread = Questions(asked.features, grid=np.full((48, 144), 255, np.uint8))
        other = train(spread, read_conse(projection), replace(choice, samples=16, batch=8))
        prompted, free = (score(other, spread, mode, tell(other, spread)) for mode in ("box", "none"))
        assert np.isfinite(prompted).all() and not np.allclose(prompted, free)
