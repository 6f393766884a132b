"""The face of every model: what users of sentence-transformers know, with pictures and prompts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from virtue.distribution import install_hint
from virtue.embedder import families
from virtue.embedder.inputs import Input, Request, is_single, read
from virtue.embedder.model import AsymmetricModel, Find, InstructedModel, Item, Model, Scene
from virtue.errors import InputError, ModelError
from virtue.geometry import Box
from virtue.pictures import Picture

if TYPE_CHECKING:
    import torch

OnError = Literal["raise", "skip"]
Rows = Callable[[list[Request]], np.ndarray]

FINDS = ("regions", "photos", "captions")


class Embedder:
    """Turns texts, images and prompts on images into unit vectors of one space.

    The vector of an input never depends on what else is in its batch.
    """

    similarity_fn_name = "cosine"

    def __init__(self, model: Model) -> None:
        self.model = model
        self.model_card_data = CardData()

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "mini",
        *,
        device: str | None = None,
        offline: bool = False,
        revision: str | None = None,
        threads: int | None = None,
        compile: bool = False,
    ) -> Embedder:
        """Loads a model by name.

        Args:
            name: "mini", a folder, or "owner/model" of the Hugging Face hub (VIRTUE, CLIP, SigLIP,
                SigLIP 2), perhaps with "@revision"; see `virtue.embedder.families`.
            device: "cpu", "cuda", "cuda:1"; None: CUDA where there is one. "mini" knows the CPU alone.
            offline: download nothing. A model whose files are there asks no network anyway.
            revision: a branch, tag or commit on the hub.
            threads: CPU threads that a forward pass may use; None: as suits the model (`mini`: one).
            compile: let torch.compile make VIRTUE faster: minutes when it is first used, less time for
                every picture and text from then on.

        Raises:
            ModelError: there is no such model, it cannot be had, or it cannot run on that device.
        """
        return cls(
            families.load_model(
                name, device=device, offline=offline, revision=revision, threads=threads, compile=compile
            )
        )

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def fingerprint(self) -> str:
        """The identity of the model: equal fingerprints give equal vectors."""
        return self.model.fingerprint

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self.model.dim

    def get_embedding_dimension(self) -> int:
        return self.dim

    def get_sentence_embedding_dimension(self) -> int:
        return self.dim

    def encode(
        self,
        inputs: Input | Sequence[Input],
        *,
        batch_size: int = 32,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        on_error: OnError = "raise",
    ) -> np.ndarray | list[np.ndarray] | torch.Tensor:
        """Embeds documents: what is stored and searched.

        Args:
            inputs: one input or a sequence of them; see `virtue.embedder.inputs`.
            batch_size: inputs held in memory at once.
            prompt_name: of an instruction that the model knows (`prompts`); VIRTUE knows some.
            prompt: words put before every text; for VIRTUE also what goes with an image that has none.
            normalize_embeddings: unit rows again after `truncate_dim`; without it rows are unit anyway.
            truncate_dim: keep the first so many numbers ("mini": the first half is meaning, the second
                look).
            show_progress_bar: a bar on stderr.
            convert_to_numpy: False gives a list of (dim,) arrays.
            convert_to_tensor: gives a torch tensor.
            on_error: "raise", or "skip": an input that cannot be used gives a row of NaN, which no
                comparison takes for a vector, and a warning that says why.

        Returns:
            (n, dim) float32, or (dim,) for a single input.

        Raises:
            InputError: an input cannot be used; says which (counted from 0) and why.
        """

        def rows(requests: list[Request]) -> np.ndarray:
            return self.model.embed(self._items(requests, instruction))

        self._check(truncate_dim, batch_size, on_error)
        instruction, prefix = self._told(prompt_name, prompt)
        vectors = self._batched(inputs, rows, batch_size, prefix, bool(show_progress_bar), on_error)
        return _as_asked(
            vectors,
            is_single(inputs),
            truncate_dim,
            normalize_embeddings,
            convert_to_numpy,
            convert_to_tensor,
        )

    encode_document = encode

    def encode_query(
        self,
        inputs: Input | Sequence[Input],
        *,
        find: Find = "regions",
        batch_size: int = 32,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        on_error: OnError = "raise",
    ) -> np.ndarray | list[np.ndarray] | torch.Tensor:
        """Embeds queries, one vector each: the first, where a model makes several (see `query`).

        `find` says what is looked for; the rest is as for `encode`.
        """
        _check_find(find)

        def rows(requests: list[Request]) -> np.ndarray:
            items = self._items(requests, instruction)
            pairs = zip(items, requests, strict=True)
            return np.stack([self.model.query(item, request.picture, find)[0] for item, request in pairs])

        self._check(truncate_dim, batch_size, on_error)
        instruction, prefix = self._told(prompt_name, prompt)
        vectors = self._batched(inputs, rows, batch_size, prefix, bool(show_progress_bar), on_error)
        return _as_asked(
            vectors,
            is_single(inputs),
            truncate_dim,
            normalize_embeddings,
            convert_to_numpy,
            convert_to_tensor,
        )

    def query(self, value: Input, find: Find = "regions") -> np.ndarray:
        """Embeds one query: (k, dim) float32, unit rows. The score of a row of a library is its highest dot
        product with them."""
        _check_find(find)
        request = read(value, self.model.side)
        return self.model.query(self._items([request])[0], request.picture, find)

    def rows_as_queries(self, rows: np.ndarray, find: Find = "regions") -> np.ndarray:
        """Turns rows of a library (n, dim) into queries for what is like them, (n, dim) float32 unit rows,
        without their pictures. For a model that is not asymmetric these are the rows themselves."""
        _check_find(find)
        rows = _unit(np.atleast_2d(rows).astype(np.float32))
        return self.model.rows_as_queries(rows, find) if isinstance(self.model, AsymmetricModel) else rows

    def requery(self, rows: np.ndarray, find: Find = "regions") -> np.ndarray:
        """Calls `rows_as_queries`, by its old name."""
        warnings.warn("Embedder.requery is now called rows_as_queries", DeprecationWarning, stacklevel=2)
        return self.rows_as_queries(rows, find)

    def similarity(self, a: Any, b: Any) -> Any:
        """Computes the cosines of all pairs: (n, m) float32; a torch tensor if `a` is one."""
        if not isinstance(a, np.ndarray) and hasattr(a, "detach"):
            return _tensor(self.similarity(a.detach().cpu().numpy(), b.detach().cpu().numpy()))
        a, b = (np.atleast_2d(np.asarray(rows, np.float32)) for rows in (a, b))
        return _unit(a) @ _unit(b).T

    # -- image work once, many prompts: what an indexer uses ------------------------------------------

    def scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        return self.model.scenes(pictures)

    def propose(self, scene: Scene, limit: int) -> list[Box]:
        return self.model.propose(scene, limit)

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        return self.model.embed(items)

    # -- the common path -------------------------------------------------------------------------------

    @property
    def prompts(self) -> Mapping[str, str]:
        """The named instructions that the model knows."""
        return self.model.prompts if isinstance(self.model, InstructedModel) else {}

    def _told(self, name: str | None, words: str | None) -> tuple[str | None, str | None]:
        """An instruction for models that take one, words to put before texts for the others."""
        if name is not None and name not in self.prompts:
            known = f"it knows {', '.join(self.prompts)}" if self.prompts else "give prompt='words'"
            raise InputError(f"the model {self.name!r} knows no prompt called {name!r}: {known}")
        if isinstance(self.model, InstructedModel):
            return words if name is None else self.prompts[name], None
        return None, words

    def _items(self, requests: Sequence[Request], instruction: str | None = None) -> list[Item]:
        """One scene for all requests that share a picture."""
        pictures = {
            id(request.picture): request.picture for request in requests if request.picture is not None
        }
        scenes = dict(zip(pictures, self.model.scenes(list(pictures.values())), strict=True))
        return [
            Item(scenes.get(id(request.picture)), request.prompt, request.text, instruction)
            for request in requests
        ]

    def _check(self, truncate_dim: int | None, batch_size: int, on_error: str) -> None:
        if truncate_dim is not None and not 1 <= truncate_dim <= self.dim:
            raise InputError(f"truncate_dim is {truncate_dim}: give 1 to {self.dim}")
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: give 1 or more")
        if on_error not in ("raise", "skip"):
            raise InputError(f"on_error={on_error!r} is neither 'raise' nor 'skip'")

    def _batched(
        self, inputs: Any, rows: Rows, batch_size: int, prompt: str | None, bar: bool, on_error: OnError
    ) -> np.ndarray:
        """(n, dim) for one input or many, `batch_size` of them in memory at once."""
        single = is_single(inputs)
        given = [inputs] if single else list(inputs)
        starts: Iterable[int] = range(0, len(given), batch_size)
        blocks = [np.zeros((0, self.dim), np.float32)]
        for start in _with_bar(starts, len(given), batch_size) if bar else starts:
            block, faults = self._block(given[start : start + batch_size], rows, prompt)
            for place, error in sorted(faults.items()):
                if on_error == "raise":
                    raise error if single else type(error)(f"input {start + place}: {error}") from None
                warnings.warn(f"input {start + place} is left out: {error}", stacklevel=3)
            blocks.append(block)
        return np.concatenate(blocks)

    def _block(
        self, values: Sequence[Any], rows: Rows, prompt: str | None
    ) -> tuple[np.ndarray, dict[int, InputError]]:
        """Rows of some inputs, NaN for those that cannot be used, and why they cannot."""
        requests: dict[int, Request] = {}
        faults: dict[int, InputError] = {}
        pictures: dict[object, Picture] = {}
        for place, value in enumerate(values):
            try:
                requests[place] = _prefixed(_read_once(value, self.model.side, pictures), prompt)
            except InputError as error:
                faults[place] = error
        block = np.full((len(values), self.dim), np.nan, np.float32)
        try:
            if requests:
                block[list(requests)] = rows(list(requests.values()))
        except InputError:
            # One of them is beyond the model (a text too long, a picture too slim): each for itself.
            for place, request in requests.items():
                try:
                    block[place] = rows([request])[0]
                except InputError as error:
                    faults[place] = error
        return block, faults


class CardData:
    """Takes what the evaluators of sentence-transformers report."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def set_evaluation_metrics(
        self, evaluator: object, metrics: Mapping[str, float], epoch: int = 0, step: int = 0
    ) -> None:
        self.metrics.update(metrics)


