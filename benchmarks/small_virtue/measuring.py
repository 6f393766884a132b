"""Figures of a trained network on scenes of names and grounds that it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.small_virtue.batches import Questions
from benchmarks.small_virtue.reading import CaptionReader, embed_captions, read_tokens, write_captions
from benchmarks.small_virtue.training import SmallVirtue
from virtue.evaluation.blind_guesses import GUESSES, guess
from virtue.evaluation.measures import Measured, hits_at
from virtue.evaluation.scar_files import ScarQuery
from virtue.geometry import Box
from virtue.training.scenes import ELEMENTS

RIVALS = {"p_at_1": range(1, 10), "object": range(1, 4), "relation": range(4, 7), "scene": range(7, 10)}
"""Figure -> the captions that the true one must come before."""
AT_ONCE = 250


def tell(model: SmallVirtue, questions: Questions, reader: CaptionReader | None = None) -> Tensor:
    """Embeds the captions of the bound questions, (questions, 10, numbers).

    Args:
        reader: reads the captions; None: their parse is given.
    """
    rows = []
    for scenes in _batches(questions):
        captions = torch.from_numpy(questions.captions[scenes, 0].astype(np.int64))
        with torch.inference_mode():
            if reader is None:
                parse = questions.look_up(captions)
                rows.append(model.captions(*parse))
            else:
                states, words = read_tokens(_write(questions, scenes))
                made = embed_captions(reader, model.captions, states, words)
                rows.append(made.unflatten(0, (len(scenes), -1)))
    return torch.cat(rows)


def score(model: SmallVirtue, questions: Questions, mode: str, told: Tensor) -> np.ndarray:
    """Scores the captions of the bound questions, embedded by `tell`: (questions, 10)."""
    rows = []
    for scenes in _batches(questions):
        things, modes = np.zeros(len(scenes), int), np.full(len(scenes), mode)
        with torch.inference_mode():
            rows.append(model.images(questions.ask(scenes, things, modes).given))
    scores: np.ndarray = (torch.cat(rows)[:, None] * told).sum(-1).numpy()
    return scores


def _batches(questions: Questions) -> list[np.ndarray]:
    return np.array_split(questions.bound, max(len(questions.bound) // AT_ONCE, 1))


def _write(questions: Questions, scenes: np.ndarray) -> list[str]:
    words = questions.features.vocabulary
    return write_captions(words["names"], words["grounds"], questions.captions[scenes, 0].reshape(-1, 5))


def guess_blindly(questions: Questions) -> dict[str, dict[str, Measured]]:
    """Measures what can be guessed of the bound questions without the pictures."""
    scenes = questions.bound
    texts = np.array(_write(questions, scenes), object).reshape(len(scenes), -1)
    swaps = (None, *(element for element in ELEMENTS for _ in range(3)))
    twins = questions.features.twins[scenes, 0]
    asked = [
        ScarQuery(row, Path(str(row)), Box(*map(float, box)), "", tuple(captions), swaps, int(twin))
        for row, (box, captions, twin) in enumerate(
            zip(questions.boxes[scenes, 0], texts, twins, strict=True)
        )
    ]
    found = {}
    for name, sizes in zip(GUESSES, (None, [(1, 1)] * len(asked)), strict=True):
        rows = [row for row in guess(asked, sizes) if row is not None]
        found[name] = measure(np.array(rows), questions)
    return found


def measure(scores: np.ndarray, questions: Questions, some: np.ndarray | None = None) -> dict[str, Measured]:
    """Computes how often the true caption, the first, comes before others.

    Args:
        some: (questions,) bool: which questions count; None: all.
    """
    scenes = questions.bound if some is None else questions.bound[some]
    scores = scores if some is None else scores[some]
    twins = np.asarray(questions.features.twins)[scenes, :1]
    figures = {}
    for name in (*RIVALS, "pair"):
        rivals = twins if name == "pair" else np.tile(list(RIVALS[name]), (len(scores), 1))
        rows = np.take_along_axis(scores, np.pad(rivals, ((0, 0), (1, 0))), axis=1)
        truth = np.broadcast_to(np.arange(rows.shape[1]) == 0, rows.shape)
        figures[name] = Measured.of(hits_at(rows, truth))
    return figures
