"""Nothing phones home, and nothing is written outside the library but what docs/privacy.md lists."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import EXAMPLES, ROOT
from tests.embedder.towers.builders import save
from virtue.telemetry import SWITCHES

WATCHED = (sys.executable, str(ROOT / "tests" / "no_network.py"))
"""Runs what follows, and kills it when it asks for a socket."""

CI = (
    "CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS", "JENKINS_URL", "BUILDKITE",
    "CODEBUILD_BUILD_ID", "TEAMCITY_VERSION", "BITBUCKET_BUILD_NUMBER", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI",
    "APPVEYOR",
)  # fmt: skip
"""Variables of test machines, where telemetry keeps silent."""

IDLE = 13
"""Seconds from when the libraries were imported: onnxruntime 1.32 first looks up its collector after nine."""

PROGRAM = f"""
import sys, time
from virtue import Embedder, Library
import onnxruntime
end = time.monotonic() + {IDLE}
with Library(embedder=sys.argv[2]) as library:
    report = library.index(sys.argv[1])
    assert (report.indexed, report.problems) == (13, []), report
    assert library.search("a dog", top=3)
time.sleep(max(0, end - time.monotonic()))
"""

ALL_LIBRARIES = f"""
import time
import virtue
import alembic, dapple, faiss, huggingface_hub, onnxruntime, peft, pi_heif, pyarrow.parquet, safetensors
import sqlalchemy, tokenizers, torch, transformers
from hf_xet import XetConfig
from huggingface_hub import constants
assert constants.HF_HUB_DISABLE_TELEMETRY
assert dict(XetConfig().items())["telemetry.enabled"] is False
time.sleep({IDLE})
"""


def environment(place: Path, **more: str) -> dict[str, str]:
    """That of a user with an empty home at this place, who never heard of telemetry."""
    for name in ("home", "temporary", "here"):
        (place / name).mkdir(parents=True)
    unset = {*SWITCHES, *CI, *(name for name in os.environ if name.startswith(("XDG_", "VIRTUE_", "HF_")))}
    return {
        **{name: value for name, value in os.environ.items() if name not in unset},
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "temporary"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def written(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}


def test_programs_are_silent_while_they_index_search_and_idle(tmp_path: Path, example_photos: Path) -> None:
    """With the bundled model, with a larger one, and with all libraries that any extra brings; also if the
    environment would have telemetry on."""
    larger = save("clip", tmp_path / "clip")
    runs = [
        (tmp_path / "bundled", {}, [PROGRAM, example_photos, "mini"]),
        (tmp_path / "larger", dict.fromkeys(SWITCHES, "0"), [PROGRAM, example_photos, larger]),
        (tmp_path / "libraries", dict.fromkeys(SWITCHES, ""), [ALL_LIBRARIES]),
    ]
    running = [
        subprocess.Popen(
            [*WATCHED, sys.executable, "-c", *map(str, program)],
            env=environment(place, **switches),
            cwd=place / "here",
            stderr=subprocess.PIPE,
            text=True,
        )
        for place, switches, program in runs
    ]
    kept = ("home/.local/share/virtue/library/", "home/.local/state/virtue/last_search/")
    ends = [(process.communicate()[1], process.returncode) for process in running]
    assert [code for _, code in ends] == [0, 0, 0], ends
    for place, *_ in runs[:2]:
        assert [path for path in written(place) if not path.startswith(kept)] == []
    assert [
        path for path in written(tmp_path / "libraries") if not path.startswith("home/.cache/huggingface/")
    ] == []


def test_every_file_that_commands_write_is_on_the_page(tmp_path: Path, example_photos: Path) -> None:
    commands = [
        ["index", str(example_photos), "--quiet"],
        ["search", "a dog"],
        ["search", str(EXAMPLES / "query" / "gable.jpg"), "--html", "report.html"],
        ["similar"],
        ["export", "all.parquet"],
        ["import", "all.parquet", "--database", "other"],
        ["reindex", "--quiet"],
        ["forget", str(example_photos / "dog.jpg"), "--yes"],
        ["compact"],
        ["verify"],
        ["status"],
        ["models"],
        ["init"],
        ["--install-completion", "bash"],
    ]
    settings = environment(tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    for command in commands:
        done = subprocess.run(
            [*WATCHED, sys.executable, "-m", "virtue", *command],
            env=settings,
            cwd=tmp_path / "here",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), (command, done)
    listed = re.findall(r"`~/(.*?)`", (ROOT / "docs" / "privacy.md").read_text())
    listed_files = tuple(f"home/{path}" for path in listed if path != ".cache/Microsoft")
    named = ("here/report.html", "here/all.parquet", "here/other/", "here/.virtue/")
    made = written(tmp_path)
    assert {path for path in made if not path.startswith((*listed_files, *named))} == set()
    for path in (
        *named,
        "home/.local/state/virtue/last_search/",
        "home/.local/share/virtue/library/",
        "home/.bashrc",
        "home/.bash_completions/",
    ):
        assert any(file.startswith(path) for file in made), path


def test_a_library_that_was_imported_before_is_named(tmp_path: Path) -> None:
    program = (
        "import logging, sys, types; logging.basicConfig(); "
        "sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); import virtue"
    )
    for switches, warns in (({}, True), (SWITCHES, False)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(tmp_path / str(warns), **switches),
            capture_output=True,
            text=True,
            check=True,
        )
        assert ("onnxruntime was imported before virtue" in done.stderr) is warns, done.stderr


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import ctypes as c; c.CDLL(None).getaddrinfo(b'example.org', None, None, c.byref(c.c_void_p()))",
        "import subprocess, sys; child = [sys.executable, '-c', 'import socket; socket.socket()']\n"
        "sys.exit(subprocess.run(child).returncode)",
    ],
)
def test_the_watch_sees_whoever_asks_for_a_socket(attempt: str) -> None:
    done = subprocess.run([*WATCHED, sys.executable, "-c", attempt], check=False)
    assert done.returncode in (-signal.SIGSYS, 256 - signal.SIGSYS)
