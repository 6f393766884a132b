"""The two towers of the small VIRTUE: pictures with prompts, and captions, as unit vectors of one space.

A vector is [thing, place, bond]: what is meant (384), where all that is (384), and which relation it has to
what (512). The bond of a caption is U(name of the other) * V(relation), elementwise; that of a picture is the
sum over its cells of U(name of the cell) * V(where the cell lies, seen from the prompt), with the same U. So
one dot product holds "which thing, in which relation", though a picture does not know which other thing a
caption will name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.small_virtue.features import GRID, WIDTH

NAME, BOND, MODEL = 384, 512, 256
"""Numbers of a name's vector, of a bond, and of a token."""
COARSE = 4
"""Image tokens along a side."""
GEOMETRY = 64
"""Numbers that say where a cell lies, seen from the prompt."""
WAVES = 4
"""Frequencies of Fourier features."""
RELATIONS = 6


@dataclass(frozen=True)
class Prompted:
    """Pictures with prompts.

    Attributes:
        cells: (batch, GRID * GRID, WIDTH).
        boxes: (batch, 4) corners, the side of the picture 1.
        shares: (batch, GRID * GRID): how much of each cell belongs to what is meant, 0 to 1.
        placed: (batch,) bool: the box is known.
        seen: (batch,) bool: what lies under the prompt is pooled, too.
        fine: (batch, FINE * FINE, FINE_WIDTH): what the segmentation stream sees of the picture.
    """

    cells: Tensor
    boxes: Tensor
    shares: Tensor
    placed: Tensor
    seen: Tensor
    fine: Tensor


def box_shares(boxes: Tensor) -> Tensor:
    """Computes the share of each cell that lies in each box: (..., GRID * GRID)."""
    edges = torch.arange(GRID + 1) / GRID
    low, high = edges[:-1], edges[1:]
    inside = [
        (torch.minimum(boxes[..., end, None], high) - torch.maximum(boxes[..., start, None], low)).clamp(
            min=0
        )
        for start, end in ((0, 2), (1, 3))
    ]
    return (inside[1][..., :, None] * inside[0][..., None, :]).flatten(-2) * GRID * GRID


def pool(cells: Tensor, shares: Tensor) -> Tensor:
    """Means of cells (batch, cells, width) by shares (batch, k, cells)."""
    return (shares / shares.sum(-1, keepdim=True).clamp(min=1e-6)) @ cells


def _blocks() -> Tensor:
    """Which cells lie in which of the blocks that are image tokens, (COARSE * COARSE, GRID * GRID)."""
    places = torch.arange(GRID) * COARSE // GRID
    block = (places[:, None] * COARSE + places).flatten()
    return (torch.arange(COARSE * COARSE)[:, None] == block).float()


def waves(values: Tensor) -> Tensor:
    """Fourier features of numbers (..., n): (..., n * (2 * WAVES + 1))."""
    angles = values[..., None] * (math.pi * 2.0 ** torch.arange(WAVES))
    return torch.cat([values[..., None], angles.sin(), angles.cos()], -1).flatten(-2)


def unit(rows: Tensor) -> Tensor:
    return F.normalize(rows, dim=-1)


class Conse(nn.Module):
    """What ImageNet's classes say of pooled cells: the mean of their names' vectors (Norouzi et al. 2013)."""

    def __init__(self, weights: Tensor, bias: Tensor, meanings: Tensor, classes: int = 10) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("bias", bias)
        self.register_buffer("meanings", meanings)
        self.classes = classes

    def forward(self, cells: Tensor) -> Tensor:
        logits, places = (cells @ self.weights.T + self.bias).topk(self.classes)
        return unit((logits.softmax(-1)[..., None] * self.meanings[places]).sum(-2))


class Namer(nn.Module):
    """Names pooled cells in the space of names."""

    def __init__(self, conse: Conse) -> None:
        super().__init__()
        self.conse = conse
        self.linear = nn.Linear(WIDTH, NAME, bias=False)
        self.deep = nn.Sequential(nn.Linear(WIDTH, MODEL), nn.GELU(), nn.Dropout(0.3), nn.Linear(MODEL, NAME))
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, pooled: Tensor) -> Tensor:
        return self.linear(pooled) + self.deep(pooled) + self.weight * self.conse(pooled)


class Block(nn.Module):
    """A layer of a transformer, norm first."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(MODEL), nn.LayerNorm(MODEL)
        self.qkv, self.out = nn.Linear(MODEL, 3 * MODEL), nn.Linear(MODEL, MODEL)
        self.mlp = nn.Sequential(
            nn.Linear(MODEL, 4 * MODEL), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * MODEL, MODEL)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        odds = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if mask is not None:
            odds = odds.masked_fill(~mask, -1e4)
        x = x + self.out((odds.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.between(x))


class Shared(nn.Module):
    """What both towers share: how names, places and the names of others become parts of a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.thing = nn.Linear(NAME, NAME, bias=False)
        self.place = nn.Linear(NAME, NAME, bias=False)
        self.other = nn.Linear(NAME, BOND, bias=False)
        nn.init.eye_(self.thing.weight)
        nn.init.eye_(self.place.weight)
        self.weights = nn.Parameter(torch.zeros(3))

    def join(self, thing: Tensor, place: Tensor, bond: Tensor) -> Tensor:
        sizes = self.weights.softmax(0).sqrt()
        parts = [size * unit(part) for size, part in zip(sizes, (thing, place, bond), strict=True)]
        return unit(torch.cat(parts, -1))


