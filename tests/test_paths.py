"""Paths: which lies below which, and how they are shown."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtue.paths import absolute, is_below, is_below_any, printable

PATHS = st.lists(st.sampled_from([b"a", b"ab", b"b", b"a b"]), max_size=4).map(
    lambda names: b"/" + b"/".join(names)
)


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        (b"/a", b"/a", True),
        (b"/a/b", b"/a", True),
        (b"/ab", b"/a", False),
        (b"/a", b"/a/b", False),
        (b"/a", b"/", True),
        (b"/", b"/", True),
        (b"/a/b", b"/a/", True),
        (b"/caf\xe9/x", b"/caf\xe9", True),
    ],
)
def test_a_path_lies_below_a_folder(path: bytes, folder: bytes, expected: bool) -> None:
    assert is_below(path, folder) is expected


@given(PATHS, st.sets(PATHS, max_size=4))
def test_below_any_is_below_one_of_them(path: bytes, folders: set[bytes]) -> None:
    assert is_below_any(path, folders) == any(is_below(path, folder) for folder in folders)


def test_a_path_is_shown_whatever_its_bytes_are() -> None:
    raw = b"/caf\xe9.png"
    assert printable(raw) == printable(os.fsdecode(raw)) == "/caf\\xe9.png"
    assert printable("/caf\u00e9.png") == "/caf\u00e9.png"
    assert printable("\ud800") == "\\ud800"


def test_absolute_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert absolute("link/../link/x") == os.fsencode(tmp_path / "link" / "x")
    assert absolute(b"caf\xe9") == os.fsencode(tmp_path) + b"/caf\xe9"
