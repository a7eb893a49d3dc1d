"""graft: satellite encoders that speak CLIP, learnt from photos taken on the ground.

The library is pure PyTorch: nothing in this package imports Lightning.
"""

__version__ = "0.1.0"
