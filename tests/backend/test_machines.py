"""Every command and every method of `Library` on a library in PostgreSQL, with its vectors there or in
Milvus: it works, or one sentence says why not. The table is the one of docs/machines.md."""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.conftest import EXAMPLES
from tests.indexer.colours import ColourModel
from tests.milvus_server import SECRET
from tests.postgres_server import PASSWORD
from virtue import Library, Progress
from virtue.cli import app, main
from virtue.embedder import Embedder
from virtue.errors import InputError, StoreError

PHOTOS = ("cat.jpg", "dog.jpg", "street.jpg")
PICTURE = EXAMPLES / "query" / "gable.jpg"


@pytest.fixture
def three(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in PHOTOS:
        shutil.copy(EXAMPLES / "photos" / name, folder / name)
    return folder


REFUSED = {"add": InputError, "compact": StoreError}
"""Methods that a library in PostgreSQL has not; Milvus is compacted."""


@pytest.fixture(params=["postgres", "milvus"])
def address(request: pytest.FixtureRequest) -> str:
    """Of an empty database, with its vectors there or in Milvus."""
    found: str = request.getfixturevalue("database" if request.param == "postgres" else "with_milvus")
    return found


def merged(library: Library, other: Path) -> bool:
    """Whether a merge takes its one photo, and tells how far it is."""
    told: list[Progress] = []
    done = library.merge(other, progress=told.append)
    assert [(each.stage, each.what, each.done, each.total) for each in told] == [
        ("merging", f"{what} photos", count, 1) for what in ("checking", "taking") for count in (0, 1)
    ]
    return done.photos == 1


def uses(folder: Path, other: Path) -> dict[str, Callable[[Library], Any]]:
    """What is done with each public method, in an order in which each finds something."""
    return {
        "index": lambda library: library.index(folder, workers=1, ocr=False).indexed == 3,
        "join": lambda library: library.join(workers=1).indexed == 0,
        "watch": lambda library: next(library.watch(folder, workers=1)).unchanged == 3,
        "add": lambda library: library.add(PICTURE.read_bytes(), "gable"),
        "search": lambda library: len(library.search("a red thing", top=3)) == 3,
        "search_many": lambda library: len(library.search_many(["red", folder / "cat.jpg"])) == 2,
        "fits": lambda library: library.fits("width > 100") and not library.fits("rating = 5"),
        "photos": lambda library: [photo.photo_id for photo in library.photos()] == [1, 2, 3],
        "count": lambda library: library.count("path ~ *.jpg") == 3,
        "vectors": lambda library: sum(len(some.ids) for some in library.vectors("photos")) == 3,
        "annotate": lambda library: library.annotate(1, tags=["pet"], rating=5) is None,
        "similar": lambda library: library.similar() == [],
        "similar_groups": lambda library: [*library.similar_groups()] == [],
        "tune": lambda library: library.tune() == [],
        "compact": lambda library: library.compact() is not None,
        "verify": lambda library: library.verify() == [],
        "export_parquet": lambda library: library.export_parquet(other / "all.parquet").photos == 3,
        "roots_below": lambda library: library.roots_below(folder) == [bytes(folder)],
        "forget": lambda library: library.forget(folder / "dog.jpg") == 1,
        "import_parquet": lambda library: library.import_parquet(other / "all.parquet").forgotten == 1,
        "merge": lambda library: merged(library, other / "library"),
        "reindex": lambda library: library.reindex(workers=1).problems == [],
        "forget_missing": lambda library: library.forget_missing().forgotten == 0,
        "move": lambda library: folder.rename(other / "here") and library.move(folder, other / "here") == 2,
        "close": lambda library: library.close() is None,
    }


def test_every_method_works_or_is_refused_in_one_sentence(address: str, three: Path, tmp_path: Path) -> None:
    methods = {name for name, value in vars(Library).items() if inspect.isfunction(value) and name[0] != "_"}
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(EXAMPLES / "photos" / "rocket.jpg", other / "rocket.jpg")
    with Library(other / "library", embedder=Embedder(ColourModel())) as library:
        library.index(other / "rocket.jpg", workers=1, ocr=False)
    table = uses(three, other)
    has_milvus = "vectors=" in address
    assert table.keys() == methods
    with Library(address, embedder=Embedder(ColourModel())) as library:
        assert library.folder is None
        assert library.name.startswith("postgresql://tester@127.0.0.1")
        for name, use in table.items():
            if name in REFUSED and not (has_milvus and name == "compact"):
                with pytest.raises(REFUSED[name], match=r"^the library postgresql://tester@[^\n]*$"):
                    use(library)
            else:
                assert use(library), name
    with pytest.raises(StoreError, match="leave vectors_device out"):
        Library(address, vectors_device="cpu").count()


def test_every_command_works_or_is_refused_in_one_sentence(
    home: Path, address: str, three: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the bundled model. Servers are tried by the service itself; the others open no library."""
    has_milvus = "vectors=" in address
    at = ["--database", address]
    used: dict[str, tuple[list[str], int]] = {
        "index": ([str(three), "--workers", "1", *at], 0),
        "status": ([*at], 0),
        "search": (["a dog", *at], 0),
        "similar": ([*at], 1),
        "verify": ([*at], 0),
        "tune": ([*at], 0),
        "compact": ([*at], 0 if has_milvus else 2),
        "export": ([str(tmp_path / "all.parquet"), *at], 0),
        "import": ([str(tmp_path / "all.parquet"), "--database", str(tmp_path / "twin")], 0),
        "merge": ([address, "--database", str(tmp_path / "back")], 0),
        "moved": ([str(three / "cat.jpg"), str(three / "dog.jpg"), *at], 2),
        "forget": ([str(three / "cat.jpg"), *at], 0),
        "reindex": (["--workers", "1", *at], 0),
    }
    without = {"init", "models", "convert", "serve", "mcp", "train", "build", "evaluate"}
    commands = typer.main.get_command(app).commands
    assert used.keys() <= commands.keys() <= used.keys() | without
    said = {}
    for name, (arguments, status) in used.items():
        with pytest.raises(SystemExit) as ended:
            main([name, *arguments] if name != "status" else [*arguments, name])
        said[name] = "".join(capfd.readouterr())
        assert ended.value.code == status, (name, said[name])
        assert PASSWORD not in said[name] and SECRET not in said[name]
    assert "postgresql://tester@127.0.0.1" in said["status"]
    assert "dog.jpg" in said["search"].splitlines()[0]
    assert "3 photos taken" in said["merge"]
    for words, sentence in (
        (["index", "--join", "--quiet", *at], ""),
        (["index", "--join", str(three), *at], "virtue: --join does what another index has listed"),
        (["--database", str(tmp_path / "none"), "index", "--join"], "one process indexes at a time"),
        (["--database", address, "init", str(tmp_path)], "virtue: virtue init takes no --database"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == (2 if sentence else 0)
        assert sentence in "".join(capfd.readouterr())
    assert has_milvus or "needs no compacting" in said["compact"]
    with Library(tmp_path / "back") as folder, Library(address) as server:
        theirs = [hit.as_json() for hit in server.search("a dog", where="not path ~ *cat*")]
        ours = [hit.as_json() for hit in folder.search("a dog", where="not path ~ *cat*")]
        keys = ("score", "path", "box", "kind", "via")
        assert [[hit[key] for key in keys] for hit in ours] == [[hit[key] for key in keys] for hit in theirs]


def test_the_service_serves_a_library_in_postgresql(database: str, three: Path) -> None:
    from virtue.service.service import Options, Service

    with Library(database) as library:
        library.index(three, workers=1, ocr=False)
    service = Service(database, Options())
    try:
        assert service.library.name.startswith("postgresql://tester@127.0.0.1")
        assert len(service.library.search("a dog", top=2)) == 2
    finally:
        asyncio.run(service.close())
