"""Where a map comes from: tags for its files, and what its scores depend on."""

import hashlib
import json

from graft.clip import identity_of
from graft.results import code_version
from graft.scene import SceneView
from graft.sliding import DenseScorer, WindowGrid


def describe(view: SceneView, scorer: DenseScorer, grid: WindowGrid, refine: str) -> dict[str, str]:
    """Tags of the maps, all beginning with GRAFT_."""
    token_m = grid.patch * view.model_gsd_m
    words = scorer.words
    return {
        "GRAFT_CLASSES": json.dumps(words.ids, ensure_ascii=False),
        "GRAFT_PROMPTS": " ".join((words.card["name"], words.card["family"])),
        "GRAFT_PROMPTS_SHA256": words.card["sha256"],
        "GRAFT_MODE": scorer.mode,
        "GRAFT_BIAS_REMOVAL": f"{scorer.bias_removal:g}",
        "GRAFT_WINDOW": str(grid.window),
        "GRAFT_STRIDE": str(grid.stride),
        "GRAFT_MODEL_GSD": f"{view.model_gsd_m:g} m",
        "GRAFT_SCENE_GSD": " x ".join(f"{side:.4g} m" for side in view.gsd_m),
        "GRAFT_CANVAS": f"{view.canvas[1]} x {view.canvas[0]}",
        "GRAFT_SENSOR": view.sensor.name,
        "GRAFT_RADIOMETRY": view.radiometry,
        "GRAFT_REFINE": refine,
        "GRAFT_CODE": code_version(),
        "GRAFT_NOTE": f"a patch token is {token_m:g} m wide: without refinement, borders are no sharper than that",
    }


def determine(view: SceneView, scorer: DenseScorer, grid: WindowGrid) -> dict[str, object]:
    """All that the scores on the token grid depend on, in plain JSON types, by names that a user knows."""
    about = view.path.stat()
    words = hashlib.sha256(scorer.words.vectors.cpu().contiguous().numpy().tobytes())
    words.update(scorer.words.owner.cpu().contiguous().numpy().tobytes())
    precision = str(next(scorer.encoder.parameters()).dtype)
    return {
        "scene": [str(view.path.resolve()), about.st_size, about.st_mtime_ns],
        "bands": list(view.bands),
        "rendering": view.radiometry,
        "canvas": list(view.canvas),
        "prompts": [*scorer.words.ids, words.hexdigest()],
        "model": identity_of(scorer.encoder),
        "precision": precision,
        "mode": scorer.mode,
        "bias removal": scorer.bias_removal,
        "window": grid.window,
        "stride": grid.stride,
        "patch": grid.patch,
    }


def title(view: SceneView, grid: WindowGrid, tags: dict[str, str]) -> tuple[str, ...]:
    """Lines above the quick-look: the scene, its size, and how the map was made."""
    sides = (view.width * view.gsd_m[0], view.height * view.gsd_m[1])
    unit, metres, digits = ("km", 1000, 2) if max(sides) >= 2000 else ("m", 1, 0 if min(sides) >= 100 else 1)
    ground = " x ".join(f"{side / metres:.{digits}f} {unit}" for side in sides)
    square = abs(view.gsd_m[0] / view.gsd_m[1] - 1) < 0.01
    pixel = " x ".join(f"{side:.3g}" for side in (view.gsd_m[:1] if square else view.gsd_m))
    token = f"{grid.patch * view.model_gsd_m:g}"
    refine = "" if tags["GRAFT_REFINE"] == "none" else f", refined: {tags['GRAFT_REFINE']}"
    return (
        view.path.name,
        f"{view.width} x {view.height} px of {pixel} m, {ground}; a patch token is {token} m wide",
        f"prompts {tags['GRAFT_PROMPTS']}; mode {tags['GRAFT_MODE']}{refine}",
    )
