"""Weights on disk, and into modules: nothing missing, nothing unpickled but tensors, and no more memory than
the files have bytes."""

from __future__ import annotations

import math
import os
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError, StrictDataclassFieldValidationError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN

from virtue.embedder.model_folder import POSITIVE_KEY, plain, read_json, reading, reason, shown
from virtue.embedder.torch_runtime import silence_transformers
from virtue.errors import ModelError

Weights = dict[str, Tensor]
Backbone = TypeVar("Backbone", bound=PreTrainedModel)
Config = TypeVar("Config", bound=PreTrainedConfig)

MAX_NAMED = 5
"""Keys that an error message lists."""
MAX_HEADER = 20_000_000
"""Bytes that a file of weights may spend on the names and shapes of its tensors."""
SPARE_NUMBERS = 1_000_000
"""Numbers that a model may hold beside its weights: tables that it works out itself."""
OLD_PICKLES = 5
"""Pickles in a file that PyTorch wrote before 1.6, which are followed by the numbers."""
OLD_SETTINGS = ("rope_scaling", "rope_theta", "text_config_dict", "vision_config_dict")
"""Settings that transformers reads too, as older versions of it wrote them."""
ACTIVATION_KEYS = ("_act", "activation_function")
"""How settings end that name a function of transformers."""
OPTIONAL_SIZES = ("num_key_value_heads",)
"""Sizes that may be null."""
TENSOR_NAMES = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|parameter)|torch \w+Storage|"
    r"torch\.storage \w+Storage|torch\.nn\.parameter Parameter|torch Size"
)
"""All that a pickle may name. PyTorch lets a few more through, of which memory can be asked."""


def read_weights(file: Path) -> dict[str, Any]:
    """Reads the tensors of a .safetensors, .bin, .pt or .pth file: by their names, perhaps in groups.

    Raises:
        ModelError: it is missing, damaged, or holds anything but tensors.
    """
    if not file.is_file():
        raise ModelError(f"{shown(file)} is missing: the model is not complete, download it again")
    if file.stat().st_size > _physical_memory():
        raise ModelError(f"{shown(file)} is larger than the memory of this machine: use a smaller model")
    with reading(shown(file)):
        if file.suffix == ".safetensors":
            _check_header(file)
            return dict(load_file(file))
        _check_pickle(file)
        held = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    return _check_tensors(file, held)


def read_folder(
    folder: Path, stems: Iterable[str] = ("model", "pytorch_model"), *, most: float = math.inf
) -> Weights:
    """Reads all tensors of a folder as transformers saves it: one file, or shards with an index.

    Args:
        most: bytes that the files may have.

    Raises:
        ModelError: there are none, they are larger, or a file of them is missing or damaged.
    """
    files = _find_weights(folder, stems)
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size > most:
        raise ModelError(
            f"the weights in {shown(folder)} are {size / 1e6:,.0f} MB, far more than its configuration "
            "describes"
        )
    weights: Weights = {}
    for file in files:
        weights |= _read_flat(file)
    return weights


def _find_weights(folder: Path, stems: Iterable[str]) -> list[Path]:
    names = [f"{stem}{suffix}" for suffix in (".safetensors", ".bin") for stem in stems]
    for name in names:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return [folder / name]
        if index.is_file():
            return [folder / shard for shard in _list_shards(index)]
    raise ModelError(f"{shown(folder)} holds no weights: there should be one of {', '.join(names)}")


