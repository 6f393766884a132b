"""Scenes: pictures composed of cut-outs, of which everything is known.

Each thing in a scene has its mask, its box, a caption "object, relation to another object, scene", and nine
distractors that swap one of the three. Half of the scenes are *bound*: neither the captions nor the box alone
tell which relation is true of which pair.
"""

from virtue.training.scenes.cutout_folder import Cutout, read_cutouts
from virtue.training.scenes.generation import Scenes
from virtue.training.scenes.grounds import DrawnGround, Ground, PhotoGround, draw_grounds, read_grounds
from virtue.training.scenes.relations import RELATIONS, Relation
from virtue.training.scenes.scene import ELEMENTS, Caption, Query, Scene, SceneObject
from virtue.training.scenes.splits import split

__all__ = [
    "ELEMENTS",
    "RELATIONS",
    "Caption",
    "Cutout",
    "DrawnGround",
    "Ground",
    "PhotoGround",
    "Query",
    "Relation",
    "Scene",
    "SceneObject",
    "Scenes",
    "draw_grounds",
    "read_cutouts",
    "read_grounds",
    "split",
]
