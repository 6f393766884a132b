"""Where a library may be, and what is said where it may not."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.builders import DIM, file, filled, found, photo
from tests.store.hardship import POSIX, unwritable
from virtue.errors import DamagedError, LibraryNotFoundError, StoreError
from virtue.store import layout as names
from virtue.store import mounts, open_store

MOUNTS = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /mnt/nas rw,relatime shared:7 master:2 - nfs4 nas:/export rw
31 30 0:41 / /mnt/nas/local rw - xfs /dev/sdb rw
32 27 0:42 / /mnt/my\040share rw - cifs //server/share rw
33 27 0:43 / /mnt/covered rw - nfs nas:/old rw
34 27 0:44 / /mnt/covered rw - ext4 /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/home/me/photos", "ext4"),
        (b"/mnt/nas/photos.virtue", "nfs4"),
        (b"/mnt/nas", "nfs4"),
        (b"/mnt/nasty", "ext4"),
        (b"/mnt/nas/local/x", "xfs"),
        (b"/mnt/my share/x", "cifs"),
        (b"/mnt/covered/x", "ext4"),
    ],
)
def test_the_filesystem_of_a_path_is_that_of_its_mount(path: bytes, kind: str) -> None:
    assert mounts.filesystem_of(path, MOUNTS) == kind


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's table of mounts")
def test_a_network_mount_is_refused_unless_it_is_only_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "library").close()
    table = tmp_path / "mountinfo"
    table.write_bytes(b"30 27 0:40 / %s rw - nfs4 nas:/export rw\n" % os.fsencode(tmp_path.resolve()))
    monkeypatch.setattr(mounts, "MOUNTS", table)
    with pytest.raises(StoreError, match=r"network mount or shared folder \(nfs4\).*open it read-only"):
        open_store(tmp_path / "library")
    with pytest.raises(StoreError, match="network mount"):
        open_store(tmp_path / "new", create=True)
    with open_store(tmp_path / "library", read_only=True) as store, store.read() as snapshot:
        assert len(found(snapshot)) == 6
    (tmp_path / "library" / "catalogue.db-wal").write_bytes(b"changes")
    with pytest.raises(StoreError, match=r"changes in catalogue\.db-wal that cannot be read from here"):
        open_store(tmp_path / "library", read_only=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's table of mounts")
@pytest.mark.parametrize(
    ("kind", "is_shared"),
    [
        *((kind, True) for kind in ("virtiofs", "fuse.grpcfuse", "fakeowner", "vboxsf", "fuse.vmhgfs-fuse")),
        *((kind, True) for kind in ("prl_fs", "drvfs", "fuse.gvfsd-fuse", "fuse.sshfs", "fuse", "9p")),
        *((kind, False) for kind in ("ext4", "btrfs", "overlay", "fuseblk", "fuse.fuse-overlayfs", "tmpfs")),
    ],
)
def test_folders_that_machines_share_count_as_network_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_shared: bool
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /mnt/x rw - {kind} source rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    assert mounts.network_mount(Path("/mnt/x/library")) == (kind if is_shared else None)


def test_a_library_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFoundError, match=r"no library in .*nowhere") as caught:
        open_store(tmp_path / "nowhere")
    assert caught.value.hint == "virtue index PATH"
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(LibraryNotFoundError, match="no library"):
        open_store(tmp_path)


def test_a_file_is_no_library(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"x")
    with pytest.raises(LibraryNotFoundError, match="is a file"):
        open_store(file)
    with pytest.raises(StoreError, match="is a file"):
        open_store(file, create=True)


def test_a_library_never_moves_in_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"holiday\.jpg"):
        open_store(tmp_path, create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_making_a_library_that_was_half_made_succeeds(tmp_path: Path) -> None:
    (tmp_path / names.UNFINISHED).write_bytes(b"half")
    (tmp_path / names.LOCK).touch()
    with open_store(tmp_path, create=True) as store, store.read() as snapshot:
        assert snapshot.counts().photos == 0
    assert not (tmp_path / names.UNFINISHED).exists()


def test_making_a_library_twice_keeps_the_first(tmp_path: Path) -> None:
    filled(tmp_path / "library").close()
    with open_store(tmp_path / "library", create=True) as store, store.read() as snapshot:
        assert snapshot.counts().photos == 3


def test_any_folder_name_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "100% ?mine=#1 é \udcff"
    filled(folder).close()
    with open_store(folder) as store, store.read() as snapshot:
        assert len(found(snapshot)) == 6
    with open_store(folder, read_only=True) as store, store.read() as snapshot:
        assert len(found(snapshot)) == 6


@pytest.mark.parametrize("size", [0, 10, 1000, 100_000])
def test_a_catalogue_of_rubbish_is_told_so(tmp_path: Path, size: int) -> None:
    filled(tmp_path / "library").close()
    (tmp_path / "library" / names.CATALOGUE).write_bytes(random.Random(size).randbytes(size))
    with pytest.raises(DamagedError, match=r"catalogue .* damaged .*put catalogue\.db back from a backup"):
        open_store(tmp_path / "library")


def test_another_database_is_told_so(tmp_path: Path) -> None:
    """An empty one, one of another program, and one of another program that uses Alembic too."""
    for number, sql in enumerate(
        (
            "VACUUM",
            "CREATE TABLE photos (id)",
            "CREATE TABLE alembic_version AS SELECT '1975ea83b712' version_num",
        )
    ):
        folder = tmp_path / str(number)
        filled(folder).close()
        (folder / names.CATALOGUE).unlink()
        with closing(sqlite3.connect(folder / names.CATALOGUE)) as other, other:
            other.execute(sql)
        for read_only in (False, True):
            with pytest.raises(DamagedError, match=r"catalogue .* damaged \(it is another database\)"):
                open_store(folder, read_only=read_only)


def test_a_lost_catalogue_is_told_so(tmp_path: Path) -> None:
    filled(tmp_path / "library").close()
    (tmp_path / "library" / names.CATALOGUE).unlink()
    with pytest.raises(DamagedError, match=r"lost its catalogue\.db"):
        open_store(tmp_path / "library")


READING = """
import os, sys
import numpy as np
from virtue.store import Store, open_store
from virtue.errors import StoreError

