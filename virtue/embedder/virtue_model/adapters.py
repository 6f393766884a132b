"""A published training checkpoint: low-rank changes (DoRA, arXiv 2402.09353) to a base model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from transformers import Qwen2VLModel

from virtue.embedder.model_folder import plain, reading
from virtue.embedder.weights import Weights, check_finite
from virtue.errors import ModelError

_LANGUAGE = re.compile(r"^base_model\.model\.(model\.)*(language_model\.)?(?=layers\.|embed_tokens|norm\.)")
_VISION = re.compile(r"^base_model\.model\.(model\.)*(?=visual\.)")
_NAME = re.compile(r"[\w.]+")
_SUFFIX = re.compile(r"\.(lora_[AB]|lora_magnitude_vector|lora_embedding_[AB])(\.\w+)*$")


def rename_weights(weights: Weights) -> Weights:
    """Renames the parameters of any version of Qwen2-VL to those of `Qwen2VLModel`. Without this nothing
    would load, and PEFT would only warn."""
    made = {}
    for name, value in weights.items():
        name = _LANGUAGE.sub("base_model.model.language_model.", name)
        made[_VISION.sub("base_model.model.", name)] = value
    return made


def merge_adapter(
    model: Qwen2VLModel, adapter: Mapping[str, Any], weights: Weights, what: str
) -> Qwen2VLModel:
    """Merges an adapter into the weights of its base model.

    Raises:
        ModelError: names changes that find no place in the base model, or places left without one.
    """
    weights = rename_weights(weights)
    # The places are read off the file: the published list of names hits only some of them.
    places = sorted({_SUFFIX.sub("", name).removeprefix("base_model.model.") for name in weights})
    unknown = [place for place in places if not _has_module(model, place)]
    if unknown or not places:
        faults = ", ".join(unknown[:5]) or "it is empty"
        raise ModelError(f"the adapter {what} does not fit its base model: {faults}")
    _check_settings(adapter, weights, what)
    with reading(f"the adapter {what}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT asks transformers by names that it is about to drop
        config = LoraConfig(
            r=adapter["r"],
            lora_alpha=adapter["lora_alpha"],
            use_dora=adapter.get("use_dora", False),
            use_rslora=adapter.get("use_rslora", False),
            rank_pattern=adapter.get("rank_pattern") or {},
            alpha_pattern=adapter.get("alpha_pattern") or {},
            target_modules=places,
        )
        changed = get_peft_model(model, config)
        loaded: Any = set_peft_model_state_dict(changed, weights)
    unknown = [name for name in loaded.missing_keys if "lora_" in name] + list(loaded.unexpected_keys)
    if unknown:
        raise ModelError(f"the adapter {what} does not fit its base model: {', '.join(unknown[:5])}")
    merged_model: Any = changed.merge_and_unload()
    check_finite(merged_model, f"the adapter {what}")
    return merged_model


def _check_settings(adapter: Mapping[str, Any], weights: Weights, what: str) -> None:
    """Refuses ranks that no tensor has, since memory is taken for them, and patterns that are no plain names,
    since they are compared as regular expressions."""
    most = max((min(value.shape) for name, value in weights.items() if value.ndim == 2), default=0)
    ranks, alphas = adapter.get("rank_pattern") or {}, adapter.get("alpha_pattern") or {}
    if not isinstance(ranks, dict) or not isinstance(alphas, dict):
        raise ModelError(f"the adapter {what} has patterns that are none: download it again")
    if odd := [name for name in (*ranks, *alphas) if not _NAME.fullmatch(name)]:
        raise ModelError(f"the adapter {what} has a pattern that is no plain name: {plain(odd[0])}")
    for rank in (adapter.get("r"), *ranks.values()):
        if type(rank) is not int or not 0 < rank <= most:
            raise ModelError(f"the adapter {what} is of rank {rank!r:.60}, and its tensors of at most {most}")
    for alpha in (adapter.get("lora_alpha"), *alphas.values()):
        if type(alpha) not in (int, float):
            raise ModelError(f"the adapter {what} has lora_alpha = {alpha!r:.60}, which is no number")


def _has_module(model: Qwen2VLModel, place: str) -> bool:
    try:
        model.get_submodule(place)
    except AttributeError:
        return False
    return True
