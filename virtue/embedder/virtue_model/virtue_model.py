"""The VIRTUE family behind `Embedder`: batches, words and pictures around the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from virtue.embedder.batching import Budget, room_on
from virtue.embedder.dtypes import dtype_name
from virtue.embedder.model import Find, Item, Proposal
from virtue.embedder.uploads import prepare_ahead, stage, upload
from virtue.embedder.virtue_model import image_preprocessing
from virtue.embedder.virtue_model.configuration import PUBLISHED_SQUARE, BoxFrame
from virtue.embedder.virtue_model.instructions import fill_template, item_kind, query_kinds
from virtue.embedder.virtue_model.mask_proposals import propose
from virtue.embedder.virtue_model.network import InputSequence, Network, Scene
from virtue.embedder.virtue_model.prompt_encoding import encode_prompt, stack_prompts
from virtue.embedder.virtue_model.saving import save
from virtue.embedder.virtue_model.tokenizer import TextTokenizer
from virtue.geometry import Prompt
from virtue.pictures import Picture
from virtue.resizing import TINY_CELLS, Resizing, SquashedFirst, WholeCells

FIRST_TOKENS = {"cuda": 32_768, "cpu": 4_096}
FIRST_PICTURES = {"cuda": 16, "cpu": 2}
FIRST_POINTS = {"cuda": 64, "cpu": 64}
"""What is tried first as one batch: tokens of the language model, pictures of the image models, points of
which the segmentation model makes proposals."""


@dataclass(frozen=True, slots=True, eq=False)
class StagedPicture:
    """A picture to copy to the device, (h, w, 3) uint8: as it was read, and as Pillow resized it; each only
    if it is used."""

    original: Tensor | None
    fitted: Tensor | None


class VirtueModel:
    """Implements `embedder.model.Model`. Vectors are those of the last token, unit length."""

    def __init__(self, name: str, fingerprint: str, network: Network, tokenizer: TextTokenizer) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.network = network.eval()
        self.tokenizer = tokenizer
        self.configuration = network.configuration
        self.dim: int = network.dim
        self.dtype = dtype_name(network.dtype)
        self.side = self.configuration.side
        self.text_match = self.configuration.text_match
        self.prompts: Mapping[str, str] = self.configuration.instructions
        """Named instructions: what `prompt_name=` may say. See `instructions.py` for what they hold."""
        self._cell = network.vision.patch * network.vision.merge
        cells = WholeCells(self._cell, self.configuration.min_pixels, self.configuration.max_pixels)
        is_squashed = self.configuration.resize == "published"
        self._sight = SquashedFirst(PUBLISHED_SQUARE, cells) if is_squashed else cells
        kind = "cuda" if network.device.type == "cuda" else "cpu"
        room = room_on(network.device)
        self._tokens = Budget(FIRST_TOKENS[kind], room)
        self._pictures = Budget(FIRST_PICTURES[kind], room)
        self._points = Budget(FIRST_POINTS[kind], room)

    def with_box_frame(self, frame: BoxFrame) -> VirtueModel:
        """Returns this model with boxes in another frame (`Configuration.box_frame`): the same weights, and a
        fingerprint of its own."""
        if frame == self.configuration.box_frame:
            return self
        twin = copy(self)
        twin.configuration = replace(self.configuration, box_frame=frame)
        twin.fingerprint = f"{self.fingerprint}-{frame}"
        return twin

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes one folder with safetensors, a configuration, the tokenizer and a card."""
        return save(self.network, self.tokenizer, folder)

    # -- pictures ------------------------------------------------------------------------------------

    def scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        """Encodes pictures. Equal ones are encoded once, and share a scene.

        Raises:
            PictureError: a picture is too small or too slim.
        """
        for picture in pictures:
            image_preprocessing.check_picture(picture)
        firsts = image_preprocessing.find_duplicates(pictures)
        distinct = sorted(set(firsts))
        scenes = dict(zip(distinct, self._scenes([pictures[n] for n in distinct]), strict=True))
        return [scenes[n] for n in firsts]

    @torch.inference_mode()
    def _scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        sizes = [self._vision_size(picture) for picture in pictures]
        # Pictures of one size go together: the vision tower then needs neither padding nor a loop.
        order = sorted(range(len(pictures)), key=lambda n: sizes[n])
        with prepare_ahead(self._stage, [pictures[n] for n in order]) as copies:
            made = self._pictures.run(
                range(len(order)),
                lambda batch: self._encode_batch(
                    [pictures[order[n]] for n in batch],
                    [copies(n) for n in batch],
                    sizes[order[batch[0]]],
                ),
                kind=lambda n: sizes[order[n]],
            )
        return [scene for _, scene in sorted(zip(order, made, strict=True), key=lambda pair: pair[0])]

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def max_seq_length(self) -> int:
        return self.configuration.max_text_tokens

    @property
    def resizing(self) -> Resizing | None:
        """The rule by which pictures may be resized before they come here; None: their pixels are needed as
        they are."""
        return None if self._needs_original else self._sight

    @property
    def _needs_original(self) -> bool:
        """Whether a model sees more of a picture than what the vision tower does."""
        return self.configuration.resize == "device" or not self.configuration.double_normalisation

    def _vision_size(self, picture: Picture) -> tuple[int, int]:
        height, width = picture.pixels.shape[:2]
        return (width, height) if picture.resized == self._sight else self._sight.size(width, height)

    def _stage(self, picture: Picture) -> StagedPicture:
        """What is done on the processor, beside the work on the pictures before this one."""
        device = self.network.device
        original = stage(picture.pixels, device) if self._needs_original else None
        if self.configuration.resize == "device":
            return StagedPicture(original, None)
        return StagedPicture(original, stage(picture.resize_by(self._sight).pixels, device))

    def _encode_batch(
        self, pictures: Sequence[Picture], copies: Sequence[StagedPicture], size: tuple[int, int]
    ) -> list[Scene]:
        device, side, cell = self.network.device, self.network.segmentation.side, self._cell
        originals = [upload(copy.original, device) for copy in copies if copy.original is not None]
        fitted = [upload(copy.fitted, device) for copy in copies if copy.fitted is not None]
        # One by one: they come in any size, and a copy must not depend on its company.
        fitted = fitted or [self._resize(original, size) for original in originals]
        pixels = image_preprocessing.normalize(torch.stack(fitted))
        if self.configuration.double_normalisation:
            square = image_preprocessing.resize_to_square(pixels, side)
        else:
            parts = [
                image_preprocessing.resize_to_square(original.permute(2, 0, 1)[None] / 255, side)
                for original in originals
            ]
            square = torch.cat(parts)
        tokens, features, fine = self.network.encode_pictures(pixels, square)
        grid = size[1] // cell, size[0] // cell
        return [
            Scene(p.width, p.height, features[n], tuple(level[n] for level in fine), tokens[n], grid)
            for n, p in enumerate(pictures)
        ]

    def _resize(self, original: Tensor, size: tuple[int, int]) -> Tensor:
        cell = self._cell
        if min(original.shape[:2]) < cell:
            original = image_preprocessing.resize(original, (TINY_CELLS * cell,) * 2)
        return image_preprocessing.resize(original, size)

    def propose(self, scene: Scene, limit: int) -> list[Proposal]:
        (proposals,) = self.propose_all([scene], [limit])
        return proposals

    @torch.inference_mode()
    def propose_all(self, scenes: Sequence[Scene], limits: Sequence[int]) -> list[list[Proposal]]:
        """Proposes boxes for many scenes, each with its limit, as `propose` does for one."""
        found = propose(
            self.network.segmentation,
            scenes,
            limits,
            self._points,
            min_quality=self.configuration.proposal_quality,
            min_stability=self.configuration.proposal_stability,
        )
        return [list(map(Proposal, boxes)) for boxes in found]

    @torch.inference_mode()
    def segment(self, scene: Scene, prompt: Prompt) -> np.ndarray:
        """Returns the mask of what a prompt means, (height, width) bool: of the three that the segmentation
        model makes, the one that it thinks best of."""
        model = self.network.segmentation
        drawn = encode_prompt(prompt, scene.width, scene.height, model.side, "scaled")
        batch = stack_prompts([drawn], model.mask_side, self.device)
        logits, quality = model.masks(scene.features[None], [level[None] for level in scene.fine], batch)
        best = logits[0, quality[0].argmax()].float()[None, None]
        size = scene.height, scene.width
        mask: np.ndarray = functional.interpolate(best, size, mode="bilinear")[0, 0].gt(0).cpu().numpy()
        return mask

    # -- items ---------------------------------------------------------------------------------------

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        """Embeds documents.

        Raises:
            InputError: a text is too long, or an instruction asks for a text that an item does not have.
        """
        return self._embed([self.to_sequence(item) for item in items])

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        """Embeds queries as `embed` does, with the instruction that the model has for such a query."""
        sequences = [self.to_sequence(item, find) for item in items]
        return list(self._embed(sequences)[:, None])

    @staticmethod
    def _item_kinds(item: Item, find: Find | None = None) -> tuple[str, ...]:
        kind = item_kind(item.scene is not None, item.prompt, item.text)
        return (kind,) if find is None else query_kinds(kind, find)

    def _default_instruction(self, kinds: Sequence[str]) -> str:
        names = [self.configuration.defaults[kind] for kind in kinds if kind in self.configuration.defaults]
        return self.configuration.instructions[names[0]] if names else ""

    def to_sequence(self, item: Item, find: Find | None = None) -> InputSequence:
        """Puts an item's words and prompt into the form that the network reads; None: it is a document.

        Raises:
            InputError: a text is too long, or an instruction asks for a text that the item does not have.
        """
        scene, kinds = item.scene, self._item_kinds(item, find)
        template = self._default_instruction(kinds) if item.instruction is None else item.instruction
        if scene is None:
            return InputSequence(self.tokenizer.encode(fill_template(template, None, item.text, 0, 0)))
        text = fill_template(template, item.prompt, item.text, scene.width, scene.height)
        side, frame = self.network.segmentation.side, self.configuration.box_frame
        prompt = encode_prompt(item.prompt, scene.width, scene.height, side, frame)
        # An image may come without a word; pooling then takes the last of what it comes with.
        return InputSequence(self.tokenizer.encode(text, may_be_empty=True), scene, prompt)

    @torch.inference_mode()
    def _embed(self, rows: Sequence[InputSequence]) -> np.ndarray:
        """(n, dim) float32. Rows that share a scene are neighbours, and otherwise the short go with the
        short: an order that changes what is padded and shared, never what comes out."""
        scenes: dict[int, int] = {}
        for row in rows:
            scenes.setdefault(id(row.scene), len(scenes))
        order = sorted(
            range(len(rows)),
            key=lambda n: (
                (rows[n].image_length, scenes[id(rows[n].scene)], len(rows[n].ids))
                if self._shares_image
                else (rows[n].image_length, len(rows[n].ids))
            ),
        )
        made = self._tokens.run(
            order,
            lambda batch: list(self.network([rows[n] for n in batch])),
            kind=lambda n: (rows[n].scene is None) if not self._shares_image else rows[n].image_length,
            cost=lambda batch: self._count_tokens([rows[n] for n in batch]),
        )
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        if made:  # brought home at once: a card would wait for the program after every batch otherwise
            vectors[order] = torch.stack(made).cpu().numpy()
        return vectors

    @property
    def _shares_image(self) -> bool:
        return self.configuration.layout == "image-first"

    def _count_tokens(self, rows: Sequence[InputSequence]) -> int:
        """Tokens that the language model reads for these rows, padding included."""
        segmentation = self.configuration.segmentation_tokens if rows[0].scene else 0
        words = max(len(row.ids) for row in rows)
        if self._shares_image:
            scenes = {id(row.scene): row.image_length for row in rows}
            return len(rows) * (segmentation + words) + sum(scenes.values())
        return len(rows) * (segmentation + max(row.image_length + len(row.ids) for row in rows))
