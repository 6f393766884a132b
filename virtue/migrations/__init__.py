"""Alembic's scripts: how catalogues of older versions become catalogues of this one."""
