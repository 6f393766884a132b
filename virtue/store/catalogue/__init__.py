"""The catalogue: SQLite's tables, what is asked of them and what is written to them."""