def _read_once(value: Any, side: int | None, pictures: dict[object, Picture]) -> Request:
    """Reads an input; an image that came before (the same path or object) is not decoded again."""
    image = value.get("image") if isinstance(value, Mapping) else value
    is_path = isinstance(image, os.PathLike) or (isinstance(image, str) and image is not value)
    key = str(image) if is_path else id(image)
    if key in pictures:
        value = {**(value if isinstance(value, Mapping) else {}), "image": pictures[key]}
    request = read(value, side)
    if request.picture is not None:
        pictures[key] = request.picture
    return request


def _prefixed(request: Request, prompt: str | None) -> Request:
    if prompt is None or request.text is None:
        return request
    return Request(request.picture, request.prompt, prompt + request.text)


def _as_asked(
    vectors: np.ndarray, single: bool, truncate_dim: int | None, normalize: bool, numpy: bool, tensor: bool
) -> Any:
    if truncate_dim is not None:
        vectors = vectors[:, :truncate_dim]
        vectors = _unit(vectors) if normalize else vectors
    if tensor:
        vectors = _tensor(vectors)
    if single:
        return vectors[0]
    return vectors if numpy or tensor else list(vectors)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _check_find(find: str) -> None:
    if find not in FINDS:
        raise InputError(f"find={find!r} is none of {', '.join(FINDS)}")


def _with_bar(starts: Iterable[int], total: int, batch_size: int) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("embedding", total=total)
        for start in starts:
            yield start
            progress.update(task, completed=min(start + batch_size, total))


def _tensor(vectors: np.ndarray) -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise ModelError(f"convert_to_tensor needs torch: {install_hint('torch')}") from None
    return torch.from_numpy(np.ascontiguousarray(vectors))
