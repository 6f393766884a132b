"""Trains the image tower with parsed captions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.small_virtue.batches import Batch, Questions
from benchmarks.small_virtue.connector import Connector, Kind
from benchmarks.small_virtue.network import CaptionTower, Conse, ImageTower, Shared, pool, unit

IN_BATCH, NAMING = 0.5, 1.0
"""Weights of the losses beside that over a question's own captions."""
NAME_TEMPERATURE = 0.07


class SmallVirtue(nn.Module):
    """Both towers, and the temperature of the loss."""

    def __init__(
        self, conse: Conse, *, prefix: bool = True, tokens: int = 0, connector: Kind = "conv"
    ) -> None:
        super().__init__()
        self.shared = Shared()
        segmentation = Connector(tokens, connector) if tokens else None
        self.images = ImageTower(self.shared, conse, prefix=prefix, segmentation=segmentation)
        self.captions = CaptionTower(self.shared)
        self.temperature = nn.Parameter(torch.tensor(0.05).log())

    def losses(self, batch: Batch, names: torch.Tensor, *, negatives: bool = True) -> dict[str, torch.Tensor]:
        """Computes the losses of a batch.

        Args:
            names: (names, 384), among which things are named.
            negatives: whether captions that differ in one element count, and not those of others alone.
        """
        asked = self.images(batch.given).float()
        told = self.captions(batch.subjects, batch.relations, batch.others, batch.places).float()
        scale = self.temperature.exp().clamp(0.01, 1)
        truth = torch.zeros(len(asked), dtype=torch.long)
        own = (asked[:, None] * told).sum(-1) / scale
        others = asked @ told[:, 0].T / scale
        own_loss = F.cross_entropy(own, truth)
        batch_loss = F.cross_entropy(others, torch.arange(len(asked)))
        there = batch.names >= 0
        pooled = pool(batch.given.cells, batch.shares)[there]
        found = unit(self.shared.thing(self.images.namer(pooled)).float())
        wanted = unit(self.shared.thing(names).float())
        naming = F.cross_entropy(found @ wanted.T / NAME_TEMPERATURE, batch.names[there])
        contrast = own_loss + IN_BATCH * batch_loss if negatives else batch_loss
        return {"loss": contrast + NAMING * naming, "own": own_loss, "batch": batch_loss, "naming": naming}


@dataclass(frozen=True)
class Plan:
    """How long to train, and what.

    Attributes:
        tokens, connector: of the segmentation stream's map, as `Connector` has them; 0 tokens: none.
    """

    samples: int = 100_000
    batch: int = 256
    rate: float = 1e-3
    seed: int = 0
    negatives: bool = True
    prefix: bool = True
    decay: float = 0.05
    tokens: int = 0
    connector: Kind = "conv"

    def start(self, conse: Conse) -> SmallVirtue:
        """Makes the network that learns."""
        return SmallVirtue(conse, prefix=self.prefix, tokens=self.tokens, connector=self.connector)


Tell = Callable[[dict[str, float]], None]
"""Is told the losses of each step."""


def train(questions: Questions, conse: Conse, plan: Plan, tell: Tell | None = None) -> SmallVirtue:
    """Trains from scratch; the same plan gives the same network on the same machine."""
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    model = plan.start(conse)
    steps = plan.samples // plan.batch
    optimizer = torch.optim.AdamW(model.parameters(), plan.rate, weight_decay=plan.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=steps + 1)
    began = time.monotonic()
    for step in range(steps):
        batch = questions.draw(rng, plan.batch)
        # Once, and not in each product that takes them.
        given = replace(batch.given, cells=batch.given.cells.bfloat16(), fine=batch.given.fine.bfloat16())
        batch = replace(batch, given=given)
        with torch.autocast("cpu", torch.bfloat16):
            losses = model.losses(batch, questions.names, negatives=plan.negatives)
        optimizer.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        told = {name: value.item() for name, value in losses.items()}
        if tell:
            tell(told)
        if step % 20 == 0 or step == steps - 1:
            said = " ".join(f"{name} {value:.3f}" for name, value in told.items())
            print(f"{step}/{steps} {time.monotonic() - began:.0f} s {said}", file=sys.stderr, flush=True)
    return model.eval()