def build_config(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Makes a transformers configuration of the settings that a class declares. The others, of which some
    choose kernels, quantisation or other classes, are left out.

    Raises:
        ModelError: a value is not of the type that it must have, or cannot be; names it.
    """
    what = f"the configuration of a {kind.model_type} model"
    with reading(what), silence_transformers():
        default = kind()
        settings = _select_known(values, default)
        _refuse(_cannot_be, settings, default, what)
        try:
            return kind(**settings)
        except StrictDataclassError as error:
            _refuse(_is_of_wrong_type, settings, default, what)
            raise ModelError(f"{what} cannot be ({reason(error.__cause__ or error)}): get it again") from None


def build_backbone(
    kind: type[Backbone],
    config: PreTrainedConfig,
    weights: Weights,
    dtype: torch.dtype,
    what: str,
    *,
    spare: bool = False,
) -> Backbone:
    """Builds a transformers model with these weights, none of which may be missing.

    Args:
        what: says in an error whose weights they are.
        spare: whether weights may be left over.

    Raises:
        ModelError: names parameters that are missing, left over, or of another shape.
    """
    with reading(f"the model {what}"), silence_transformers():
        _check_amount(kind, config, weights, what)
        loaded: Any = kind.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=dtype,
            ignore_mismatched_sizes=True,  # they come back in `info`, and are an error below
            output_loading_info=True,
        )
    model: Backbone
    model, info = loaded
    left_over = () if spare else info["unexpected_keys"]
    _check_complete(what, info["missing_keys"], left_over, info["mismatched_keys"])
    check_finite(model, what)
    return model


def check_finite(module: nn.Module, what: str) -> None:
    """Checks that all weights are numbers.

    Raises:
        ModelError: names one that is not.
    """
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ModelError(f"the weights of {what} are not all numbers: {name} holds NaN or infinity")


def load_into(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Copies the weights into a module of one's own. Raises as `backbone` does."""
    own = module.state_dict()
    shapes = [
        (name, tuple(weights[name].shape), tuple(own[name].shape))
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    ]
    _check_complete(what, own.keys() - weights.keys(), weights.keys() - own.keys(), shapes)
    module.load_state_dict(weights)
    check_finite(module, what)


def select_prefix(prefix: str, weights: Mapping[str, Tensor]) -> Weights:
    """Returns the tensors whose names begin with the prefix, and removes it from the names."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _check_complete(
    what: str, missing: Iterable[str], unexpected: Iterable[str], shapes: Iterable[tuple[str, Any, Any]]
) -> None:
    faults = []
    if names := sorted(missing):
        faults.append(f"missing: {_list_names(names)}")
    if names := sorted(unexpected):
        faults.append(f"not known: {_list_names(names)}")
    if wrong := sorted(
        f"{name} is {_format_shape(given)}, not {_format_shape(wanted)}" for name, given, wanted in shapes
    ):
        faults.append(f"of another shape: {_list_names(wrong)}")
    if faults:
        raise ModelError(f"the weights of {what} do not fit its configuration; {'; '.join(faults)}")


def _list_names(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _format_shape(shape: Iterable[int]) -> str:
    return " x ".join(str(side) for side in shape)


def _physical_memory() -> float:
    """Returns the bytes of memory that this machine has; infinity: nobody says."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read_flat(file: Path) -> Weights:
    weights = read_weights(file)
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{shown(file)} holds more than the tensors of one model")
    return weights


def _list_shards(index: Path) -> list[str]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(name, str) for name in placed.values()):
        raise ModelError(f"{shown(index)} does not say where the weights are: download it again")
    shards = sorted(set(placed.values()))
    if away := [name for name in shards if not name or Path(name).name != name]:
        raise ModelError(f"{shown(index)} names {away[0]!r:.60}, which is not a file of its folder")
    return shards


def _check_header(file: Path) -> None:
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
    if size > MAX_HEADER:
        raise ValueError(f"its header is {size:.3g} bytes, more than {MAX_HEADER:.0e}")


def _check_pickle(file: Path) -> None:
    """Refuses a pickle that names anything but tensors, without loading it."""
    with file.open("rb") as stream:
        if zipfile.is_zipfile(stream):
            names = set(_names_in_archive(stream))
        else:
            stream.seek(0)
            names = {name for _ in range(OLD_PICKLES) for name in _names_in_pickle(stream)}
    if foreign := sorted(name for name in names if not TENSOR_NAMES.fullmatch(name)):
        raise ModelError(
            f"{shown(file)} holds more than tensors, and loading it could run code: ask its author for "
            f"safetensors ({plain(foreign[0].replace(' ', '.'))})"
        )


def _names_in_archive(stream: IO[bytes]) -> Iterator[str]:
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its parts are compressed, as PyTorch writes none")
            if entry.filename.endswith("/data.pkl") or entry.filename == "data.pkl":
                if entry.file_size > MAX_HEADER:
                    raise ValueError(f"its list of tensors is {entry.file_size:.3g} bytes")
                with archive.open(entry) as pickled:
                    yield from _names_in_pickle(pickled)


def _names_in_pickle(stream: IO[bytes]) -> Iterator[str]:
    for code, argument, _ in pickletools.genops(stream):
        if code.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            yield code.name


