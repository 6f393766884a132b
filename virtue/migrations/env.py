"""Alembic's entry: migrates over the connection it is handed, inside that connection's transaction."""

from alembic import context

from virtue.store.catalogue.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's tables change within a transaction as rows do: a migration happens whole or not at all.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
