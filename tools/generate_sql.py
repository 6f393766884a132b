"""Writes virtue/store/catalogue/hot_sql.py from statements.py beside it: `python -m tools.generate_sql`."""

from __future__ import annotations

from pathlib import Path

from virtue.store.catalogue import statements

FILE = Path(statements.__file__).with_name("hot_sql.py")
HEAD = '''"""The SQL of searches, generated from statements.py by `python -m tools.generate_sql`."""
'''


def hot_sql() -> str:
    """The text of the module."""
    parts = [f'{name} = """\n{statements.as_sqlite(made)}\n"""' for name, made in statements.HOT.items()]
    columns = "".join(f'        "{column}",\n' for column in statements.columns())
    parts.append(f"COLUMNS = frozenset(\n    (\n{columns}    )\n)")
    lines = [line.rstrip() for line in "\n".join([HEAD, *parts]).splitlines()]
    return "# ruff: noqa: E501\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(hot_sql(), encoding="utf-8")