def _check_tensors(file: Path, held: Any) -> dict[str, Any]:
    """Checks what was unpickled: tensors by name, or named groups of them. None may claim more numbers than
    the file holds for it."""
    if not isinstance(held, Mapping):
        raise ModelError(f"{shown(file)} holds no tensors by name: this is not the file of a model")
    for group in (held, *(part for part in held.values() if isinstance(part, Mapping))):
        for name, value in group.items():
            if not isinstance(name, str) or (isinstance(value, Mapping) and group is not held):
                raise ModelError(f"{shown(file)} holds no tensors by name: this is not the file of a model")
            if isinstance(value, Tensor) and _is_larger_than_stored(value):
                raise ModelError(f"{shown(file)} is damaged: {plain(name)} is larger than the file")
    return dict(held)


def _is_larger_than_stored(value: Tensor) -> bool:
    if value.device.type != "cpu" or value.layout != torch.strided:
        return True
    return value.numel() * value.element_size() > value.untyped_storage().nbytes()


def count_numbers(kind: type[nn.Module], config: PreTrainedConfig) -> int:
    """Counts the numbers of a model, without taking memory for them.

    Raises:
        ModelError: no such model can be built.
    """
    what = f"the configuration of a {config.model_type} model"
    with reading(what), torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is wrong with it, the weights tell more
        skeleton: nn.Module = kind(config)
    return sum(part.numel() for part in (*skeleton.parameters(), *skeleton.buffers()))


def _check_amount(kind: type[nn.Module], config: PreTrainedConfig, weights: Weights, what: str) -> None:
    """Refuses a configuration of far more numbers than there are weights, before memory is taken for them."""
    wanted = count_numbers(kind, config)
    held = sum(value.numel() for value in weights.values())
    if wanted > 2 * held + SPARE_NUMBERS:
        raise ModelError(
            f"the weights of {what} do not fit its configuration, which describes {wanted:,} numbers, and "
            f"they are {held:,}"
        )


def _select_known(values: Mapping[str, Any], default: PreTrainedConfig) -> dict[str, Any]:
    """Returns the settings that the class of `default` declares, and inside them those of its parts, whose
    classes are those of its own parts."""
    flat = getattr(default, "text_config", None) if "text_config" not in values else None
    known = {*_declared(default), *OLD_SETTINGS, *(_declared(flat) if flat is not None else ())}
    made: dict[str, Any] = {}
    for key, value in values.items():
        part = getattr(default, key.removesuffix("_dict"), None)
        if key in known and isinstance(part, PreTrainedConfig) and isinstance(value, Mapping):
            made[key] = {**_select_known(value, part), "model_type": part.model_type}
        elif key in known:
            made[key] = value
    return made


def _refuse(
    is_wrong: Callable[[PreTrainedConfig, str, Any], bool],
    settings: Mapping[str, Any],
    default: PreTrainedConfig,
    what: str,
    path: str = "",
) -> None:
    """Raises an error that names the first setting that is wrong."""
    for name, value in settings.items():
        part = getattr(default, name, None)
        if isinstance(part, PreTrainedConfig) and isinstance(value, Mapping):
            _refuse(is_wrong, value, part, what, f"{path}{name}.")
        elif is_wrong(default, name, value):
            shown_value = plain(repr(value))
            raise ModelError(f"{what} says {path}{name} = {shown_value:.60}, which cannot be: get it again")


def _cannot_be(default: PreTrainedConfig, name: str, value: Any) -> bool:
    """Returns whether transformers takes a value and fails at it later, in words that nobody understands."""
    if isinstance(value, str) and name.endswith(ACTIVATION_KEYS):
        return value not in ACT2FN
    is_size = isinstance(getattr(default, name, None), int) and POSITIVE_KEY.fullmatch(name)
    return value is None and bool(is_size) and name not in OPTIONAL_SIZES


def _is_of_wrong_type(default: PreTrainedConfig, name: str, value: Any) -> bool:
    try:
        type(default)(**{name: value})
    except StrictDataclassFieldValidationError:
        return True
    except StrictDataclassError:  # what is wrong is how it goes with another setting
        return False
    return False


def _declared(config: PreTrainedConfig) -> set[str]:
    common = {entry.name for entry in fields(PreTrainedConfig)}
    return {entry.name for entry in fields(config)} - common
