"""Libraries of strangers: which one is used unasked, and what the name of its model may bring about."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.embedder.stand_in_hub import Hub, running
from virtue.location import NAME

NOBODY = 65534
ROOTS = "/usr"
"""A folder that is root's on every system."""


@pytest.fixture
def place(tmp_path: Path, demo_library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder two above the working directory, with a library in it."""
    place = tmp_path / "place"
    (place / "a" / "b").mkdir(parents=True)
    shutil.copytree(demo_library, place / NAME)
    monkeypatch.chdir(place / "a" / "b")
    return place


def give_away(found: Path) -> int:
    """Makes a library another user's: by its owner if we may, else by a link to what is root's."""
    if os.geteuid() == 0:
        os.chown(found, NOBODY, NOBODY)
        return NOBODY
    shutil.rmtree(found)
    found.symlink_to(ROOTS)
    return 0


def said(done: object) -> str:
    text = done.stderr.decode()  # type: ignore[attr-defined]
    assert "Traceback" not in text
    assert "a mistake in virtue itself" not in text
    return text


def remember(library: Path, model: object) -> None:
    with sqlite3.connect(library / "catalogue.db") as connection:
        connection.execute("UPDATE generations SET model = ?", (model,))
    connection.close()


# -- whose library ------------------------------------------------------------------------------------------


def test_ones_own_library_is_found_from_below(virtue: Run, place: Path) -> None:
    done = virtue("search", "a boat", "-f")
    assert done.returncode == 0, said(done)


def test_anothers_library_is_named_and_not_used(virtue: Run, place: Path) -> None:
    owner = give_away(place / NAME)
    for words in (["search", "a boat"], ["status"], ["index", "."], ["forget", "--missing"]):
        done = virtue(*words)
        assert done.returncode == 2
        assert f"{place / NAME} belongs to another user (" in said(done)
        assert f"uid {owner})" in said(done)
        assert f"(type `--database {place / NAME}`)" in said(done)
        assert done.stdout == b""


@pytest.mark.parametrize("how", ["option", "environment"])
def test_anothers_library_is_used_when_it_is_named(virtue: Run, place: Path, how: str) -> None:
    """Root is also asked nothing then; an ordinary user's stand-in for it holds no library."""
    give_away(place / NAME)
    if how == "option":
        done = virtue("search", "a boat", "-f", "--database", place / NAME)
    else:
        done = virtue("search", "a boat", "-f", env={"VIRTUE_DATABASE": str(place / NAME)})
    assert "belongs to" not in said(done)
    assert done.returncode == (0 if os.geteuid() == 0 else 2)


def test_a_link_of_ones_own_to_anothers_folder_is_not_followed(virtue: Run, place: Path) -> None:
    shutil.rmtree(place / NAME)
    (place / NAME).symlink_to(ROOTS if os.geteuid() else place / "theirs")
    if os.geteuid() == 0:
        (place / "theirs").mkdir()
        os.chown(place / "theirs", NOBODY, NOBODY)
    assert "belongs to another user" in said(virtue("status"))


def test_a_link_to_ones_own_library_is_followed(virtue: Run, place: Path) -> None:
    (place / NAME).rename(place / "library")
    (place / NAME).symlink_to("library")
    done = virtue("search", "a boat", "-f")
    assert done.returncode == 0, said(done)


def test_sudo_may_use_the_folder_of_who_called_it(virtue: Run, place: Path) -> None:
    """As with git; and the variable means nothing to anybody but root."""
    owner = give_away(place / NAME)
    done = virtue("search", "a boat", "-f", env={"SUDO_UID": str(owner)})
    assert ("belongs to another user" in said(done)) == (os.geteuid() != 0)
    assert "belongs to another user" in said(virtue("status", env={"SUDO_UID": "1234567"}))
    assert "belongs to another user" in said(virtue("status", env={"SUDO_UID": "x"}))


def test_a_file_called_so_is_passed_by(virtue: Run, place: Path) -> None:
    (place / "a" / NAME).write_text("")
    assert virtue("search", "a boat", "-f").returncode == 0


# -- the name of its model ----------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with running({}) as server:
        yield server


def env_of(hub: Hub, home: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.address, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1"}


def test_no_command_downloads_the_model_that_a_library_names(
    virtue: Run, place: Path, hub: Hub, home: Path, photos: Path
) -> None:
    """Not from a folder of that name either."""
    remember(place / NAME, "someone/clip")
    folder = place / "a" / "b" / "someone" / "clip"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    for words in (["search", "a boat"], ["similar", next(photos.iterdir())], ["index", photos], ["reindex"]):
        done = virtue(*words, env=env_of(hub, home))
        assert done.returncode == 2
        assert "someone/clip is not on this machine, and is not downloaded unasked" in said(done)
        assert "(type `virtue models pull someone/clip`)" in said(done)
    assert hub.asked == []


def test_a_model_that_the_user_names_is_asked_for(
    virtue: Run, place: Path, hub: Hub, home: Path, photos: Path
) -> None:
    done = virtue(
        "index", photos, "--database", place / "new", "--model", "someone/clip", env=env_of(hub, home)
    )
    assert "there is no model called 'someone/clip' on the hub" in said(done)
    assert hub.asked != []


@pytest.mark.parametrize(
    "name",
    ["clip", "./clip", "../b/clip", "~/clip", "a/b/clip", "", ".", "a\nb/c", "mini\0", "a/b\x1b]52;c;eA==\a",
     "file:///tmp/x", "\\\\host\\share", "x" * 100_000, "//host/share\n", "mini/../clip"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(virtue: Run, place: Path, hub: Hub, home: Path, name: str) -> None:
    (place / "a" / "b" / "clip").mkdir()
    remember(place / NAME, name)
    done = virtue("search", "a boat", env=env_of(hub, home))
    assert done.returncode == 2
    (sentence,) = said(done).splitlines()
    assert "as its model, which is neither a whole path nor a name on the hub" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 400
    assert hub.asked == []


@pytest.mark.parametrize(
    "name", ["a/b@../../../../tmp/x", "a/b@/tmp/x", "a/b@v1/../../x", "mini@..", "a/b@\n"]
)
def test_a_revision_does_not_lead_out_of_the_cache(virtue: Run, place: Path, name: str) -> None:
    remember(place / NAME, name)
    done = virtue("search", "a boat")
    assert done.returncode == 2
    assert "is no revision" in said(done)
    done = virtue("index", ".", "--database", place / "new", "--model", name)
    assert "is no revision" in said(done)


def test_the_folder_of_a_model_that_is_gone_is_named(virtue: Run, place: Path, tmp_path: Path) -> None:
    remember(place / NAME, f"{tmp_path}/models/clip#roi")
    done = virtue("search", "a boat")
    assert done.returncode == 2
    assert f"the model of this library, {tmp_path}/models/clip#roi, is not there" in said(done)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("model", b"mini"),
        ("fingerprint", b"\xff"),
        ("fingerprint", "mini-0"),
        ("dim", 10**12),
        ("dim", 0),
        ("dim", -784),
        ("dim", b"\0"),
        ("dim", 384),
        ("dim", 785),
    ],
)
def test_what_a_library_says_of_its_model_is_checked(
    virtue: Run, place: Path, column: str, value: object
) -> None:
    with sqlite3.connect(place / NAME / "catalogue.db") as connection:
        connection.execute(f"UPDATE generations SET {column} = ?", (value,))
    connection.close()
    done = virtue("search", "a boat")
    assert done.returncode == 2, done.stdout
    assert len(said(done).splitlines()) == 1
    for words in (["status"], ["verify"], ["similar"], ["index"]):
        said(virtue(*words))
