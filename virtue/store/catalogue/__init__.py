"""The catalogue: SQLite's tables, and the statements that read and write them."""
