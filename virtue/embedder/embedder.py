"""The face of every model: what users of sentence-transformers know, with pictures and prompts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args, overload

import numpy as np

from virtue.embedder import families
from virtue.embedder.dtypes import Dtype
from virtue.embedder.inputs import Input, LoadedInput, ModelInput, is_single, load_input
from virtue.embedder.model import (
    AsymmetricModel,
    Find,
    InstructedModel,
    Item,
    Model,
    NamingModel,
    Scene,
    VocabularyModel,
)
from virtue.embedder.output import Cosines, Output, OutputValue, Precision, to_tensor
from virtue.embedder.process_pool import ProcessPool
from virtue.errors import InputError, ModelError
from virtue.geometry import Box
from virtue.vector_math import unit_rows

if TYPE_CHECKING:
    import torch

    from virtue.pictures import Picture

OnError = Literal["raise", "skip"]
Embed = Callable[[list[Item], list["Picture | None"]], Iterable[np.ndarray]]
"""What makes vectors of a batch of items and their pictures, one array for each."""

BATCH_SIZE = 32
"""Inputs held in memory at once, unless the caller says otherwise."""


UNIT_TOLERANCE = 0.01
"""What the length of a vector may differ from 1 by; half precision needs a thousandth."""


class EncodeOptions(TypedDict, total=False):
    """The options of `Embedder.encode` that do not change the kind of its result."""

    prompt_name: str | None
    prompt: str | None
    batch_size: int
    show_progress_bar: bool | None
    precision: Precision | None
    device: str | list[str] | None
    normalize_embeddings: bool
    truncate_dim: int | None
    pool: dict[str, Any] | None
    chunk_size: int | None
    on_error: OnError


class EncodeQueryOptions(EncodeOptions, total=False):
    """Those of `Embedder.encode_query`."""

    find: Find


class Embedder:
    """Turns texts, images and prompts on images into unit vectors of one space.

    The vector of an input never depends on what else is in its batch.
    """

    similarity_fn_name = "cosine"

    def __init__(self, model: Model, devices: Sequence[str] = ()) -> None:
        self.model = model
        self.devices = tuple(devices)
        """Where an indexer works, if on several devices at once; the model itself is on the first."""
        self.model_card_data = CardData()
        self._options: dict[str, Any] | None = None

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
        dtype: Dtype = "auto",
        resize: Literal["published"] | None = None,
        max_pixels: int | None = None,
    ) -> Embedder:
        """Loads a model by name.

        Args:
            name: "mini", a folder, or "owner/model" of the Hugging Face hub (VIRTUE, CLIP, SigLIP,
                SigLIP 2), perhaps with "@revision"; see `virtue.embedder.model_names`.
            device: "cpu", "cuda", "cuda:1"; None: CUDA where there is one. "mini" knows the CPU alone.
                "cuda:0,cuda:1": indexing works on both, in a process for each; all else on the first.
            offline: download nothing. A model whose files are there asks no network anyway.
            revision: a branch, tag or commit on the hub.
            threads: CPU threads that a forward pass may use; None: as suits the model (`mini`: one).
            compile: let torch.compile make VIRTUE faster: minutes when it is first used, less time for
                every picture and text from then on.
            dtype: what a model of torch computes with: "fp32", "bf16", "fp16"; "auto": bf16 on cards that
                have it, fp16 on older ones, fp32 on a CPU. The fingerprint is the same in all of them.
            resize: "published": VIRTUE gets pictures as in its published evaluation, squashed to a square. A
                model of its own, whose name ends in "#published".
            max_pixels: pixels of a picture as VIRTUE sees it; half as many halve the cost of regions, about.
                A model of its own, whose name ends in "#max-pixels=N". None: as the model says.

        Raises:
            ModelError: there is no such model, it cannot be had, or it cannot run on that device.
        """
        device, devices = split_devices(device)
        options: dict[str, Any] = {
            "device": device, "offline": offline, "threads": threads, "compile": compile, "dtype": dtype
        }  # fmt: skip
        model = families.load_model(name, revision=revision, resize=resize, max_pixels=max_pixels, **options)
        embedder = cls(model, devices)
        embedder._options = options
        return embedder

    def _loader(self) -> Callable[[str | None], Embedder]:
        """What loads this model in another process, on a device (None: on that of this one)."""
        if self._options is None:
            raise ModelError("this Embedder was not made by from_pretrained, so no other process can load it")
        return partial(_load, type(self), self.name, self._options)

    @property
    def process_settings(self) -> dict[str, Any]:
        """What `from_pretrained` needs, beside a device, to load the same model in another process."""
        given = self._options or {}
        kept: dict[str, Any] = {name: given[name] for name in ("threads", "compile") if name in given}
        return {"name": self.name, "offline": True, "dtype": self.dtype or "auto", **kept}

    def __reduce__(self) -> Any:
        return self._loader(), (None,)

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

    @property
    def device(self) -> Any:
        """Where the model computes: a `torch.device`, or "cpu" for a model that needs no torch."""
        return getattr(self.model, "device", "cpu")

    @property
    def dtype(self) -> str | None:
        """What the model computes with: "fp32", "bf16" or "fp16"; None: it has no choice of these."""
        return getattr(self.model, "dtype", None)

    @property
    def max_seq_length(self) -> int | None:
        """The number of tokens of the longest text that the model reads."""
        return getattr(self.model, "max_seq_length", None)

    @property
    def modalities(self) -> list[Any]:
        """What an input may be, in the words of sentence-transformers."""
        return ["text", "image", ("image", "text")]

    def supports(self, modality: Any) -> bool:
        """Returns whether an input may be this, or these together."""
        return modality in self.modalities or modality == ("text", "image")

    def get_embedding_dimension(self) -> int:
        return self.dim

    def get_sentence_embedding_dimension(self) -> int:
        return self.dim

    @overload
    def encode(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue = ...,
        convert_to_numpy: Literal[True] = ...,
        convert_to_tensor: Literal[False] = ...,
        **options: Unpack[EncodeOptions],
    ) -> np.ndarray: ...
    @overload
    def encode(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[True],
        **options: Unpack[EncodeOptions],
    ) -> torch.Tensor: ...
    @overload
    def encode(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue | None = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: bool = ...,
        **options: Unpack[EncodeOptions],
    ) -> Any: ...
    def encode(
        self,
        inputs: Input | Iterable[Input],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = BATCH_SIZE,
        show_progress_bar: bool | None = None,
        output_value: OutputValue | None = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | list[str] | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        pool: dict[str, Any] | None = None,
        chunk_size: int | None = None,
        *,
        on_error: OnError = "raise",
    ) -> Any:
        """Embeds documents: what is stored and searched. The arguments are those of sentence-transformers 6.

        Args:
            inputs: one input, or several in a sequence or any iterable; see `virtue.embedder.inputs`.
            prompt_name: of an instruction that the model knows (`prompts`); VIRTUE knows some.
            prompt: words put before every text; for VIRTUE also what goes with an image that has none.
                It counts, and not `prompt_name`, if both are given.
            batch_size: inputs held in memory at once.
            show_progress_bar: a bar on stderr.
            output_value: None gives a dict {"sentence_embedding": tensor} for each input.
            precision: "int8" and "uint8" divide the range of each dimension among these inputs; "binary" and
                "ubinary" are signs, eight to a byte.
            convert_to_numpy: False gives a list of torch tensors (dim,).
            convert_to_tensor: gives one torch tensor.
            device: that of the model. A list starts a process for each device, for this call.
            normalize_embeddings: unit rows again after `truncate_dim`; without it rows are unit anyway.
            truncate_dim: keep the first so many numbers ("mini": the first half is meaning, the second
                look).
            pool: processes of `start_multi_process_pool`.
            chunk_size: inputs handed to a process of a pool at once.
            on_error: "raise", or "skip": an input that cannot be used gives a row of NaN, which no
                comparison takes for a vector, and a warning that says why.

        Returns:
            (n, dim) float32, or (dim,) for a single input; otherwise as `precision`, `output_value` and
            `convert_to_...` say.

        Raises:
            InputError: an input cannot be used; says which (counted from 0) and why.
        """
        return self._encode(
            inputs,
            lambda items, pictures: self.model.embed(items),
            Output(
                output_value,
                precision,
                convert_to_numpy,
                convert_to_tensor,
                normalize_embeddings,
                truncate_dim,
            ),
            _Call("encode", {}, prompt_name, prompt, batch_size, on_error),
            show_progress_bar=bool(show_progress_bar),
            device=device,
            pool=pool,
            chunk_size=chunk_size,
        )

    encode_document = encode

    @overload
    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue = ...,
        convert_to_numpy: Literal[True] = ...,
        convert_to_tensor: Literal[False] = ...,
        **options: Unpack[EncodeQueryOptions],
    ) -> np.ndarray: ...
    @overload
    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[True],
        **options: Unpack[EncodeQueryOptions],
    ) -> torch.Tensor: ...
    @overload
    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue | None = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: bool = ...,
        **options: Unpack[EncodeQueryOptions],
    ) -> Any: ...
    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = BATCH_SIZE,
        show_progress_bar: bool | None = None,
        output_value: OutputValue | None = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | list[str] | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        pool: dict[str, Any] | None = None,
        chunk_size: int | None = None,
        *,
        find: Find = "regions",
        on_error: OnError = "raise",
    ) -> Any:
        """Embeds queries, one vector each: the first, where a model makes several (see `queries`).

        `find` says what is looked for; the rest is as for `encode`.
        """
        _check_find(find)
        return self._encode(
            inputs,
            lambda items, pictures: [rows[0] for rows in self.model.queries(items, pictures, find)],
            Output(
                output_value,
                precision,
                convert_to_numpy,
                convert_to_tensor,
                normalize_embeddings,
                truncate_dim,
            ),
            _Call("encode_query", {"find": find}, prompt_name, prompt, batch_size, on_error),
            show_progress_bar=bool(show_progress_bar),
            device=device,
            pool=pool,
            chunk_size=chunk_size,
        )

    def start_multi_process_pool(self, target_devices: Sequence[str] | None = None) -> dict[str, Any]:
        """Starts processes that each hold this model, for `encode(pool=...)`.

        Args:
            target_devices: the device of each, one device perhaps several times; None: every CUDA device, or
                four times the processor.

        Raises:
            ModelError: the model was not loaded by name, so that another process could not load it.
        """
        if target_devices is None:
            from virtue.torch_device import cuda_devices

            target_devices = cuda_devices() or ["cpu"] * 4
        return {"processes": ProcessPool(self._loader(), target_devices)}

    @staticmethod
    def stop_multi_process_pool(pool: dict[str, Any]) -> None:
        """Ends the processes of `start_multi_process_pool`."""
        pool["processes"].stop()

    def queries(self, values: Iterable[Input], find: Find = "regions") -> list[np.ndarray]:
        """Embeds queries with all their vectors: for each (k, dim) float32, unit rows. The score of a row of
        a library is its highest dot product with them.

        Raises:
            InputError: an input cannot be used; says which (counted from 0) and why.
        """
        _check_find(find)
        return self._run(
            list(values), lambda items, pictures: self.model.queries(items, pictures, find), as_query=True
        )

    def query(self, value: Input, find: Find = "regions") -> np.ndarray:
        """Embeds one query: `queries` of one value."""
        _check_find(find)
        (rows,) = self._run(
            [value],
            lambda items, pictures: self.model.queries(items, pictures, find),
            is_single=True,
            as_query=True,
        )
        return rows

    @property
    def texts_ignore_find(self) -> bool:
        """Whether a text alone has the same query vectors whatever is looked for. A model that knows so has
        an attribute of this name, True."""
        return bool(getattr(self.model, "texts_ignore_find", False))

    @property
    def cross_modal_weight(self) -> float:
        """How many times the part of a query counts that is of another kind than what is looked for (a text
        beside a picture, where pictures are looked for). A model in which the two kinds do not compare has an
        attribute of this name; else 1."""
        return float(getattr(self.model, "cross_modal_weight", 1.0))

    @property
    def is_asymmetric(self) -> bool:
        """Whether a picture as a query has another vector than as a document."""
        return isinstance(self.model, AsymmetricModel)

    def rows_as_queries(self, rows: np.ndarray, find: Find = "regions") -> np.ndarray:
        """Turns rows of a library (n, dim) into queries for what is like them, (n, dim) float32 unit rows,
        without their pictures. For a model that is not asymmetric these are the rows themselves."""
        _check_find(find)
        rows = unit_rows(np.atleast_2d(rows).astype(np.float32))
        return self.model.rows_as_queries(rows, find) if isinstance(self.model, AsymmetricModel) else rows

    def text_baselines(self, vectors: np.ndarray) -> np.ndarray:
        """Returns what texts score with pictures by their words alone: (n,) float32 for their query vectors
        (n, dim). 0 for a model that does not know."""
        if isinstance(self.model, NamingModel):
            return self.model.text_baselines(vectors)
        return np.zeros(len(vectors), np.float32)

    def knows(self, text: str) -> bool:
        """Returns whether the model knows a word of a text; True for a model that does not tell. Texts of
        which it knows none are all alike to it, whatever they say."""
        return not isinstance(self.model, VocabularyModel) or self.model.knows(text)

    def requery(self, rows: np.ndarray, find: Find = "regions") -> np.ndarray:
        """Calls `rows_as_queries`, by its old name."""
        warnings.warn("Embedder.requery is now called rows_as_queries", DeprecationWarning, stacklevel=2)
        return self.rows_as_queries(rows, find)

    def similarity(self, a: Any, b: Any) -> Any:
        """Computes the cosines of all pairs: (n, m) float32; a torch tensor if `a` is one."""
        if not isinstance(a, np.ndarray) and hasattr(a, "detach"):
            return to_tensor(self.similarity(a.detach().cpu().numpy(), b.detach().cpu().numpy()))
        a, b = (np.atleast_2d(np.asarray(rows, np.float32)) for rows in (a, b))
        return (unit_rows(a) @ unit_rows(b).T).view(Cosines)

    def similarity_pairwise(self, a: Any, b: Any) -> Any:
        """Computes the cosine of each row with the row of its number: (n,) float32; a torch tensor if `a` is
        one."""
        if not isinstance(a, np.ndarray) and hasattr(a, "detach"):
            return to_tensor(self.similarity_pairwise(a.detach().cpu().numpy(), b.detach().cpu().numpy()))
        a, b = (np.atleast_2d(np.asarray(rows, np.float32)) for rows in (a, b))
        return np.vecdot(unit_rows(a), unit_rows(b)).view(Cosines)

    # -- image work once, many prompts: what an indexer uses ------------------------------------------

    def scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        return self.model.scenes(pictures)

    def propose(self, scene: Scene, limit: int) -> list[Box]:
        return self.model.propose(scene, limit)

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        return self._check_units(self.model.embed(items))

    # -- the common path -------------------------------------------------------------------------------

    @property
    def prompts(self) -> Mapping[str, str]:
        """The named instructions that the model knows."""
        return self.model.prompts if isinstance(self.model, InstructedModel) else {}

    def _encode(
        self,
        inputs: Input | Iterable[Input],
        embed: Embed,
        output: Output,
        call: _Call,
        *,
        show_progress_bar: bool,
        device: str | list[str] | None,
        pool: dict[str, Any] | None,
        chunk_size: int | None,
    ) -> Any:
        """The body of `encode` and `encode_query`, which differ in `embed`."""
        if call.batch_size < 1:
            raise InputError(f"batch_size is {call.batch_size}: give 1 or more")
        if call.on_error not in get_args(OnError):
            raise InputError(f"on_error={call.on_error!r} is neither 'raise' nor 'skip'")
        instruction, prefix = self._choose_instruction(call.prompt_name, call.prompt)
        single = is_single(inputs)
        values: list[Any] = [inputs] if single else list(inputs)  # type: ignore[arg-type]
        if pool is not None or isinstance(device, list):
            started = None if pool else self.start_multi_process_pool(device)
            processes: ProcessPool = (pool or started or {})["processes"]
            try:
                rows = processes.run(call.method, values, call.options(), chunk_size)
            finally:
                if started:
                    self.stop_multi_process_pool(started)
        else:
            if device is not None and str(device) != str(self.device):
                raise InputError(
                    f"this model is on {self.device}: for device={str(device)!r} load it there, by "
                    "Embedder.from_pretrained(name, device=...)"
                )
            rows = self._run(
                values,
                embed,
                is_single=single,
                as_query=call.method == "encode_query",
                batch_size=call.batch_size,
                instruction=instruction,
                prefix=prefix,
                on_error=call.on_error,
                show_progress=show_progress_bar,
            )
        return output.convert(rows, self.dim, single)

    def _choose_instruction(self, name: str | None, words: str | None) -> tuple[str | None, str | None]:
        """(an instruction for models that take one, words to put before texts for the others)."""
        name = name if words is None else None
        if name is not None and name not in self.prompts:
            known = f"it knows {', '.join(self.prompts)}" if self.prompts else "give prompt='words'"
            raise InputError(f"the model {self.name!r} knows no prompt called {name!r}: {known}")
        if isinstance(self.model, InstructedModel):
            return words if name is None else self.prompts[name], None
        return None, words

    def _run(
        self,
        values: Sequence[Input],
        embed: Embed,
        *,
        is_single: bool = False,
        as_query: bool = False,
        batch_size: int = BATCH_SIZE,
        instruction: str | None = None,
        prefix: str | None = None,
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> list[np.ndarray]:
        """What `embed` gives for each value, `batch_size` of them in memory at once."""
        results: list[np.ndarray] = []
        starts: Iterable[int] = range(0, len(values), batch_size)
        for start in _show_progress(starts, len(values), batch_size) if show_progress else starts:
            some = values[start : start + batch_size]
            batch, faults = self._run_batch(some, embed, as_query, instruction, prefix)
            for place, error in sorted(faults.items()):
                if on_error == "raise" and is_single:
                    raise error
                if on_error == "raise":
                    raise type(error)(f"input {start + place}: {error}", hint=error.hint) from None
                warnings.warn(f"input {start + place} is left out: {error}", stacklevel=4)
            results += batch
        return results

    def _run_batch(
        self,
        values: Sequence[Input],
        embed: Embed,
        as_query: bool,
        instruction: str | None,
        prefix: str | None,
    ) -> tuple[list[np.ndarray], dict[int, InputError]]:
        """What `embed` gives for each value, NaN for one that cannot be used, and why it cannot."""
        loaded: dict[int, LoadedInput] = {}
        faults: dict[int, InputError] = {}
        pictures: dict[object, Picture] = {}
        for place, value in enumerate(values):
            try:
                loaded[place] = load_input(ModelInput.of(value), self.model.side, pictures, as_query=as_query)
            except InputError as error:
                faults[place] = error

        def run(inputs: Iterable[LoadedInput]) -> Iterable[np.ndarray]:
            inputs = list(inputs)
            return embed(self._to_items(inputs, instruction, prefix), [given.picture for given in inputs])

        results = [np.full(self.dim, np.nan, np.float32) for _ in values]
        try:
            made = dict(zip(loaded, run(loaded.values()), strict=True)) if loaded else {}
        except InputError:
            # One of them is beyond the model (a text too long, a picture too slim): each for itself.
            made = {}
            for place, given in loaded.items():
                try:
                    (made[place],) = run([given])
                except InputError as error:
                    faults[place] = error
        for place, result in made.items():
            results[place] = self._check_units(result)
        return results, faults

    def _check_units(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the vectors. NaN would be stored, and found by nothing.

        Raises:
            ModelError: one is no unit vector.
        """
        if not (np.abs(np.linalg.norm(vectors, axis=-1) - 1) < UNIT_TOLERANCE).all():
            if self.dtype == "fp16":
                raise ModelError(
                    f"the model {self.name} made numbers that fp16 cannot hold: load it with dtype='fp32'",
                    hint="--dtype fp32",
                )
            raise ModelError(
                f"the model {self.name} made vectors that are none: its weights are damaged, get it again"
            )
        return vectors

    def _to_items(
        self, inputs: Sequence[LoadedInput], instruction: str | None, prefix: str | None
    ) -> list[Item]:
        """One scene for all inputs that share a picture; `prefix` goes before every text."""
        pictures = {id(given.picture): given.picture for given in inputs if given.picture is not None}
        scenes = dict(zip(pictures, self.model.scenes(list(pictures.values())), strict=True))
        return [
            Item(
                scenes.get(id(given.picture)),
                given.prompt,
                given.text if given.text is None else (prefix or "") + given.text,
                instruction,
            )
            for given in inputs
        ]


