"""Thin LightningModules and callbacks: training and the evaluations."""

from lightning_modules.alignment import GraftAlignment
from lightning_modules.callbacks import LastCheckpoint, Throughput, TrainingCurves
from lightning_modules.classification import ZeroShotClassification
from lightning_modules.index import IndexEncoder
from lightning_modules.index_writer import IndexWriter
from lightning_modules.retrieval import CaptionRetrieval, ZeroShotRetrieval
from lightning_modules.segmentation import ZeroShotSegmentation
from lightning_modules.vqa import ZeroShotVQA

__all__ = [
    "CaptionRetrieval",
    "GraftAlignment",
    "IndexEncoder",
    "IndexWriter",
    "LastCheckpoint",
    "Throughput",
    "TrainingCurves",
    "ZeroShotClassification",
    "ZeroShotRetrieval",
    "ZeroShotSegmentation",
    "ZeroShotVQA",
]
