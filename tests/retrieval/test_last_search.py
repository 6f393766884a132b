"""`--like @2`: the second hit of the last search of this user in this library."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import Run


def search(virtue: Run, *words: object) -> list[dict[str, object]]:
    done = virtue("search", *words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def refusal(virtue: Run, *words: object) -> str:
    done = virtue("search", *words)
    assert done.returncode == 2
    return done.stderr.decode().removeprefix("virtue: ").strip()


def test_like_a_hit_of_the_last_search(virtue: Run, home: Path, demo_library: Path) -> None:
    there = ("--database", demo_library)
    first = search(virtue, "dog", "-n", 3, *there)
    by_id = search(virtue, "--like", first[1]["region_id"], "--unlike", first[2]["region_id"], *there)
    search(virtue, "dog", "-n", 3, *there)
    assert search(virtue, "--like", "@2", "--unlike", "@3", *there) == by_id
    second_page = search(virtue, "dog", "-n", 2, "--offset", 2, *there)
    assert refusal(virtue, "--like", "@1", *there) == (
        "your last search had no hit @1: it had the hits @3 to @4"
    )
    like_third = search(virtue, "--like", "@3", *there)
    assert like_third == search(virtue, "--like", second_page[0]["region_id"], *there)
    photos = search(virtue, "dog", "--find", "photos", *there)
    assert photos[0]["photo_id"] not in {hit["photo_id"] for hit in search(virtue, "--like", "@1", *there)}


def test_no_words_are_kept_and_nothing_by_read_only(virtue: Run, home: Path, demo_library: Path) -> None:
    there = ("--database", demo_library)
    search(virtue, "dog", "--read-only", *there)
    assert refusal(virtue, "--like", "@1", *there).startswith(
        "@1 is a hit of your last search of this library"
    )
    assert not (home / ".local" / "state").exists()
    search(virtue, "marmalade", *there)
    (kept,) = (home / ".local" / "state" / "virtue" / "last_search").iterdir()
    assert set(json.loads(kept.read_text())) == {"first", "hits"}
    assert "marmalade" not in kept.read_text()
    kept.write_text('{"first": 1, "hits": [{"text": "marmalade"}]}')
    assert "none is known: search it first" in refusal(virtue, "--like", "@1", *there)


def test_another_library_is_another_search(
    virtue: Run, home: Path, demo_library: Path, example_photos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(demo_library, other)
    search(virtue, "dog", "--database", demo_library)
    assert "none is known: search it first" in refusal(virtue, "--like", "@1", "--database", other)
    search(virtue, "dog", "--database", other)
    assert search(virtue, "--like", "@1", "--database", other)
    shutil.rmtree(other)
    for name in ("rocket.jpg", "street.jpg"):  # another library in its place, with the same ids
        shutil.copy(example_photos / name, tmp_path)
    assert virtue("index", tmp_path / "rocket.jpg", tmp_path / "street.jpg", "-d", other).returncode == 0
    assert "@1 of your last search is no longer in this library" in refusal(
        virtue, "--like", "@1", "--database", other
    )


def test_a_home_that_cannot_be_written_to_is_no_reason_to_fail(
    virtue: Run, home: Path, demo_library: Path
) -> None:
    (home / ".local").write_text("a file")
    assert search(virtue, "dog", "--database", demo_library)
    assert "none is known" in refusal(virtue, "--like", "@1", "--database", demo_library)