def read(read_only):
    try:
        with open_store(sys.argv[1], read_only=read_only) as store, store.read() as snapshot:
            rows = snapshot.search("regions", np.ones((1, 8)), 50).rows
            print("found", len(snapshot.regions(rows)))
    except StoreError as error:
        print("refused:", error)

read(True)  # loads all modules, which may lie where only root can read
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
read(False)
read(True)
"""


@POSIX
def test_a_folder_without_writing_rights_is_read(tmp_path: Path) -> None:
    """In a process of its own, since whoever runs the tests may be root, whom no rights bind."""
    folder = tmp_path / "library"
    filled(folder).close()
    with unwritable(folder):
        assert _read(folder)[1:] == [
            "refused: the library … cannot be written to: open it read-only",
            "found 6",
        ]


def _read(folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", READING, folder], capture_output=True, text=True, check=True)
    return done.stdout.replace(str(folder), "…").splitlines()


@pytest.mark.skipif(os.name != "posix", reason="a folder's listing is compared")
def test_reading_only_leaves_no_trace(tmp_path: Path) -> None:
    filled(tmp_path / "library").close()
    before = sorted(path.name for path in (tmp_path / "library").iterdir())
    with open_store(tmp_path / "library", read_only=True) as store, store.read() as snapshot:
        assert len(found(snapshot)) == 6
    assert sorted(path.name for path in (tmp_path / "library").iterdir()) == before


def test_a_library_that_takes_the_place_of_another_is_not_written_to(tmp_path: Path) -> None:
    """A backup that is put back while an index run goes on: its rows must not get into the other's files."""
    folder, backup, away = tmp_path / "library", tmp_path / "backup", tmp_path / "away"
    with open_store(folder, create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        writer.commit([photo(1), photo(2)], [file("/1.jpg", 1), file("/2.jpg", 2)])
    shutil.copytree(folder, backup)
    with open_store(backup) as other, other.write("test") as writer:
        writer.commit([photo(n) for n in range(3, 9)], [file(f"/{n}.jpg", n) for n in range(3, 9)])

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".db", ".f16")}

    with open_store(folder) as store:
        with pytest.raises(StoreError, match="replaced by another"), store.write("test") as writer:
            writer.commit([photo(20)], [file("/20.jpg", 20)])
            folder.rename(away)
            backup.rename(folder)
            before = content()
            writer.commit([photo(21)], [file("/21.jpg", 21)])
        with pytest.raises(StoreError, match="replaced by another"), store.read():
            pass
        with pytest.raises(StoreError, match="replaced by another"), store.write("test"):
            pass
    assert content() == before
    for place, photos in ((folder, 8), (away, 3)):
        with open_store(place) as store, store.read() as snapshot:
            assert snapshot.faults() == []
            assert snapshot.counts().photos == photos
    with open_store(folder) as store:
        with pytest.raises(StoreError, match="not there any more"), store.write("test") as writer:
            folder.rename(backup)
            writer.commit([photo(21)], [file("/21.jpg", 21)])
        assert not folder.exists()


