"""The atlas: a procedural, seeded, georeferenced world that writes the raw formats a user has.

`build_world` writes scenes, geotagged photos with the truth about them, polygons, captions and benchmark folders;
`teacher.train_teacher` trains a small CLIP on the captioned ground photos alone; `controls` holds the two encoders that
see nothing but colour.
This module stays free of torch, so that the processes that paint the world start fast.
"""

from graft.atlas.sizes import DEMO, TINY, WorldSize
from graft.atlas.world import build_world

__all__ = ["DEMO", "TINY", "WorldSize", "build_world"]
