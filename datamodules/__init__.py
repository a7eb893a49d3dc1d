"""LightningDataModules: training pairs, and benchmarks by the shape of their task."""

from datamodules.benchmarks import BigEarthNetFolder, ClassificationFolder
from datamodules.pairs import GroundPairs

__all__ = ["BigEarthNetFolder", "ClassificationFolder", "GroundPairs"]