@pytest.mark.parametrize("batches", [1, 20])
@pytest.mark.parametrize("has_log", [False, True], ids=["settled backup", "backup with a log"])
def test_a_library_that_is_overwritten_is_not_written_to(tmp_path: Path, has_log: bool, batches: int) -> None:
    """A backup that is copied over the files while an index run goes on: SQLite's log must stay out of it."""
    folder, backup = tmp_path / "library", tmp_path / "backup"
    with open_store(folder, create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        writer.commit([photo(1), photo(2)], [file("/1.jpg", 1), file("/2.jpg", 2)])
        if has_log:
            shutil.copytree(folder, backup)
    if not has_log:
        shutil.copytree(folder, backup)
    assert (backup / f"{names.CATALOGUE}-wal").exists() == has_log
    with (
        open_store(folder) as store,
        store.read(),
        pytest.raises(StoreError, match="was overwritten"),
        store.write("test") as writer,
    ):
        for first in range(10, 10 + 20 * batches, 20):
            numbers = range(first, first + 20)
            writer.commit([photo(n) for n in numbers], [file(f"/{n}.jpg", n) for n in numbers])
        for path in backup.iterdir():
            if not path.name.startswith("writer"):
                shutil.copy2(path, folder / path.name)  # as `cp -a` does
        writer.commit([photo(900)], [file("/900.jpg", 900)])
    with open_store(folder) as store:
        assert store.verify() == []
        with store.write("test") as writer:
            writer.commit([photo(3)], [file("/3.jpg", 3)])
        with store.read() as snapshot:
            assert set(snapshot.files()) == {b"/1.jpg", b"/2.jpg", b"/3.jpg"}
        assert store.verify() == []


def test_a_catalogue_that_others_touch_or_settle_is_not_taken_for_overwritten(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        catalogue = tmp_path / "library" / names.CATALOGUE
        for number in range(30):
            writer.commit([photo(number)], [file(f"/{number}.jpg", number)])
            os.utime(catalogue)
            with closing(sqlite3.connect(catalogue)) as other:
                other.execute(f"PRAGMA wal_checkpoint({('PASSIVE', 'FULL', 'TRUNCATE')[number % 3]})")
    with open_store(tmp_path / "library") as store, store.read() as snapshot:
        assert len(snapshot.files()) == 30
        assert snapshot.faults() == []
