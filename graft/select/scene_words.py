"""The teacher's own judgement of whether a photo shows the land, by words in a file."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from graft.errors import GraftError
from graft.prompts import TextTower
from graft.words import read_class_words

SCENE = "scene"


class SceneTeacher(TextTower, Protocol):
    """A CLIP; `graft.teacher.Teacher` is one."""

    logit_scale: float


class SceneJudge:
    """Zero-shot classification of photos into a scene outdoors and reasons to leave a photo out.

    Each phrase of the file is a hypothesis. Those of the class `scene` share one half of the prior, all others the
    other half, so that the probability does not rise because the file has more phrases for one side. Within a side the
    exponentials are summed rather than the best one taken: a view that three phrases describe equally well is no less
    a scene than one that a single phrase describes.

    Attributes:
        card: `name`, `family` and `sha256` of the words.
    """

    def __init__(self, scene_prompts: str, teacher: SceneTeacher) -> None:
        """Turn words into vectors.

        Args:
            scene_prompts: a prompt set with the class `scene` and at least one other, by name or path.
            teacher: its text tower and the scale of its cosines.

        Raises:
            GraftError: no such words, or none for `scene`.
        """
        words = read_class_words(scene_prompts, teacher)
        if SCENE not in words.ids:
            raise GraftError(
                f"The photo filter {scene_prompts} has the classes {', '.join(words.ids)}; expected {SCENE!r} too."
            )
        self.card = words.card
        self._ids = words.ids
        self._vectors = words.vectors.cpu().float() * teacher.logit_scale
        self._owner = words.owner.cpu()

    def judge(self, vectors: npt.NDArray[np.float32]) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Judge photos.

        Args:
            vectors: float32 [N, D], unit length, the teacher's.

        Returns:
            kinds: N classes: `scene` where its probability is a half or more, else the other class with the best
                phrase.
            scene: float32 [N], probability of being a scene, 0..1.
        """
        logits = torch.from_numpy(vectors) @ self._vectors.T
        is_scene = self._owner == self._ids.index(SCENE)
        for_, against = logits[:, is_scene], logits[:, ~is_scene]
        odds = for_.logsumexp(1) - against.logsumexp(1) - np.log(for_.shape[1] / against.shape[1])
        best = self._owner[~is_scene][against.argmax(dim=1)]
        kinds = [
            SCENE if odd >= 0 else self._ids[other] for odd, other in zip(odds.tolist(), best.tolist(), strict=True)
        ]
        return kinds, odds.sigmoid().numpy()
