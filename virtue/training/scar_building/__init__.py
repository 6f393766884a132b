"""Files of SCaR's form (VIRTUE, arXiv 2510.00523): regions, each with ten captions the first of them true."""

from virtue.training.scar_building.annotated_things import Thing, read_things
from virtue.training.scar_building.building_run import BuiltFile, build_scar
from virtue.training.scar_building.elements import Elements
from virtue.training.scar_building.llm_swapper import LlmSwapper, describe_cost
from virtue.training.scar_building.rule_swapper import RuleSwapper
from virtue.training.scar_building.scar_rows import ScarRow, is_scar, write_scar
from virtue.training.scar_building.scene_files import SceneFiles, write_scenes

__all__ = [
    "BuiltFile",
    "Elements",
    "LlmSwapper",
    "RuleSwapper",
    "ScarRow",
    "SceneFiles",
    "Thing",
    "build_scar",
    "describe_cost",
    "is_scar",
    "read_things",
    "write_scar",
    "write_scenes",
]
