"""A query -> the model -> the store -> ranked hits."""

from virtue.retrieval.arguments import parse_arguments, parse_min_score
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part, Query
from virtue.retrieval.search import search

__all__ = ["Hit", "Part", "Query", "parse_arguments", "parse_min_score", "search"]
