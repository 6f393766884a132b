"""Whether a database has the form of a catalogue: nothing in it that SQLite would run by itself.

A library may come from a stranger. A view or a generated column in the place of a table's own, or a trigger,
would run what the stranger wrote whenever the catalogue is read or written.
"""

from __future__ import annotations

import sqlite3

from virtue.store.catalogue import hot_sql

TOKEN_TABLES = {
    name: f"CREATE VIRTUAL TABLE {name} USING fts5(tokens, tokenize = 'ascii', detail = none, columnsize = 0)"
    for name in ("caption_tokens", "name_tokens")
}
"""The only virtual tables, by name (see token_tables.py). FTS5 keeps each in tables of its own."""
FTS5_TABLES = ("config", "content", "data", "idx")
"""The ends of their names."""

_PROGRAMS = (
    "SELECT type, name, sql FROM sqlite_master "
    "WHERE type NOT IN ('table', 'index') OR coalesce(rootpage, 0) = 0"
)
"""Views, triggers and virtual tables."""
_COLUMNS = (
    'SELECT t.name, c.name, c.type, c."notnull", c.hidden FROM sqlite_master t, pragma_table_xinfo(t.name) c '
    "WHERE t.type = 'table' AND t.rootpage > 0 AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)


def find_stranger(connection: sqlite3.Connection, *, is_current: bool) -> str | None:
    """Returns what does not belong into a catalogue; None: nothing.

    Args:
        is_current: its schema is the newest, so all columns are known.
    """
    virtual = set()
    for type, name, sql in connection.execute(_PROGRAMS):
        if sql != TOKEN_TABLES.get(name):
            return f"it has the {type} {name!r}"
        virtual.add(name)
    found, tables = set(), virtual
    for table, column, type, not_null, hidden in connection.execute(_COLUMNS):
        if hidden:
            return f"its column {table}.{column} is computed"
        tables.add(table)
        found.add(f"{table}.{column} {type}{' NOT NULL' * not_null}")
    if is_current and not found >= hot_sql.COLUMNS:
        return f"it lacks the column {min(hot_sql.COLUMNS - found)}"
    expected = {*TOKEN_TABLES, *(f"{name}_{end}" for name in TOKEN_TABLES for end in FTS5_TABLES)}
    if is_current and not tables >= expected:
        return f"it lacks the table {min(expected - tables)}"
    return None
