"""Opens model folders that lie in every way: `python -m benchmarks.hostile_models`.

    python -m benchmarks.hostile_models [--folders 300] [--seed 1]

Configurations with values of another type, size or depth, files that are none, weights that do not fit, hold
NaN or code, and names of code to run. Prints one JSON object. A fault is: a folder that ends in anything but
vectors or one sentence, takes more than 60 s or 1.5 GB, or gets code to run. The exit status is 1 if there
was one. Linux only: each folder is opened by a forked process.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import pickle
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60
MEMORY_MB = 1500
ADDRESS_SPACE = 16_000_000_000
"""So that a folder that asks for terabytes fails here and does not take the machine with it."""
SPARSE = 3_000_000_000
REFUSED, OPENED, FAULT = 3, 0, 4
MARK = "code-ran"
SLOW = ("published", "adapter")

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 7, 1_000_000, 10**12, 2**63, -(2**63), 10**400, 0.5, -1e308,
    float("nan"), float("inf"), "", "64", "nan", "\0", "a\0b", "\ud800", "\x1b]52;c;eA==\a", "x" * 100_000,
    "evil.py", "os.system", "evil--code.Model", "/dev/zero", "../../../etc/passwd", "/", ".", "~",
    "bfloat16", "flash_attention_2", "evil/kernel:run", [], {}, [[]], [1], [-1, 10**12], ["x"], {"a": 1},
    [None] * 1000, {"height": 10**6, "width": 10**6}, {"shortest_edge": 10**9}, {"height": -3, "width": 0},
)  # fmt: skip
ADDED: tuple[tuple[str, Any], ...] = (
    ("auto_map", {"AutoModel": "evil.Model", "AutoProcessor": "evil.P", "AutoImageProcessor": "evil.P"}),
    ("auto_map", {"AutoTokenizer": ["evil.T", None], "AutoConfig": "evil.C"}),
    ("auto_map", {"AutoModel": "evil/hub--evil.Model"}),
    ("custom_pipelines", {"x": {"impl": "evil.Pipe", "pt": ["AutoModel"]}}),
    ("attn_implementation", "evil/kernel"),
    ("_attn_implementation", "evil/kernel:run"),
    ("_attn_implementation_internal", "flash_attention_3"),
    ("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}),
    ("quantization_config", {"quant_method": "gptq", "bits": 4}),
    ("per_layer_config", {"0": {"hidden_size": 7}}),
    ("tokenizer_class", "AutoModel"),
    ("tokenizer_class", "pipeline"),
    ("tokenizer_class", "evil.Tokenizer"),
    ("tokenizer_class", "LlamaTokenizer"),
    ("tokenizer_file", "/dev/zero"),
    ("vocab_file", "/dev/zero"),
    ("image_processor_type", "AutoModel"),
    ("image_processor_type", "DetrImageProcessor"),
    ("image_processor_type", "evil"),
    ("processor_class", "evil.Processor"),
    ("return_dict", False),
    ("torch_dtype", "int8"),
    ("dtype", "os.system"),
    ("init_inputs", [[1], {}, "x"]),
    ("fast_tokenizer_files", ["tokenizer.9.json"]),
    ("added_tokens_decoder", {"999999999": {"content": "x", "special": True}}),
    ("added_tokens_decoder", {"x": 1}),
    ("extra_special_tokens", {"__class__": "x", "a.b": 3}),
    ("chat_template", "{{ ''.__class__ }}"),
    ("base_model_name_or_path", "/dev"),
    ("use_timm_backbone", True),
    ("backbone", "resnet50"),
)  # fmt: skip


@dataclass(frozen=True)
class HostileFolder:
    """A model folder and what was done to it. `open` uses it as a search and an index would: it returns if
    there are vectors, and raises a `VirtueError` if the folder is refused."""

    what: str
    folder: Path
    mark: Path
    """Is there once code of the folder has run."""

    def open(self) -> None:
        import numpy as np

        from virtue import Embedder
        from virtue.pictures import load

        embedder = Embedder.from_pretrained(self.folder, device="cpu", threads=1, offline=True)
        pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
        vectors = embedder.encode(["4 a red mug", pixels, {"image": pixels, "box": (10, 10, 70, 60)}])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3), "a vector that is not unit"
        if self.what.startswith(SLOW):  # its segmentation model sees 1,024 pixels
            return
        embedder.encode_query(["4 a blue cat", pixels])
        (scene,) = embedder.scenes([load(pixels)])
        embedder.propose(scene, 10)


class Payload:
    """What an attacker puts into a pickle."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def model_folders(rng: random.Random, scratch: Path) -> Iterator[HostileFolder]:
    """Makes hostile folders below `scratch` without end; each is removed when the next is asked for."""
    sound = make_sound_folders(scratch / "sound")
    mark = scratch / MARK
    for number in range(sys.maxsize):
        kind = rng.choice(sorted(sound))
        folder = scratch / f"{number:05d}-{kind}"
        shutil.copytree(sound[kind], folder, symlinks=True)
        (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nModel = P = T = C = Pipe = object\n")
        change = rng.choice(CHANGES)
        try:
            what = f"{kind}: {change(rng, folder, mark)}"
            yield HostileFolder(what, folder, mark)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def make_sound_folders(place: Path) -> dict[str, Path]:
    """Small models of each family and layout, all of which open."""
    import torch

    from tests.embedder.test_reference import REFERENCE
    from tests.embedder.towers import builders
    from tests.embedder.virtue_model import checkpoints

    folders = {kind: builders.save(kind, place / kind) for kind in builders.FAMILIES}
    folders["pickled"] = Path(shutil.copytree(folders["clip"], place / "pickled"))
    weights = folders["pickled"] / "model.safetensors"
    from safetensors.torch import load_file

    torch.save(load_file(weights), folders["pickled"] / "pytorch_model.bin")
    weights.unlink()
    folders["published"] = checkpoints.published_folder(REFERENCE, place / "published")
    folders["own"] = checkpoints.own_folder(place / "own")
    adapter = place / "adapter"
    adapter.mkdir()
    checkpoints.write_all_but_language(REFERENCE, adapter)
    settings = {"base_model_name_or_path": str(folders["published"]), "r": 2, "lora_alpha": 4}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    target = "base_model.model.model.layers.0.self_attn.o_proj.lora_{}.weight"
    shapes = {"A": (2, 128), "B": (128, 2)}
    torch.save(
        {target.format(side): torch.full(shape, 0.01) for side, shape in shapes.items()},
        adapter / "adapter_model.bin",
    )
    folders["adapter"] = adapter
    return folders


# -- settings ------------------------------------------------------------------------------------------


def change_values(rng: random.Random, folder: Path, mark: Path) -> str:
    """Other values in one file of settings, at any depth."""
    file = rng.choice(settings_of(folder))
    values = json.loads(file.read_text())
    told = []
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        holder, key, path = rng.choice(places(values))
        holder[key] = copy.deepcopy(rng.choice(VALUES))  # later changes may lie inside
        told.append(f"{path} = {holder[key]!r:.60}")
    write_json(file, values)
    return f"{file.name}: {', '.join(told)}"


def remove_keys(rng: random.Random, folder: Path, mark: Path) -> str:
    file = rng.choice(settings_of(folder))
    values = json.loads(file.read_text())
    holder, key, path = rng.choice(places(values))
    del holder[key]
    write_json(file, values)
    return f"{file.name}: no {path}"


def add_keys(rng: random.Random, folder: Path, mark: Path) -> str:
    """What names code, or a way around it, where transformers might look for it."""
    names = ["config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json",
             "video_preprocessor_config.json", "generation_config.json", "adapter_config.json"]  # fmt: skip
    file = folder / rng.choice(names)
    values = json.loads(file.read_text()) if file.is_file() else {}
    key, value = rng.choice(ADDED)
    inside = [holder for holder, _, _ in places(values) if isinstance(holder, dict)]
    rng.choice([values, values, *inside])[key] = copy.deepcopy(value)
    write_json(file, values)
    return f"{file.name}: added {key} = {value!r:.60}"


def replace_file(rng: random.Random, folder: Path, mark: Path) -> str:
    """A file, settings or weights, that is something else altogether."""
    file = rng.choice(sorted(file for file in folder.iterdir() if file.name != "evil.py"))
    old = file.read_bytes()
    file.unlink()
    kinds: dict[str, Callable[[], Any]] = {
        "empty": lambda: file.write_bytes(b""),
        "null": lambda: file.write_text("null"),
        "a list": lambda: file.write_text("[]"),
        "a number": lambda: file.write_text("1e999"),
        "deep lists": lambda: file.write_text("[" * 1_000_000),
        "deep objects": lambda: file.write_text('{"a":' * 200_000 + "1" + "}" * 200_000),
        "many values": lambda: file.write_text("[" + "[]," * 20_000_000 + "0]"),
        "many keys": lambda: file.write_text(json.dumps({str(n): n for n in range(2_000_000)})),
        "UTF-16": lambda: file.write_bytes(old.decode("latin-1").encode("utf-16")),
        "bytes": lambda: file.write_bytes(rng.randbytes(5000)),
        "cut off": lambda: file.write_bytes(old[: rng.randrange(len(old))]),
        "doubled": lambda: file.write_bytes(old + old),
        "bits flipped": lambda: file.write_bytes(flip(rng, old)),
        "gigabytes": lambda: os.truncate(os.open(file, os.O_CREAT | os.O_WRONLY), SPARSE),
        "a pipe": lambda: os.mkfifo(file),
        "a folder": file.mkdir,
        "a link to itself": lambda: file.symlink_to(file.name),
        "a link to /dev/zero": lambda: file.symlink_to("/dev/zero"),
        "a link to nothing": lambda: file.symlink_to("nothing"),
    }
    kind = rng.choice(sorted(kinds))
    kinds[kind]()
    return f"{file.name}: {kind}"


def add_file(rng: random.Random, folder: Path, mark: Path) -> str:
    """A file that transformers or sentence-transformers would read too."""
    name, content = rng.choice(
        (
            ("modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "evil.Model"}]'),
            ("adapter_config.json", '{"base_model_name_or_path": "./evil", "peft_type": "LORA", "r": 4}'),
            ("adapter_config.json", "{" * 5000),
            ("special_tokens_map.json", '{"bos_token": 7, "x": {"y": []}}'),
            ("special_tokens_map.json", "null"),
            ("added_tokens.json", '{"a": "b", "c": 99999999999}'),
            ("added_tokens.json", "[]"),
            ("chat_template.json", '{"chat_template": 7}'),
            ("chat_template.jinja", "x" * 200_000_000),
            ("vocab.json", '{"a": -1}'),
            ("merges.txt", "a\nb c d\n"),
            ("spiece.model", "\0\1\2"),
            (
                "model.safetensors.index.json",
                '{"weight_map": {"a": "../../x.safetensors", "b": "/dev/zero"}}',
            ),
            ("pytorch_model.bin.index.json", '{"weight_map": {"a": "evil.bin"}}'),
            ("config.json.py", "x"),
            ("tokenizer.py", "x"),
            ("tokenizer.5.0.json", "{"),
        )
    )
    (folder / name).write_text(content)
    return f"added {name}: {content[:60]!r}"


def settings_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def places(values: Any, path: str = "") -> list[tuple[Any, Any, str]]:
    """(holder, key, path) of every value inside."""
    keys = (
        list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    )
    found = []
    for key in keys:
        here = f"{path}/{key}"
        found.append((values, key, here))
        if here != "/model/vocab":  # else nothing but words of tokenizers would be changed
            found += places(values[key], here)
    return found


def write_json(file: Path, values: Any) -> None:
    file.write_text(json.dumps(values), "utf-8", "surrogatepass")


# -- weights -------------------------------------------------------------------------------------------


def change_numbers(rng: random.Random, folder: Path, mark: Path) -> str:
    """Weights of which some are no numbers, or beyond all bounds."""

    file, value = rng.choice(weights_of(folder)), rng.choice((float("nan"), float("inf"), -1e38, 3e38))
    weights = read(file)
    tensors = list(tensors_of(weights))
    everywhere = rng.random() < 0.5
    for tensor in tensors if everywhere else [rng.choice(tensors)]:
        if tensor.dtype.is_floating_point and tensor.numel():
            tensor.view(-1)[rng.randrange(tensor.numel())] = value
    write(file, weights)
    return f"{file.name}: {value} in {'every tensor' if everywhere else 'one place'}"


def change_tensors(rng: random.Random, folder: Path, mark: Path) -> str:
    """Tensors missing, left over, of another shape or type."""
    import torch

    file = rng.choice(weights_of(folder))
    weights = read(file)
    holder = rng.choice([part for part in (weights, *weights.values()) if is_flat(part)])
    name = rng.choice(sorted(holder))
    tensor = holder[name]
    made: dict[str, Callable[[], Any]] = {
        "missing": lambda: holder.pop(name),
        "left over": lambda: holder.update({f"{name}.more": tensor.clone()}),
        "transposed": lambda: holder.update({name: tensor.T.contiguous()}),
        "empty": lambda: holder.update({name: torch.zeros(0)}),
        "one number": lambda: holder.update({name: torch.tensor(1.0)}),
        "longer": lambda: holder.update({name: torch.cat([tensor.reshape(-1)] * 2)}),
        "whole numbers": lambda: holder.update({name: tensor.to(torch.int64)}),
        "truth values": lambda: holder.update({name: tensor.to(torch.bool)}),
        "complex numbers": lambda: holder.update({name: tensor.to(torch.complex64)}),
        "of another name": lambda: holder.update({f"a/../{name}": holder.pop(name)}),
    }
    kind = rng.choice(sorted(made))
    made[kind]()
    write(file, weights)
    return f"{file.name}: {name} {kind}"


def change_header(rng: random.Random, folder: Path, mark: Path) -> str:
    """A safetensors file whose header lies."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return change_tensors(rng, folder, mark)
    file = rng.choice(files)
    content = file.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = rng.choice([name for name in header if name != "__metadata__"])
    kind = rng.choice(("length", "spaces", "deep", "shape", "dtype", "offsets", "names", "metadata", "bomb"))
    length: int | None = None
    if kind == "length":
        length = rng.choice((2**63, 2**64 - 1, 10**9, 0, 1))
    elif kind == "shape":
        header[name]["shape"] = rng.choice(([10**12], [2**63, 2], [-1], [], ["a"], [10**6, 10**6], None))
    elif kind == "dtype":
        header[name]["dtype"] = rng.choice(("I8", "BOOL", "F4", "C64", "F8_E4M3", "x", None))
    elif kind == "offsets":
        header[name]["data_offsets"] = rng.choice(([0, 10**15], [5, 2], [-1, 4], [0], None, [0, 4]))
    elif kind == "names":
        header.update(
            {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(300_000)}
        )
    elif kind == "metadata":
        header["__metadata__"] = rng.choice(({"format": "pt", "x": "y" * 1_000_000}, {"format": "tf"}, 7, {}))
    elif kind == "bomb":
        header[name]["shape"] = [0, 10**12]
    text = json.dumps(header).encode()
    if kind == "spaces":
        text += b" " * 90_000_000
    if kind == "deep":
        text = b'{"a":' * 100_000
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return f"{file.name}: header, {kind} of {name}"


def hide_code(rng: random.Random, folder: Path, mark: Path) -> str:
    """A pickle that would run something, or ask for memory, when it is read."""
    pickles = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
    name = rng.choice(["pytorch_model.bin", "pytorch_model.bin", *(file.name for file in pickles)])
    for weights in folder.glob("model*.safetensors"):
        weights.unlink()
    file = folder / name
    import torch

    calls = (
        Payload(os.mkdir, str(mark)),
        Payload(os.system, f"touch {mark}"),
        Payload(eval, f"open({str(mark)!r}, 'w')"),
        Payload(bytearray, 5_000_000_000),
        Payload(torch.load, str(mark)),
        Payload(__import__, "evil"),
        Payload(torch.Tensor, 60_000, 60_000),
    )  # fmt: skip
    payload = rng.choice(calls)
    kind = rng.choice(("zip", "old", "plain", "squeezed", "strides"))
    if kind == "strides":
        torch.save({"a.weight": torch.zeros(1).expand(10**6, 10**6)}, file)
    elif kind == "plain":
        file.write_bytes(pickle.dumps({"a": payload}))
    elif kind == "squeezed":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("archive/data.pkl", "w", force_zip64=True) as entry:
                for _ in range(300):
                    entry.write(bytes(10_000_000))
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/byteorder", "little")
    else:
        torch.save({"a": payload}, file, _use_new_zipfile_serialization=kind == "zip")
    return f"{file.name}: {kind} pickle of {payload.call.__name__}"


def weights_of(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".safetensors", ".bin", ".pt", ".pth"))


def read(file: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    return load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)


def write(file: Path, weights: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    if file.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in weights.items()}, file)
    else:
        torch.save(weights, file)


def tensors_of(weights: dict[str, Any]) -> Iterator[Any]:
    for value in weights.values():
        yield from tensors_of(value) if isinstance(value, dict) else (value,)


def is_flat(part: Any) -> bool:
    return isinstance(part, dict) and not any(isinstance(value, dict) for value in part.values())


def flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 30)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


Change = Callable[[random.Random, Path, Path], str]
CHANGES: tuple[Change, ...] = (
    change_values, change_values, change_values, remove_keys, add_keys, add_keys, replace_file, replace_file,
    add_file, change_numbers, change_tensors, change_header, hide_code,
)  # fmt: skip


# -- one at a time -------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ends: Counter[str] = Counter()
    faults: list[str] = []
    slowest = largest = 0.0
    reasons: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = model_folders(random.Random(options.seed), Path(scratch))
        for hostile, _ in zip(folders, range(options.folders), strict=False):
            started = time.monotonic()
            end, said, peak_mb = open_apart(hostile)
            seconds = time.monotonic() - started
            slowest, largest = max(slowest, seconds), max(largest, peak_mb)
            ends[end] += 1
            reasons.append(f"{hostile.what} -> {end}: {said[-300:]}")
            if end not in ("opened", "refused") or seconds > SECONDS or peak_mb > MEMORY_MB:
                faults.append(f"{hostile.what}: {end} after {seconds:.0f} s, {peak_mb:.0f} MB: {said}")
            if os.environ.get("HOSTILE_LOG"):
                print(reasons[-1], f"{seconds:.1f} s {peak_mb:.0f} MB", file=sys.stderr, flush=True)
    figures = {
        "benchmark": "hostile_models",
        "folders": options.folders,
        **ends,
        "faults": len(faults),
        "slowest_seconds": round(slowest, 1),
        "peak_mb": round(largest),
        "what": faults[:50],
        "seed": options.seed,
    }
    print(json.dumps(figures, indent=2))
    return int(bool(faults))


def open_apart(hostile: HostileFolder) -> tuple[str, str, float]:
    """Opens a folder in a process of its own: how that ended, what it said, and its memory's peak in MB."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if child == 0:
            os._exit(_open_and_tell(hostile, told.fileno()))
        status, usage = _wait(child)
        told.seek(0)
        said = told.read().decode("utf-8", "replace").strip()
    ends = {REFUSED: "refused", OPENED: "opened", FAULT: "traceback"}
    end = ends.get(os.waitstatus_to_exitcode(status), f"status {os.waitstatus_to_exitcode(status)}")
    if hostile.mark.exists():
        end = "code ran"
        shutil.rmtree(hostile.mark, ignore_errors=True)
        hostile.mark.unlink(missing_ok=True)
    return end, said, usage


def _open_and_tell(hostile: HostileFolder, told: int) -> int:
    from virtue.errors import VirtueError

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for stream in (1, 2):
        os.dup2(told, stream)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(told, "w", closefd=False), errors="backslashreplace")
    try:
        hostile.open()
    except VirtueError as error:
        sentence = str(error)
        sys.stderr.write(sentence)
        sys.stderr.flush()
        return REFUSED if sentence.isprintable() and len(sentence) < 2000 else FAULT
    except BaseException:  # noqa: BLE001 - whatever it is, it is a fault
        traceback.print_exc()
        sys.stderr.flush()
        return FAULT
    return OPENED


def _wait(child: int) -> tuple[int, float]:
    """The status of a child, which is ended after twice the time it has, and its memory's peak in MB."""
    deadline = time.monotonic() + 2 * SECONDS
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return status, usage.ru_maxrss / 1e3
        if time.monotonic() > deadline:
            os.kill(child, 9)
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
