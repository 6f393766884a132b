"""What keeps a library, as commands on real photos."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Run


def answers(virtue: Run, library: Path | str, *query: object) -> list[dict[str, object]]:
    done = virtue("search", *query, "--json", "-d", library)
    assert done.returncode == 0, done.stderr.decode()
    kept = ("rank", "score", "path", "box", "kind", "caption", "region_box")
    return [{key: json.loads(line)[key] for key in kept} for line in done.stdout.splitlines()]


def said(virtue: Run, *command: object, status: int = 0) -> str:
    done = virtue(*command)
    assert (done.returncode, done.stdout) == (status, b""), done.stderr.decode()
    lines: list[str] = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def library(tmp_path: Path, demo_library: Path) -> Path:
    return Path(shutil.copytree(demo_library, tmp_path / "library"))


def test_an_imported_library_searches_as_the_one_it_came_from(
    virtue: Run, library: Path, gable: Path, tmp_path: Path
) -> None:
    told = said(virtue, "export", "x.parquet", "-d", library)
    assert told.startswith("wrote x.parquet: ") and "left out" not in told
    assert " photos taken" in said(virtue, "import", "x.parquet", "-d", "other")
    assert " photos taken" in said(virtue, "merge", library, "-d", "third")
    for query in (
        ["a cup of espresso"],
        ["a dog", "--find", "photos"],
        ["a cat", "--find", "captions"],
        ["--box", "250,160,190,190", gable, "--top", "30", "--all-regions"],
    ):
        expected = answers(virtue, library, *query)
        assert expected
        assert answers(virtue, "other", *query) == answers(virtue, "third", *query) == expected
    assert said(virtue, "import", "x.parquet", "-d", "other").startswith("0 photos taken, ")
    assert said(virtue, "verify", "-d", "other") == "sound"
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    assert "is damaged, or not a complete export" in said(
        virtue, "import", "x.parquet", "-d", "other", status=2
    )
    assert said(virtue, "merge", "nowhere", "-d", "other", status=2).startswith("virtue: there is no library")


def test_forgotten_photos_leave_the_disk(virtue: Run, library: Path, example_photos: Path) -> None:
    assert said(virtue, "compact", "-d", library).startswith("dropped 0 of ")
    assert said(virtue, "forget", example_photos / "dog.jpg", "-d", library) == "forgot 1 file"
    before = answers(virtue, library, "a cup of espresso")
    size = (library / "regions-1.f16").stat().st_size
    told = said(virtue, "compact", "--dry-run", "-d", library).removeprefix("would drop ")
    assert not told.startswith("0 ")
    assert said(virtue, "compact", "-d", library).removeprefix("dropped ").split()[:4] == told.split()[:4]
    (rows,) = library.glob("regions-*.f16")
    assert rows.stat().st_size < size
    assert answers(virtue, library, "a cup of espresso") == before


def test_a_library_follows_its_photos(virtue: Run, photos: Path) -> None:
    assert virtue("index", photos, "-d", "lib").returncode == 0
    count = len(list(photos.glob("*.jpg")))
    photos.rename("elsewhere")
    assert said(virtue, "moved", photos, "elsewhere", "-d", "lib") == f"moved {count} files"
    report = json.loads(virtue("index", "-d", "lib", "--json").stdout)
    assert (report["unchanged"], report["problems"]) == (count, [])
    assert Path(str(answers(virtue, "lib", "a cup of espresso")[0]["path"])).exists()
    assert "there is nothing at nowhere" in said(
        virtue, "moved", "elsewhere", "nowhere", "-d", "lib", status=2
    )


def test_reindexing_says_what_it_takes(virtue: Run, library: Path, photos: Path) -> None:
    done = virtue("reindex", "-d", library, "--model", "mini")
    assert done.returncode == 0
    assert done.stderr.decode().splitlines()[0] == "all photos have vectors of this model"
    assert "is no" in said(virtue, "reindex", "-d", library, "--model", "./nothing", status=2)
