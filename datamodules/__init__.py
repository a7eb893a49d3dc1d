"""LightningDataModules: training pairs, and benchmarks by the shape of their task."""

from datamodules.archives import BigEarthNetV2, DeepSat, FunctionalMap
from datamodules.benchmarks import BigEarthNetFolder, ClassificationFolder, GalleryFolder
from datamodules.captions import CaptionFolder
from datamodules.index import IndexSources
from datamodules.pairs import GroundPairs
from datamodules.segmentation import (
    AtlasScenes,
    ChesapeakeScenes,
    LoveDAScenes,
    OpenEarthMapScenes,
    PairedScenes,
    PotsdamScenes,
    SatlasScenes,
    VaihingenScenes,
)
from datamodules.vqa import RSVQAFolder

__all__ = [
    "AtlasScenes",
    "BigEarthNetFolder",
    "BigEarthNetV2",
    "CaptionFolder",
    "ChesapeakeScenes",
    "ClassificationFolder",
    "DeepSat",
    "FunctionalMap",
    "GalleryFolder",
    "GroundPairs",
    "IndexSources",
    "LoveDAScenes",
    "OpenEarthMapScenes",
    "PairedScenes",
    "PotsdamScenes",
    "RSVQAFolder",
    "SatlasScenes",
    "VaihingenScenes",
]
