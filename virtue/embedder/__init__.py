"""Pictures, prompts and texts -> unit vectors of one space. Knows no folders and no database."""

from virtue.embedder.embedder import Embedder
from virtue.embedder.families import available_models, convert, pull
from virtue.embedder.model import Find, Item, Model, Proposal, Scene

__all__ = ["Embedder", "Find", "Item", "Model", "Proposal", "Scene", "available_models", "convert", "pull"]
