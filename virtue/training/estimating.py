"""What a run will take, before it starts: a few chunks are measured, and counted up."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from virtue.errors import InputError
from virtue.training.examples import Source
from virtue.training.item_loading import Batch
from virtue.training.ranks import world_size
from virtue.training.trainer import Trainer

MEASURED_ROWS = 8
"""Queries whose pictures are worked on for an estimate."""
MEASURED_CHUNKS = 2
"""Chunks of pictures, and as many of texts, that are embedded for it, there and back."""
MAX_NAMED = 5
MAX_CHECKED = 200_000
"""Rows of a source that are looked at without opening their pictures."""


@dataclass(frozen=True, slots=True)
class SourceEstimate:
    """`epochs` is how often the run goes through the rows. `checked` rows were looked at, without opening a
    picture; `broken` says which of them cannot be used."""

    name: str
    rows: int
    epochs: float
    checked: int
    broken: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take.

    Attributes:
        steps, done: all steps, and those that a checkpoint has behind it.
        trained: numbers that are learnt.
        measured: queries whose rows were worked on; the more pictures differ in size, the less a few tell.
        hours: of the steps that are left, as fast as what was measured; pictures that are in the cache
            already count as such.
        memory: bytes at the most, of this process or on its card.
        cache: bytes that the cache of all pictures may grow to at the most; 0 without one.
    """

    steps: int
    done: int
    trained: int
    measured: int
    hours: float
    memory: int
    cache: int
    device: str
    dtype: str
    processes: int
    sources: tuple[SourceEstimate, ...]


def estimate(trainer: Trainer) -> Estimate:
    """Measures a few rows of the first batch, and changes nothing but the cache.

    Raises:
        InputError: a source has hardly any sound rows.
    """
    config, device = trainer.config, trainer.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    batch = trainer.loader.load(range(min(MEASURED_ROWS, config.batch)))
    per_query = (time.perf_counter() - start) / batch.count
    chunks = trainer.chunks(batch)
    is_picture = [batch.rows[chunk[0]].scene is not None for chunk in chunks]
    pictures = _measure(trainer, batch, [c for c, p in zip(chunks, is_picture, strict=True) if p])
    texts = _measure(trainer, batch, [c for c, p in zip(chunks, is_picture, strict=True) if not p])
    trainer.weights.clear()
    rows = config.batch / batch.count
    per_step = config.batch * per_query + rows * (pictures + texts)
    scenes = {id(row.scene): row.scene for row in batch.rows if row.scene is not None}
    size = sum(s.features.nbytes + s.tokens.nbytes for s in scenes.values()) / max(1, batch.count)
    left = config.steps - trainer.step
    # With a batch's scenes held in the processor's memory.
    held = int(size * config.batch / world_size())
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_memory() + held
    queries = config.steps * config.batch
    return Estimate(
        config.steps,
        trainer.step,
        trainer.trained_numbers,
        batch.count,
        left * per_step / 3600 / world_size(),
        memory,
        int(size * min(queries, sum(map(len, trainer.stream.sources)))) if config.cache else 0,
        str(device),
        trainer.model.dtype,
        world_size(),
        tuple(_estimate_sources(trainer.stream.sources, queries)),
    )


def _measure(trainer: Trainer, batch: Batch, chunks: Sequence[Sequence[int]]) -> float:
    """Returns the seconds that these chunks take: once without gradients, once with them."""
    some = chunks[:MEASURED_CHUNKS]
    if not some:
        return 0.0
    if trainer.device.type == "cuda":  # the first time kernels are chosen, which is no measure
        trainer.embed(batch, some[0]).sum().backward()
        torch.cuda.synchronize(trainer.device)
    start = time.perf_counter()
    for chunk in some:
        with torch.no_grad():
            trainer.embed(batch, chunk)
        trainer.embed(batch, chunk).sum().backward()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return (time.perf_counter() - start) * sum(map(len, chunks)) / sum(map(len, some))


def _estimate_sources(sources: Sequence[Source], queries: int) -> list[SourceEstimate]:
    whole = sum(source.weight for source in sources)
    made = []
    for source in sources:
        checked = min(len(source), MAX_CHECKED if source.is_cheap else 0)
        broken = [sentence for row in range(checked) if (sentence := _find_fault(source, row))]
        named = (
            *islice(broken, MAX_NAMED),
            *(f"and {len(broken) - MAX_NAMED:,} more" for _ in broken[MAX_NAMED:][:1]),
        )
        epochs = queries * source.weight / whole / len(source)
        made.append(SourceEstimate(source.name, len(source), epochs, checked, named, tuple(source.faults)))
    return made


def _find_fault(source: Source, row: int) -> str | None:
    try:
        example = source.example(row)
    except InputError as error:
        return str(error)
    for side in example.sides:
        if not side.has_picture():
            return f"{source.name}, row {row}: there is no picture {side.image}"
    return None


def _peak_memory() -> int:
    """Bytes that this process held at the most."""
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
