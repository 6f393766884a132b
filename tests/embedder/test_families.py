"""Names of models: the bundled one, folders, and the hub, which is a real server that may misbehave."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.embedder.stand_in_hub import COMMIT, Hub, running
from tests.embedder.test_reference import REFERENCE
from tests.embedder.towers.builders import save
from tests.embedder.virtue_model.checkpoints import published_folder
from virtue.embedder import families
from virtue.embedder.families import available_models, load_model
from virtue.embedder.model_names import ModelName
from virtue.errors import ModelError

NAME = "someone/small-clip"
Program = Callable[..., "subprocess.CompletedProcess[str]"]

LOAD = """
from virtue.embedder import Embedder
embedder = Embedder.from_pretrained({name!r}, {more})
print(embedder.name, embedder.fingerprint, embedder.encode("a cat").shape)
"""
PULL = """
from virtue.embedder.families import pull
print(pull({name!r}))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the hub keeps one: other formats beside what is needed."""
    folder = save("clip", tmp_path_factory.mktemp("hub") / "clip")
    (folder / "flax_model.msgpack").write_bytes(b"x" * 1000)
    (folder / "pytorch_model.bin").write_bytes(b"x" * 1000)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def hub(model: Path) -> Iterator[Hub]:
    with running({NAME: model}) as server:
        yield server


@pytest.fixture
def python(hub: Hub, home: Path) -> Program:
    """Runs a program of a user whose hub is `hub` and whose cache is empty at first."""

    def run(program: str, **env: str) -> subprocess.CompletedProcess[str]:
        known = {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
            **env,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        words = [sys.executable, "-c", program]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=clean | known)

    return run


def error(done: "subprocess.CompletedProcess[str]") -> str:
    """The sentence that a program ended with."""
    assert done.returncode == 1, done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("virtue.errors.ModelError: "), done.stderr
    assert "During handling" not in done.stderr
    return last.removeprefix("virtue.errors.ModelError: ")


# -- the hub ----------------------------------------------------------------------------------------------


def test_pull_says_size_and_licence_and_takes_what_is_needed(python, hub, model):
    done = python(PULL.format(name=NAME))
    assert done.returncode == 0, done.stderr
    said, folder = done.stdout.splitlines()
    needed = [file for file in model.iterdir() if file.suffix in (".json", ".safetensors")]
    size = sum(file.stat().st_size for file in needed) / 1e6
    assert said == f"{NAME}: {size:.0f} MB in {len(needed)} files, licence: cc-by-nc-4.0"
    assert sorted(file.name for file in Path(folder).iterdir()) == sorted(file.name for file in needed)
    assert not [line for line in hub.asked if "msgpack" in line or ".bin" in line or "onnx" in line]


def test_nothing_phones_home_when_the_files_are_there(python, hub, model):
    assert python(PULL.format(name=NAME)).returncode == 0
    hub.asked.clear()
    pinned = LOAD.format(name=f"{NAME}@{COMMIT}#roi", more="offline=True")
    done = python(LOAD.format(name=NAME, more="") + pinned)
    assert hub.asked == [], done.stderr
    first, second = (line.split() for line in done.stdout.splitlines())
    assert first[:2] == [NAME, load_model(model).fingerprint]
    assert second[0] == f"{NAME}@{COMMIT}#roi"


@pytest.mark.parametrize(
    ("mood", "sentence"),
    [
        (404, f"there is no model called '{NAME}' on the hub, or it is private"),
        (401, f"there is no model called '{NAME}' on the hub, or it is private"),
        (403, f"access to {NAME} is restricted: accept its terms"),
        (503, f"the hub answered 503 when asked for {NAME}: try again later"),
        ("hang up", f"the hub cannot be reached for {NAME}"),
    ],
)
def test_a_hub_that_misbehaves_gives_one_sentence(python, hub, mood, sentence):
    hub.mood = mood
    assert error(python(PULL.format(name=NAME))).startswith(sentence)


def test_a_download_that_breaks_off_is_taken_up_again(python, hub):
    hub.mood = "half"
    assert error(python(PULL.format(name=NAME), HF_HUB_DOWNLOAD_TIMEOUT="2")).startswith("the hub cannot be")
    hub.mood = "well"
    hub.asked.clear()
    # What is there in half counts as not there: the rest is fetched when the model is first used.
    done = python(LOAD.format(name=NAME, more="revision='main'"))
    assert done.stdout.split()[0] == f"{NAME}@main", done.stderr
    assert any("model.safetensors" in line for line in hub.asked)


BREAK_AT_EACH = """
import os, shutil, sys
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen
from virtue.embedder import hub
from virtue.embedder.families import pull
from virtue.errors import ModelError

def mood(words):
    urlopen(os.environ["HF_ENDPOINT"] + "/mood/" + quote(words)).read()

for file in sys.argv[2:]:
    mood("without " + file)
    try:
        pull(sys.argv[1], note=lambda line: None)
    except ModelError:
        pass
    else:
        print(file, "was not missed")
    if hub.find_cached(sys.argv[1]):
        print("without", file, "it is called complete")
    mood("well")
    folder = hub.get_folder(sys.argv[1])
    here = sorted(each.name for each in Path(folder).iterdir())
    if here != sorted(sys.argv[2:]) or hub.find_cached(sys.argv[1]) != Path(folder):
        print("after", file, "there are", here)
    shutil.rmtree(Path(os.environ["HF_HOME"], "hub"))
