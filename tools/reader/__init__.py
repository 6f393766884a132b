"""How the reader's files are made."""
