"""Scenes with a label for each pixel: the layouts of benchmarks, and one dataset for all of them."""

from graft.labelmaps.pairs import PairedFiles, ScenePair, folder_pairs
from graft.labelmaps.profiles import LabelProfile, load_profile, profile_names
from graft.labelmaps.scenes import LabelledScene, LabelledScenes, Layout, SceneSample, StoredScene

__all__ = [
    "LabelProfile",
    "LabelledScene",
    "LabelledScenes",
    "Layout",
    "PairedFiles",
    "ScenePair",
    "SceneSample",
    "StoredScene",
    "folder_pairs",
    "load_profile",
    "profile_names",
]
