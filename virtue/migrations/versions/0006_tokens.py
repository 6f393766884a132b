"""The tokens of captions and names, by which words are found letter for letter."""

from alembic import op

from virtue.store.catalogue import token_tables

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    token_tables.rebuild(op.get_bind())
