"""Pictures -> the lines of text that can be read in them. Knows no folder, no database and no embeddings."""

from virtue.reader.reader import Line, Reader

__all__ = ["Line", "Reader"]
