"""A model's folder is data from strangers: what is read from it is checked here first, and names no code."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virtue.errors import ModelError, VirtueError
from virtue.paths import printable

MAX_SETTINGS = 4_000_000
"""Bytes of a JSON file of settings."""
MAX_TOKENIZER = 64_000_000
"""Bytes of a tokenizer's file (Gemma's, which SigLIP 2 has, are 34 MB)."""
MAX_VALUES = 500_000
"""Values in a file of settings; YAML may name one list many times."""
MAX_DEPTH = 40
"""Lists and objects of a JSON file inside each other."""
MAX_MODULES = 1_000
"""What a setting may count that becomes a module each, such as layers."""
MAX_REASON = 200
"""Characters of what another program says about a file."""

MORE_SETTINGS = ("special_tokens_map.json", "modules.json", "chat_template.json")
TOKENIZERS = re.compile(
    r"tokenizer\..*|vocab\.(json|txt)|merges\.txt|added_tokens\.json|.*\.(model|jinja|tiktoken)"
)
CODE_KEYS = ("auto_map", "custom_pipelines", "custom_generate")
"""Keys under which transformers looks for code."""
ATTENTION_KEYS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""Keys that may name kernels on the hub, as owner/name."""
FILE_KEYS = ("vocab_file", "merges_file", "tokenizer_file")
"""Keys by which a tokenizer's settings would have files read from anywhere."""
POSITIVE_KEY = re.compile(
    r"(?!max_window_layers)(.*_)?"
    r"(sizes?|strides?|stages?|channels|heads|layers|depth|dim|patches|position_embeddings)"
)
COUNTING_KEY = re.compile("layers|depth|blocks|levels|outputs|stages")
OWN_MODULES = "sentence_transformers."


def check_folder(folder: Path) -> None:
    """Checks the files of a model's folder that are no weights, before anything reads them.

    Raises:
        ModelError: one is no file, too large, or no settings; or it names code to run.
    """
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise ModelError(f"{shown(folder)} cannot be read ({error.strerror})") from None
    for file in files:
        if _is_settings(file.name):
            check_values(file, read_settings(file))
        elif TOKENIZERS.fullmatch(file.name):
            check_size(file, MAX_TOKENIZER)


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object of settings from a file.

    Raises:
        ModelError: the file is missing, too large, or no JSON object.
    """
    values = read_settings(file)
    if not isinstance(values, dict):
        raise ModelError(f"{shown(file)} holds no configuration")
    check_values(file, values)
    return values


def read_settings(file: Path) -> Any:
    """Reads JSON of any kind, of a size and depth that settings have."""
    check_size(file, MAX_SETTINGS)
    try:
        return json.loads(file.read_text("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{shown(file)} cannot be read ({reason(error)})") from None


def check_size(file: Path, limit: int) -> None:
    """Checks that a file is one, and no larger than `limit` bytes.

    Raises:
        ModelError: it is not.
    """
    try:
        if not file.is_file():
            what = "is no file" if file.exists() or file.is_symlink() else "is missing"
            raise ModelError(f"{shown(file)} {what}: this is not the folder of a model, or not complete")
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(f"{shown(file)} cannot be read ({error.strerror})") from None
    if size > limit:
        raise ModelError(
            f"{shown(file)} is {size / 1e6:,.0f} MB, more than the {limit / 1e6:.0f} MB that such a file may "
            "have: this is not the folder of a model"
        )


def check_values(file: Path, values: Any) -> None:
    """Checks settings that were read from a file.

    Raises:
        ModelError: they name code, or nothing sensible can be made of them.
    """
    for count, (key, value, depth) in enumerate(_walk(values)):
        if count > MAX_VALUES:
            raise ModelError(f"{shown(file)} holds more than {MAX_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise ModelError(f"{shown(file)} is nested more than {MAX_DEPTH} times")
        if code := _named_code(file.name, key, value):
            raise ModelError(
                f"{shown(file)} names code to run ({code}), and virtue runs none from the folder of a model: "
                "use a model that needs none"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ModelError(f"{shown(file)} holds a number beyond all bounds at {plain(key)!r}")
        if isinstance(value, str) and not _is_unicode(value):
            raise ModelError(f"{shown(file)} holds text that is no Unicode at {plain(key)!r}")
        if isinstance(value, int) and value > MAX_MODULES and COUNTING_KEY.search(key):
            raise ModelError(f"{shown(file)} asks for more than {MAX_MODULES} of {key!r:.60}")
        if type(value) is int and value < 1 and POSITIVE_KEY.fullmatch(key):
            raise ModelError(f"{shown(file)} says {key} = {value!r:.60}: that cannot be")


def find_inside(folder: Path, named: object) -> Path | None:
    """Returns the file that settings name, if it lies in their folder; they may name no other."""
    path = Path(str(named).replace("\0", ""))
    if path.is_absolute() or ".." in path.parts:
        return None
    return folder / path if (folder / path).is_file() else None


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns whatever another library makes of a stranger's file into one sentence.

    Raises:
        ModelError: anything went wrong; names `what`.
    """
    try:
        yield
    except VirtueError:
        raise
    except ImportError as error:
        # transformers says in several lines what is missing, for whom, and how to install it.
        raise ModelError(f"{what} cannot be read: {' '.join(str(error).split())}") from None
    except Exception as error:  # noqa: BLE001 - libraries raise anything on files that nobody foresaw
        raise ModelError(f"{what} cannot be read ({reason(error)}): download it again") from None


def shown(path: Path) -> str:
    return printable(str(path))


def reason(error: BaseException) -> str:
    """Returns what another library says of a file, for a sentence."""
    return plain(str(error) or type(error).__name__)


def plain(text: object) -> str:
    """Returns what a file holds as text that can be shown anywhere, not all of it if it is long."""
    shortened = " ".join(str(text)[: 2 * MAX_REASON].split())
    shortened = "".join(sign if sign.isprintable() else "?" for sign in shortened)
    return shortened if len(shortened) <= MAX_REASON else shortened[:MAX_REASON] + "..."


def _is_settings(name: str) -> bool:
    return name.endswith(("config.json", ".index.json")) or name in MORE_SETTINGS


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it holds {next(name for name in names if names.count(name) > 1)!r:.60} twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}")


def _named_code(name: str, key: str, value: Any) -> str | None:
    if key in CODE_KEYS and value:
        return key
    if key in ATTENTION_KEYS and isinstance(value, str) and "/" in value:
        return key
    if key in FILE_KEYS and isinstance(value, str) and name == "tokenizer_config.json":
        return key
    if isinstance(value, str) and value.endswith(".py"):
        return plain(value)
    if name == "modules.json" and key == "type" and not str(value).startswith(OWN_MODULES):
        return plain(value)
    return None


def _walk(values: Any) -> Iterator[tuple[str, Any, int]]:
    """(the nearest key, value, depth) of everything inside."""
    waiting: list[tuple[str, Any, int]] = [("", values, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        yield key, value, depth
        if isinstance(value, Mapping):
            waiting += [(name, inner, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(key, inner, depth + 1) for inner in value]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
