"""Libraries in PostgreSQL with pgvector: catalogue and vectors in one transaction, many writers at once."""