@dataclass(frozen=True, slots=True)
class _Call:
    """What `encode` or `encode_query` was asked, but for the inputs and the form of the result."""

    method: str
    more: dict[str, Any]
    prompt_name: str | None
    prompt: str | None
    batch_size: int
    on_error: OnError

    def options(self) -> dict[str, Any]:
        return {
            "prompt_name": self.prompt_name,
            "prompt": self.prompt,
            "batch_size": self.batch_size,
            "on_error": self.on_error,
            **self.more,
        }


def split_devices(given: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Returns the first device of a list with commas, and all of them if there are several.

    Raises:
        ModelError: one has no name.
    """
    if given is None:
        return None, ()
    names = tuple(name.strip() for name in given.split(","))
    if not all(names):
        raise ModelError(f"device={given!r} names a device without a name: separate them by single commas")
    return names[0], names if len(names) > 1 else ()


def _load(kind: type[Embedder], name: str, options: dict[str, Any], device: str | None) -> Embedder:
    return kind.from_pretrained(name, **{**options, "device": device or options["device"]})


class CardData:
    """Takes what the evaluators of sentence-transformers report."""

    base_model: str | None = None

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def set_evaluation_metrics(
        self, evaluator: object, metrics: Mapping[str, float], epoch: int = 0, step: int = 0
    ) -> None:
        self.metrics.update(metrics)


def _check_find(find: str) -> None:
    if find not in get_args(Find):
        raise InputError(f"find={find!r} is none of {', '.join(get_args(Find))}")


def _show_progress(starts: Iterable[int], total: int, batch_size: int) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("embedding", total=total)
        for start in starts:
            yield start
            progress.update(task, completed=min(start + batch_size, total))
