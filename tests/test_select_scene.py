from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from graft.errors import GraftError
from graft.prompts import load_prompts
from graft.select.scene_words import SceneJudge

SCENES, OTHERS = ("a forest", "a beach", "a street"), ("a meal", "a room")


class Directions:
    """A text tower that knows five things, each a direction; anything else is a sixth."""

    identity = "directions"
    logit_scale = 20.0

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        known = (*SCENES, *OTHERS)
        return torch.eye(6)[[next((k for k, word in enumerate(known) if word in text), 5) for text in texts]]


def write_words(path: Path, classes: dict[str, Sequence[str]]) -> str:
    rows = [{"id": name, "name": words[0], "synonyms": list(words[1:])} for name, words in classes.items()]
    content = {"classes": [row if row["synonyms"] else {"id": row["id"], "name": row["name"]} for row in rows]}
    path.write_text(yaml.safe_dump(content | {"families": {"ground": ["a photo of {}."]}}))
    return str(path)


def judge(path: Path, classes: dict[str, Sequence[str]], vectors: np.ndarray) -> tuple[list[str], list[float]]:
    kinds, scene = SceneJudge(write_words(path, classes), Directions()).judge(vectors.astype(np.float32))
    assert scene.dtype == np.float32
    return kinds, scene.tolist()


CLASSES = {"food": OTHERS[:1], "scene": SCENES, "indoor": OTHERS[1:]}


def test_photos_are_told_apart_and_named(tmp_path: Path) -> None:
    kinds, scene = judge(tmp_path / "words.yaml", CLASSES, np.eye(6)[:5])
    assert kinds == ["scene", "scene", "scene", "food", "indoor"]
    assert min(scene[:3]) > 0.99
    assert max(scene[3:]) < 0.01


def test_without_evidence_a_photo_is_as_likely_a_scene_as_not_whatever_the_number_of_phrases(tmp_path: Path) -> None:
    undecided = np.eye(6)[5:]
    assert judge(tmp_path / "words.yaml", CLASSES, undecided)[1] == pytest.approx([0.5])
    fewer = {"scene": SCENES[:1], "other": OTHERS}
    assert judge(tmp_path / "fewer.yaml", fewer, undecided)[1] == pytest.approx([0.5])


def test_phrases_of_a_side_add_up(tmp_path: Path) -> None:
    # Halfway between two scenes, and as near to one thing that is none.
    between = np.array([[1, 1, 0, 1, 0, 0]]) / np.sqrt(3)
    _, (scene,) = judge(tmp_path / "words.yaml", CLASSES, between)
    logit = 20 / np.sqrt(3)
    odds = (2 * np.exp(logit) + 1) / 3 / ((np.exp(logit) + 1) / 2)
    assert scene == pytest.approx(odds / (1 + odds), rel=1e-4)


def test_no_photos_are_no_judgements(tmp_path: Path) -> None:
    assert judge(tmp_path / "words.yaml", CLASSES, np.empty((0, 6))) == ([], [])


def test_words_without_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="has the classes food, indoor; expected 'scene' too"):
        SceneJudge(write_words(tmp_path / "words.yaml", {"food": OTHERS[:1], "indoor": OTHERS[1:]}), Directions())


def test_shipped_words_keep_scenes_and_name_the_rest() -> None:
    words = load_prompts("photo_filter")
    assert words.ids[0] == "scene"
    assert {"indoor", "people", "food", "screen", "animal", "close_up", "scan", "vehicle", "night"} == set(
        words.ids[1:]
    )
    assert "ground" in words.family_names
    assert SceneJudge("photo_filter", Directions()).card["name"] == "photo_filter"
