"""Brings an old catalogue up to date. Only imported for one: Alembic takes its time to load."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from virtue.store import layout as names
from virtue.store.catalogue import database


def upgrade(folder: Path, revision: str = "head") -> None:
    """Migrates the catalogue in one transaction, after a copy of it was made beside it. The writer's
    lock must be held."""
    path = folder / names.CATALOGUE
    with database.translate_errors(folder):
        back_up(path, folder / names.BACKUP)
        engine = database.engine(path)
        try:
            with engine.begin() as connection:
                config = Config()
                config.set_main_option("script_location", "virtue:migrations")
                config.attributes["connection"] = connection
                try:
                    command.upgrade(config, revision)
                except DBAPIError as error:
                    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_ERROR:
                        raise
                    raise database.damaged(
                        folder, f"it has not the form of its schema: {error.orig}"
                    ) from error
                if revision == "head":
                    database.require_form(database.driver_of(connection), folder)
        finally:
            engine.dispose()


def back_up(path: Path, copy: Path) -> None:
    """Copies the catalogue, with what is in its write-ahead log."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
