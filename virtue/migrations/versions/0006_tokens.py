"""The tokens of captions and names, by which words are found letter for letter."""

from alembic import op

from virtue.store.catalogue import literals

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    literals.rebuild(op.get_bind())