print("done")
"""


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("clip", "safetensors"),
        ("siglip", "bin"),
        ("siglip2", "shards of safetensors"),
        ("clip", "shards of bin"),
        ("virtue", "bin"),
        ("virtue", "shards of bin"),
    ],
)
def test_a_download_may_break_off_at_any_file(kind: str, weights: str, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    if kind == "virtue":
        published_folder(REFERENCE, folder)
    else:
        save(kind, folder)
    store_weights_as(weights, folder)
    files = sorted(file.name for file in folder.iterdir())
    with running({NAME: folder}) as server:
        known = {"HF_ENDPOINT": server.address, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1"}
        known["HF_HUB_DOWNLOAD_TIMEOUT"] = "2"
        done = subprocess.run(
            [sys.executable, "-c", BREAK_AT_EACH, NAME, *files],
            capture_output=True, text=True, check=False, env=os.environ | known,
        )  # fmt: skip
    assert done.stdout == "done\n", done.stderr[-2000:]


def store_weights_as(form: str, folder: Path) -> None:
    """Turns the one file of weights into what the form says. Nothing loads them."""
    (one,) = [*folder.glob("model.safetensors"), *folder.glob("pytorch_model.bin")]
    stem, suffix = ("model", ".safetensors") if "safetensors" in form else ("pytorch_model", ".bin")
    if not form.startswith("shards"):
        one.rename(folder / f"{stem}{suffix}")
        return
    shards = [f"{stem}-0000{number}-of-00002{suffix}" for number in (1, 2)]
    for shard in shards:
        (folder / shard).write_bytes(one.read_bytes()[:1000] + shard.encode())
    one.unlink()
    index = {"weight_map": {str(number): shard for number, shard in enumerate(shards)}}
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index))


def test_an_unknown_revision_is_named(python):
    assert error(python(PULL.format(name=f"{NAME}@v9"))).startswith(f"{NAME} has no revision 'v9'")


def test_offline_asks_nobody(python, hub):
    for more, env in (("offline=True", {}), ("", {"HF_HUB_OFFLINE": "1"})):
        said = error(python(LOAD.format(name=NAME, more=more), **env))
        assert said.startswith(f"{NAME} is not on this machine, and is not downloaded unasked")
    assert "HF_HUB_OFFLINE is set" in error(python(PULL.format(name=NAME), HF_HUB_OFFLINE="1"))
    assert hub.asked == []


def test_without_torch_it_says_what_to_install(python, hub):
    blocked = "import sys; sys.modules['torch'] = None\n"
    done = python(blocked + LOAD.format(name=NAME, more=""))
    assert error(done) == f"{NAME} needs torch, which is not installed: pip install 'virtue-search[torch]'"
    assert hub.asked == []


# -- names ------------------------------------------------------------------------------------------------


def test_a_name_is_taken_apart_and_put_together(tmp_path):
    for text in ("mini", "a/b", "a/b@v1", "a/b#crop", "a/b@v1#crop"):
        assert str(ModelName.parse(text)) == text
    assert str(ModelName.parse("a/b", revision="v2")) == "a/b@v2"
    odd = tmp_path / "a@b#c"
    odd.mkdir()
    assert ModelName.parse(str(odd)) == ModelName(str(odd), is_folder=True)
    assert str(ModelName.parse(f"{odd}#roi")) == f"{odd}#roi"
    with pytest.raises(ModelError, match="give one"):
        ModelName.parse("a/b@v1", revision="v2")


def test_what_is_no_model_is_named(tmp_path):
    for name in ("maxi", "a b/c", "https://example.org/x"):
        with pytest.raises(ModelError, match="there is no model called"):
            load_model(name)
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="is a 'bert' model: virtue knows clip, siglip, siglip2, VIRTUE"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path)


def test_a_family_is_one_more_object(tmp_path, monkeypatch):
    class Bert:
        models, variants, can_compile = "bert", (), False

        def accepts(self, folder, config):
            return config["model_type"] == "bert"

        def load(self, folder, name, options):
            return (folder, str(name), options.device)

    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, Bert()))
    assert load_model(tmp_path, device="cpu") == (tmp_path, str(tmp_path), "cpu")
    with pytest.raises(ModelError, match="compile=True is for VIRTUE alone"):
        load_model(tmp_path, device="cpu", compile=True)
    with pytest.raises(ModelError, match="#roi is not for this model; leave it out"):
        load_model(f"{tmp_path}#roi", device="cpu")


def test_loading_a_model_is_logged(caplog, model):
    with caplog.at_level("INFO", logger="virtue"):
        load_model("mini")
        load_model(model, device="cpu")
    mini, clip = caplog.messages
    assert re.fullmatch(r"model mini loaded on cpu in \d+\.\d\d s", mini)
    assert re.fullmatch(rf"model {re.escape(str(model))} loaded on cpu, fp32 in \d+\.\d\d s", clip)


def test_the_bundled_model_has_no_variants():
    for name in ("mini#crop", "mini@v1"):
        with pytest.raises(ModelError, match="no revisions and no variants"):
            load_model(name)
    with pytest.raises(ModelError, match="runs on the CPU alone"):
        load_model("mini", device="cuda")


def test_known_models_are_listed_with_size_and_licence(python):
    listed = {model["name"]: model for model in available_models()}
    assert (listed["mini"]["dim"], listed["mini"]["licence"], listed["mini"]["installed"]) == (
        784,
        "Apache-2.0",
        True,
    )
    assert "NC" in listed["Sony/VIRTUE-2B-SCaR"]["licence"]
    assert all(model["size"] > 1e6 and model["dim"] > 0 for model in listed.values())
    program = "import json; from virtue.embedder.families import *; print(json.dumps(available_models()))"
    told = json.loads(python(program).stdout)
    assert [model["name"] for model in told if model["installed"]] == ["mini"]
