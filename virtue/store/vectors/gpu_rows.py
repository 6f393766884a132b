"""Exact search of rows that are held in the memory of a device, for those who have the memory there."""

from __future__ import annotations

import math
import threading
from contextlib import AbstractContextManager

import numpy as np
import torch

from virtue.store.records import Kind, Ranked, Ranking
from virtue.store.vectors import exact
from virtue.store.vectors.device import computing_on
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

    def scan(
        self, rows: np.ndarray, queries: np.ndarray, dead: np.ndarray, allowed: np.ndarray | None
    ) -> Ranking:
        """Returns what `exact.scan` finds, scores bit for bit: the device tells which rows may be among the
        best, and those are scored as in a scan.

        Args:
            rows: (n, dim) fp16 of unit length, mapped.

        Raises:
            StoreError: the device has not the memory.
        """
        usable = np.ones(len(rows), bool) if allowed is None else allowed.copy()
        usable[dead] = False
        if int(np.count_nonzero(usable)) <= exact.MAX_GATHERED_ROWS:
            numbers = np.flatnonzero(usable)
            return exact.ScoredRows(numbers, exact.score_rows(rows, numbers, queries))
        with self._computing(rows):
            self._bring(rows)
            return _DeviceRanking(self, rows, queries, usable, self._score(queries, usable))

    def _computing(self, rows: np.ndarray) -> AbstractContextManager[None]:
        return computing_on(self._device, f"the {rows.nbytes:,} bytes of the vectors of {self._kind}")

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

    def _score(self, queries: np.ndarray, usable: np.ndarray) -> torch.Tensor:
        """(n,) float32 scores on the device, -inf where a row may not appear."""
        columns = exact.used_columns(queries)
        on_device = torch.from_numpy(queries[:, columns].T.copy()).to(self._device)
        scores = torch.empty(len(usable), dtype=torch.float32, device=self._device)

        def score(first: int, stop: int) -> None:
            number, start = divmod(first, self._length)
            part = self._blocks[number][start : start + stop - first, columns].float()
            scores[first:stop] = (part @ on_device).amax(1)

        run_in_blocks(len(usable), self._length, score)
        if not usable.all():
            scores.masked_fill_(torch.from_numpy(~usable).to(self._device), -math.inf)
        return scores

    def near(self, scores: torch.Tensor, queries: np.ndarray, count: int, rows: np.ndarray) -> np.ndarray:
        """Finds rows, ascending, that include the best `count` of a scan: all that score as high here as the
        last of those, less twice the greatest rounding error."""
        with self._computing(rows):
            whole, each = ROUNDING
            slack = (whole + each * self._dim) * float(np.linalg.norm(queries, axis=1).max())
            least = scores.topk(count).values[-1] - 2 * slack
            found: np.ndarray = torch.nonzero(scores >= least)[:, 0].cpu().numpy()
            return found


class _DeviceRanking:
    """The `Ranking` of one search on a device, where its scores stay."""

    def __init__(
        self,
        held: DeviceRows,
        rows: np.ndarray,
        queries: np.ndarray,
        usable: np.ndarray,
        scores: torch.Tensor,
    ) -> None:
        self._held, self._rows, self._queries, self._usable, self._scores = (
            held,
            rows,
            queries,
            usable,
            scores,
        )
        self._count = int(np.count_nonzero(usable))

    def top(self, count: int) -> Ranked:
        if count >= self._count:
            numbers = np.flatnonzero(self._usable)
        else:
            numbers = self._held.near(self._scores, self._queries, max(1, count), self._rows)
        scores = exact.score_rows(self._rows, numbers, self._queries)
        return exact.ScoredRows(numbers, scores).top(count)
