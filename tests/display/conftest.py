"""The libraries of painted photos that the tests of retrieval use too."""

from tests.retrieval.conftest import embedder, fill

__all__ = ["embedder", "fill"]