class ImageTower(nn.Module):
    """Pictures with prompts as vectors.

    Args:
        prefix: image tokens do not see the prompt ("image-first"); else all see all ("published").
        segmentation: makes further tokens of the segmentation stream's map; None: there are none, but for
            the mean of what lies under the prompt.
    """

    def __init__(
        self,
        shared: Shared,
        conse: Conse,
        *,
        prefix: bool = True,
        segmentation: nn.Module | None = None,
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.shared, self.prefix = shared, prefix
        self.namer = Namer(conse)
        self.cell = nn.Linear(WIDTH, MODEL)
        self.share = nn.Linear(1, MODEL)
        self.position = nn.Parameter(torch.randn(COARSE * COARSE, MODEL) * 0.02)
        self.empty = nn.Parameter(torch.randn(2, MODEL) * 0.02)
        self.place = nn.Linear(4 * (2 * WAVES + 1), MODEL)
        self.under = nn.Linear(WIDTH, MODEL)
        self.blocks = nn.ModuleList([Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(MODEL)
        self.to_thing = nn.Linear(2 * MODEL, NAME)
        self.to_place = nn.Linear(MODEL, NAME)
        self.look = nn.Linear(WIDTH, 32)
        self.geometry = nn.Sequential(
            nn.Linear(6 * (2 * WAVES + 1) + 4, 128), nn.GELU(), nn.Linear(128, GEOMETRY)
        )
        self.gate = nn.Sequential(nn.Linear(GEOMETRY + 32, 64), nn.GELU(), nn.Linear(64, 1))
        self.relation = nn.Parameter(torch.randn(GEOMETRY, BOND) / GEOMETRY**0.5)

    def forward(self, given: Prompted) -> Tensor:
        return self.shared.join(*self.parts(given))

    def parts(self, given: Prompted) -> tuple[Tensor, Tensor, Tensor]:
        placed, seen = given.placed[:, None].float(), given.seen[:, None].float()
        pooled = pool(given.cells, given.shares[:, None])[:, 0] * seen
        prompt = placed * self.place(waves(given.boxes)) + self.under(pooled) + self.empty[1]
        whole, meant = self._read(given, prompt, seen)
        everything = given.cells.mean(1)
        thing = self.to_thing(torch.cat([whole, meant], 1)) + seen * self.namer(pooled)
        place = self.to_place(whole) + self.namer.conse(everything)
        return self.shared.thing(thing), self.shared.place(place), self._bond(given)

    def _read(self, given: Prompted, prompt: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Returns, after the transformer, the tokens of the whole and of the prompt."""
        image = self.cell(pool(given.cells, _blocks())) + self.position
        if not self.prefix:
            step = GRID // COARSE
            shares = given.shares.unflatten(1, (COARSE, step, COARSE, step)).mean((2, 4)).flatten(1)
            image = image + self.share((shares * seen)[..., None])
        whole = self.empty[0].expand(len(image), 1, -1)
        more = [] if self.segmentation is None else [self.segmentation(given)]
        x = torch.cat([image, whole, *more, prompt[:, None]], 1)
        first = image.shape[1] + 1
        mask = None
        if self.prefix:
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
            mask[:first, first:] = False
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        return x[:, first - 1], x[:, -1]

    def _bond(self, given: Prompted) -> Tensor:
        """Sums over the cells: what is there, and where it lies, seen from the prompt."""
        line = (torch.arange(GRID) + 0.5) / GRID
        y, x = (each.flatten() for each in torch.meshgrid(line, line, indexing="ij"))
        left, top, right, bottom = given.boxes.unbind(-1)
        wide, high = (right - left).clamp(min=0.02)[:, None], (bottom - top).clamp(min=0.02)[:, None]
        across, down = x - (left + right)[:, None] / 2, y - (top + bottom)[:, None] / 2
        numbers = [across, down, across / wide / 4, down / high / 4]
        sizes = [wide.expand_as(across), high.expand_as(across)]
        inside = ((across.abs() < wide / 2) & (down.abs() < high / 2)).float()
        share = given.shares * given.seen[:, None]
        told = (each[:, None].float().expand_as(share) for each in (given.seen, given.placed))
        looks = torch.stack([inside, share, *told], -1)
        where = self.geometry(torch.cat([waves(torch.stack([*numbers, *sizes], -1)), looks], -1))
        gate = self.gate(torch.cat([where, self.look(given.cells)], -1)).sigmoid()
        # sum_j U(N z_j) * V(h_j), with V linear: the products of z_j and h_j are summed first.
        joint = (gate * where).transpose(1, 2) @ given.cells / GRID
        others = joint @ (self.shared.other.weight @ self.namer.linear.weight).T
        return (others * self.relation).sum(1)


class CaptionTower(nn.Module):
    """Captions of which the parse is known: it teaches the image tower."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared = shared
        self.relation = nn.Embedding(RELATIONS, BOND)

    def forward(self, subject: Tensor, relation: Tensor, other: Tensor, place: Tensor) -> Tensor:
        """Args: vectors of names (..., NAME), numbers of relations (...,), vectors of places (..., NAME)."""
        bond = self.shared.other(other) * self.relation(relation)
        return self.shared.join(self.shared.thing(subject), self.shared.place(place), bond)
