"""graft: satellite encoders that speak CLIP, learnt from photos taken on the ground.

The library is pure PyTorch: nothing in this package imports Lightning.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graft.model import Model

__version__ = "0.1.0"


def load(path: str | Path, **settings: Any) -> "Model":
    """Load a model folder or a training checkpoint; see `graft.model.load_model` for the settings."""
    from graft.model import load_model

    return load_model(path, **settings)
