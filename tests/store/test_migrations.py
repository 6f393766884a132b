"""The catalogue's schema and its versions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.store.builders import LATER, as_of, filled, found
from virtue.errors import SchemaError
from virtue.store import layout as names
from virtue.store import open_store
from virtue.store.catalogue import database, form


def _schema(folder: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(folder / names.CATALOGUE)) as plain:
        made = plain.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master")
        # A column that is added later stands on the line of the one before.
        return sorted((*words, " ".join(sql.split())) for *words, sql in made)


KEPT = ("alembic_version",)
SHADOWS = tuple(f"{table}_" for table in form.TOKEN_TABLES)
"""FTS5's own tables, which go with those that they belong to."""


def _unmake(folder: Path) -> None:
    """Turns a library into what Alembic takes for one before the first revision."""
    with closing(sqlite3.connect(folder / names.CATALOGUE)) as plain, plain:
        for kind, name, _, _ in _schema(folder):
            if kind == "table" and name not in KEPT and not name.startswith(("sqlite_", *SHADOWS)):
                plain.execute(f"DROP TABLE {name}")
        plain.execute("DELETE FROM alembic_version")


def test_migrating_from_nothing_makes_what_a_new_library_has(tmp_path: Path) -> None:
    filled(tmp_path / "library").close()
    expected = _schema(tmp_path / "library")
    _unmake(tmp_path / "library")
    open_store(tmp_path / "library").close()
    assert _schema(tmp_path / "library") == expected


@pytest.mark.parametrize("revision", LATER)
def test_every_released_schema_is_brought_up_to_date_with_its_data(tmp_path: Path, revision: str) -> None:
    with filled(tmp_path / "library") as store, store.read() as snapshot:
        before = found(snapshot), snapshot.files(), snapshot.counts().captions
    expected = _schema(tmp_path / "library")
    as_of(revision, tmp_path / "library")
    with open_store(tmp_path / "library") as store:
        with store.read() as snapshot:
            assert (found(snapshot), snapshot.files(), snapshot.counts().captions) == before
        assert store.verify() == []
    assert sorted(_schema(tmp_path / "library")) == sorted(expected)


def test_the_released_schemas_are_all_tested() -> None:
    assert [f"{number:04}" for number in range(1, int(database.SCHEMA))] == list(LATER)


def test_the_newest_revision_is_the_one_the_code_knows() -> None:
    config = Config()
    config.set_main_option("script_location", "virtue:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == database.SCHEMA


def test_an_old_catalogue_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    filled(tmp_path / "library").close()
    _unmake(tmp_path / "library")
    with closing(sqlite3.connect(tmp_path / "library" / names.CATALOGUE)) as plain, plain:
        plain.execute("CREATE TABLE treasure (text)")
        plain.execute("INSERT INTO treasure VALUES ('gold')")
    with pytest.raises(SchemaError, match=r"older virtue.*open it once for writing"):
        open_store(tmp_path / "library", read_only=True)
    open_store(tmp_path / "library").close()
    with closing(sqlite3.connect(tmp_path / "library" / names.BACKUP)) as copy:
        assert copy.execute("SELECT text FROM treasure").fetchall() == [("gold",)]
        assert copy.execute("SELECT count(*) FROM alembic_version").fetchone() == (0,)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "library").close()
    _unmake(tmp_path / "library")
    with closing(sqlite3.connect(tmp_path / "library" / names.CATALOGUE)) as plain, plain:
        plain.execute("CREATE TABLE regions (mine)")
    before = _schema(tmp_path / "library")
    with pytest.raises(Exception, match="regions already exists"):
        open_store(tmp_path / "library")
    assert _schema(tmp_path / "library") == before


def test_a_newer_catalogue_is_refused_politely(tmp_path: Path) -> None:
    filled(tmp_path / "library").close()
    with closing(sqlite3.connect(tmp_path / "library" / names.CATALOGUE)) as plain, plain:
        plain.execute("UPDATE alembic_version SET version_num = '9999'")
    for read_only in (False, True):
        with pytest.raises(SchemaError, match=r"newer virtue .*9999.*upgrade"):
            open_store(tmp_path / "library", read_only=read_only)


def test_a_new_library_needs_no_migration(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store, store.read() as snapshot:
        assert len(found(snapshot)) == 6
    assert not (tmp_path / "library" / names.BACKUP).exists()
