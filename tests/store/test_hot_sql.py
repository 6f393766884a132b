"""The SQL that searches run is what SQLAlchemy makes of the statements."""

from __future__ import annotations

from tools.generate_sql import FILE, hot_sql


def test_the_committed_text_is_what_is_generated() -> None:
    assert FILE.read_text(encoding="utf-8") == hot_sql(), "run `python -m tools.generate_sql`"
