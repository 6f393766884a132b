"""Exact search of rows that are held in the memory of a device, for those who have the memory there."""

from __future__ import annotations

import math
import threading

import numpy as np
import torch

from virtue.store.records import Kind, Ranked
from virtue.store.vectors import exact
from virtue.store.vectors.device import computing_on
from virtue.store.vectors.row_files import BLOCK, DTYPE
from virtue.torch_device import run_in_blocks

FLOATS = 1 << 25
"""In one block of rows (64 MiB), the least that is held, and what is turned into float32 at once."""
ROUNDING = 2.0**-10, 2.0**-22
"""How far a product of unit vectors may lie from the one that a scan finds, as a whole and for each
column. As a whole, because a program may allow torch to round what it multiplies to 11 bits (TF32), which
halves have but queries have not; for each column, because sums are made in any order."""


class DeviceRows:
    """The rows of one kind in one generation. Threads may share it.

    Rows never change, so what is held is good for every version of the library; a search brings over
    the rows that were added since the last.
    """

    def __init__(self, device: torch.device, kind: Kind, dim: int) -> None:
        self._device = device
        self._kind = kind
        self._dim = dim
        # A power of two, so that no block of a search, which may get smaller by halves, lies in two.
        self._length = 1 << max(0, int(math.log2(FLOATS / dim)))
        self._blocks: list[torch.Tensor] = []
        self._count = 0
        self._bringing = threading.Lock()

    def best(
        self, rows: np.ndarray, queries: np.ndarray, top: int, dead: np.ndarray, allowed: np.ndarray | None
    ) -> Ranked:
        """What `exact.best` finds, scores bit for bit: the device tells which rows may be among the best,
        and those are scored as in a scan.

        Args:
            rows: (n, dim) fp16 of unit length, mapped.

        Raises:
            StoreError: the device has not the memory.
        """
        usable = np.ones(len(rows), bool) if allowed is None else allowed.copy()
        usable[dead] = False
        count = int(np.count_nonzero(usable))
        if count <= max(top, exact.MAX_GATHERED_ROWS):
            return _scored(rows, np.flatnonzero(usable), queries, top)
        with computing_on(self._device, f"the {rows.nbytes:,} bytes of the vectors of {self._kind}"):
            self._bring(rows)
            return _scored(rows, self._near(queries, top, usable), queries, top)

    def _bring(self, rows: np.ndarray) -> None:
        with self._bringing:
            missing = -(-len(rows) // self._length) - len(self._blocks)
            shape = (self._length, self._dim)
            new = [torch.empty(shape, dtype=torch.float16, device=self._device) for _ in range(missing)]
            self._blocks += new
            while self._count < len(rows):
                number, used = divmod(self._count, self._length)
                stop = min(len(rows), (number + 1) * self._length)
                part = torch.from_numpy(np.array(rows[self._count : stop]))
                self._blocks[number][used : used + len(part)].copy_(part)
                self._count = stop

    def _near(self, queries: np.ndarray, top: int, usable: np.ndarray) -> np.ndarray:
        """Ascending numbers of usable rows, with those among the best `top` that a scan would find:
        all that score as high as the last of them here, less twice what rounding may amount to."""
        columns = exact.used_columns(queries)
        asked = torch.from_numpy(queries[:, columns].T.copy()).to(self._device)
        scores = torch.empty(len(usable), dtype=torch.float32, device=self._device)

        def score(first: int, stop: int) -> None:
            number, start = divmod(first, self._length)
            part = self._blocks[number][start : start + stop - first, columns].float()
            scores[first:stop] = (part @ asked).amax(1)

        run_in_blocks(len(usable), self._length, score)
        if not usable.all():
            scores.masked_fill_(torch.from_numpy(~usable).to(self._device), -math.inf)
        whole, each = ROUNDING
        slack = (whole + each * self._dim) * float(np.linalg.norm(queries, axis=1).max())
        least = scores.topk(max(1, top)).values[-1] - 2 * slack
        near: np.ndarray = torch.nonzero(scores >= least)[:, 0].cpu().numpy()
        return near


def _scored(rows: np.ndarray, numbers: np.ndarray, queries: np.ndarray, top: int) -> Ranked:
    columns = exact.used_columns(queries)
    asked = np.ascontiguousarray(queries[:, columns])
    found = np.empty(len(numbers), np.float32)
    for first in range(0, len(numbers), BLOCK):
        part = np.asarray(rows[numbers[first : first + BLOCK], columns], DTYPE)
        found[first : first + BLOCK] = exact.scores(exact.decode(part), asked)
    order = exact.highest(found, top)
    return Ranked(numbers[order], found[order])
