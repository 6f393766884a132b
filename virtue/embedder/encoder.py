"""A model with the face of sentence-transformers 6: what its users know, with pictures and prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args, overload

import numpy as np

from virtue.embedder.batches import BATCH_SIZE, Batches, OnError
from virtue.embedder.inputs import Input, is_single
from virtue.embedder.model import Find, InstructedModel, Model
from virtue.embedder.output import Output, OutputValue, Precision
from virtue.embedder.similarity import similarity, similarity_pairwise
from virtue.errors import InputError

if TYPE_CHECKING:
    import torch

    from virtue.embedder.process_pool import ProcessPool


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
    find: Find | None
    on_error: OnError


class CardData:
    """Takes what the evaluators of sentence-transformers report."""

    base_model: str | None = None

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def set_evaluation_metrics(
        self, evaluator: object, metrics: Mapping[str, float], epoch: int = 0, step: int = 0
    ) -> None:
        self.metrics.update(metrics)


class Encoder(ABC):
    """Encodes texts, images and prompts on images as sentence-transformers does texts.

    The vector of an input never depends on what else is in its batch.
    """

    similarity_fn_name = "cosine"
    similarity = staticmethod(similarity)
    similarity_pairwise = staticmethod(similarity_pairwise)

    def __init__(self, model: Model) -> None:
        self.model = model
        self.model_card_data = CardData()

    @abstractmethod
    def _loader(self) -> Callable[[str | None], Encoder]:
        """Returns what loads this model in another process, on a device (None: on that of this one)."""

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

    @property
    def prompts(self) -> Mapping[str, str]:
        """The named instructions that the model knows."""
        return self.model.prompts if isinstance(self.model, InstructedModel) else {}

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
        find: Find | None = None,
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
            find: makes queries for this, as `encode_query` does; None: documents.
            on_error: "raise", or "skip": an input that cannot be used gives a row of NaN, which no
                comparison takes for a vector, and a warning that says why.

        Returns:
            (n, dim) float32, or (dim,) for a single input; otherwise as `precision`, `output_value` and
            `convert_to_...` say.

        Raises:
            InputError: an input cannot be used; says which (counted from 0) and why.
        """
        output = Output(
            output_value, precision, convert_to_numpy, convert_to_tensor, normalize_embeddings, truncate_dim
        )
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: give 1 or more")
        if on_error not in get_args(OnError):
            raise InputError(f"on_error={on_error!r} is neither 'raise' nor 'skip'")
        batches = Batches(self.model, find, *self._choose_instruction(prompt_name, prompt))
        single = is_single(inputs)
        values: list[Any] = [inputs] if single else list(inputs)  # type: ignore[arg-type]
        if pool is not None or isinstance(device, list):
            started = None if pool else self.start_multi_process_pool(device)
            processes: ProcessPool = (pool or started or {})["processes"]
            options = {
                "prompt_name": prompt_name,
                "prompt": prompt,
                "batch_size": batch_size,
                "find": find,
                "on_error": on_error,
            }
            try:
                rows = processes.run(values, options, chunk_size)
            finally:
                if started:
                    self.stop_multi_process_pool(started)
        else:
            if device is not None and str(device) != str(self.device):
                raise InputError(
                    f"this model is on {self.device}: for device={str(device)!r} load it there, by "
                    "Embedder.from_pretrained(name, device=...)"
                )
            rows = batches.run(
                values,
                is_single=single,
                batch_size=batch_size,
                on_error=on_error,
                show_progress=bool(show_progress_bar),
            )
            rows = rows if find is None else [vectors[0] for vectors in rows]
        return output.convert(rows, self.dim, single)

    encode_document = encode

    @overload
    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue = ...,
        convert_to_numpy: Literal[True] = ...,
        convert_to_tensor: Literal[False] = ...,
        **options: Unpack[EncodeOptions],
    ) -> np.ndarray: ...
    @overload
    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[True],
        **options: Unpack[EncodeOptions],
    ) -> torch.Tensor: ...
    @overload
    def encode_query(
        self,
        inputs: Input | Iterable[Input],
        *,
        output_value: OutputValue | None = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: bool = ...,
        **options: Unpack[EncodeOptions],
    ) -> Any: ...
    @wraps(encode, assigned=())
    def encode_query(
        self, inputs: Input | Iterable[Input], *arguments: Any, find: Find | None = None, **options: Any
    ) -> Any:
        """Embeds queries, one vector each: the first, where a model makes several (see `Embedder.queries`).

        `find` says what is looked for (None: regions); the rest is as for `encode`.
        """
        return self.encode(inputs, *arguments, find="regions" if find is None else find, **options)

    def _choose_instruction(self, name: str | None, words: str | None) -> tuple[str | None, str | None]:
        """(an instruction for models that take one, words to put before texts for the others)."""
        name = name if words is None else None
        if name is not None and name not in self.prompts:
            known = f"it knows {', '.join(self.prompts)}" if self.prompts else "give prompt='words'"
            raise InputError(f"the model {self.name!r} knows no prompt called {name!r}: {known}")
        if isinstance(self.model, InstructedModel):
            return words if name is None else self.prompts[name], None
        return None, words

    def start_multi_process_pool(self, target_devices: Sequence[str] | None = None) -> dict[str, Any]:
        """Starts processes that each hold this model, for `encode(pool=...)`.

        Args:
            target_devices: the device of each, one device perhaps several times; None: every CUDA device, or
                four times the processor.

        Raises:
            ModelError: the model was not loaded by name, so that another process could not load it.
        """
        from virtue.embedder.process_pool import ProcessPool

        if target_devices is None:
            from virtue.torch_device import cuda_devices

            target_devices = cuda_devices() or ["cpu"] * 4
        return {"processes": ProcessPool(self._loader(), target_devices)}

    @staticmethod
    def stop_multi_process_pool(pool: dict[str, Any]) -> None:
        """Ends the processes of `start_multi_process_pool`."""
        pool["processes"].stop()
