"""Thin LightningModules and callbacks: training and the evaluations."""

from lightning_modules.alignment import GraftAlignment
from lightning_modules.callbacks import LastCheckpoint, Throughput, TrainingCurves
from lightning_modules.classification import ZeroShotClassification
from lightning_modules.retrieval import CaptionRetrieval, ZeroShotRetrieval
from lightning_modules.segmentation import ZeroShotSegmentation

__all__ = [
    "CaptionRetrieval",
    "GraftAlignment",
    "LastCheckpoint",
    "Throughput",
    "TrainingCurves",
    "ZeroShotClassification",
    "ZeroShotRetrieval",
    "ZeroShotSegmentation",
]
