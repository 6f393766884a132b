"""What every room's tests share: the example photos, and the command line as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Read when Milvus's client is imported: else a test that starts a process with closed streams aborts.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from tests.milvus_server import SmallMilvus, running_milvus
from tests.postgres_server import Server, running_server

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def example_photos() -> Path:
    return EXAMPLES / "photos"


@pytest.fixture(scope="session")
def gable() -> Path:
    """A photo that is in no library, of a place that `example_photos` has too."""
    return EXAMPLES / "query" / "gable.jpg"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty home, standing in an empty folder, who has no text in photos read: of few small
    ones that would take longer than all else."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("VIRTUE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("VIRTUE_OCR", "false")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def virtue(home: Path) -> Run:
    """Runs `virtue` as a process of its own and gives what it printed and its exit status."""

    def run(
        *arguments: object,
        env: dict[str, str] | None = None,
        timeout: float | None = None,
        before: tuple[str, ...] = (),
    ) -> subprocess.CompletedProcess[bytes]:
        words = [os.fsencode(a) if isinstance(a, (str, bytes, Path)) else str(a) for a in arguments]
        return subprocess.run(
            [*before, sys.executable, "-m", "virtue", *words],
            capture_output=True,
            env={**os.environ, **(env or {})},
            check=False,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def demo_library(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """A library of the example photos, for tests that only read it."""
    folder = tmp_path_factory.mktemp("library") / "demo.virtue"
    subprocess.run(
        [sys.executable, "-m", "virtue", "index", example_photos, "--database", folder], check=True
    )
    return folder


@pytest.fixture
def photos(tmp_path: Path, example_photos: Path) -> Path:
    """A folder of photos of one's own, to change as one likes."""
    return Path(shutil.copytree(example_photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL of this run's own."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def milvus() -> Iterator[SmallMilvus]:
    """A small Milvus of this run's own."""
    with running_milvus() as server:
        yield server


@pytest.fixture(params=["folder", "postgres", "milvus"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where each store may keep a library."""
    if request.param == "folder":
        return tmp_path / "library"
    address: str = request.getfixturevalue("postgres").make_database()
    return address if request.param == "postgres" else request.getfixturevalue("milvus").extend(address)


@pytest.fixture
def database(postgres: Server) -> str:
    """The address of an empty database, with a password in it."""
    return postgres.make_database()


@pytest.fixture
def with_milvus(database: str, milvus: SmallMilvus) -> str:
    """The address of an empty database with its vectors in Milvus, with passwords in it."""
    return milvus.extend(database)
