"""Thin LightningModules and callbacks: training and the evaluations."""

from lightning_modules.alignment import GraftAlignment
from lightning_modules.callbacks import LastCheckpoint, Throughput, TrainingCurves
from lightning_modules.classification import ZeroShotClassification
from lightning_modules.segmentation import ZeroShotSegmentation

__all__ = [
    "GraftAlignment",
    "LastCheckpoint",
    "Throughput",
    "TrainingCurves",
    "ZeroShotClassification",
    "ZeroShotSegmentation",
]
