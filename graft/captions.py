"""Captioned images in the layout of RSICD, RSITMD and UCM captions, as a map-style dataset.

One JSON file: `images` is a list of `filename`, `split` and `sentences`, each with the sentence as `raw`.
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graft.errors import GraftError
from graft.fit import Fit, read_rgb
from graft.labelled import LabelledTiles
from graft.prompts import digest, read_utf8
from graft.tally import Tally


class CaptionedImages(LabelledTiles):
    """Images with sentences; the label of an image is its number.

    Attributes:
        captions: N tuples of at least one sentence, spaces folded.
        left_out: images and sentences that were passed over, by reason.
    """

    captions: tuple[tuple[str, ...], ...]

    def __init__(
        self, root: Path, captions: Path, *, split: str | None, fit: Fit = "native", image_size: int = 224
    ) -> None:
        """Read the captions; nothing is decoded yet but the first image's size.

        Args:
            root: folder that the file names are relative to.
            captions: JSON file, see the top of this module.
            split: name of the split as the file has it; None takes all images.
            fit: see `fit_tile`.
            image_size: see `fit_tile`.

        Raises:
            GraftError: no such folder or file, a file of another form, or no image with a caption in the split.
        """
        super().__init__(root, fit=fit, image_size=image_size, photos=None, photo_size=image_size)
        self.left_out = Tally()
        images = _read_images(captions)
        splits = sorted({str(image.get("split")) for image in images})
        chosen = [image for image in images if split is None or image.get("split") == split]
        if not chosen:
            raise GraftError(
                f"{captions} has no image of the split {split!r}; it has: {', '.join(splits) or 'no image'}. "
                "Change data.init_args.split."
            )
        described = [(image["filename"], self._sentences(image)) for image in chosen]
        described = [(name, sentences) for name, sentences in described if sentences]
        if not described:
            raise GraftError(f"No image of {captions} has a sentence. Get the file again.")
        self.names = [name for name, _ in described]
        self.captions = tuple(sentences for _, sentences in described)
        self.labels = torch.arange(len(self.names))
        self._root = root
        self._check_photos(None)

    def _sentences(self, image: dict[str, Any]) -> tuple[str, ...]:
        found = [" ".join(sentence["raw"].split()) for sentence in image["sentences"]]
        kept = tuple(sentence for sentence in found if sentence)
        self.left_out.add("sentences without a word", image["filename"], len(found) - len(kept))
        self.left_out.add("images without a sentence", image["filename"], int(not kept))
        return kept

    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        return read_rgb(self._root / self.names[index])


def _read_images(path: Path) -> list[dict[str, Any]]:
    """The entries of a caption file, their form checked."""
    if not path.is_file():
        raise GraftError(f"No caption file at {path}. Change data.init_args.captions.")
    try:
        images = json.loads(read_utf8(path))["images"]
    except (ValueError, KeyError, TypeError) as error:
        raise GraftError(
            f"{path} holds no captions ({error!r}); expected JSON with a list 'images'. Get it again."
        ) from error
    for number, image in enumerate(images if isinstance(images, list) else [images]):
        if fault := _fault(image):
            raise GraftError(
                f"{path}, images[{number}]: {fault}; expected 'filename' inside the image folder and 'sentences', a "
                "list of objects with the text 'raw'. Get the file again, or mend the entry."
            )
    return list(images)


def _fault(image: object) -> str:
    """What breaks the form of an entry; "" where nothing does."""
    if not isinstance(image, dict):
        return "no object"
    name, sentences = image.get("filename"), image.get("sentences")
    if not isinstance(name, str) or not name.strip():
        return f"the file name is {name!r}"
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return f"the file name {name!r} leads out of the folder"
    if not isinstance(sentences, list):
        return f"the sentences are {type(sentences).__name__}"
    if not all(isinstance(sentence, dict) and isinstance(sentence.get("raw"), str) for sentence in sentences):
        return "a sentence has no text 'raw'"
    return ""


def flatten_captions(captions: Sequence[Sequence[str]]) -> tuple[list[str], Tensor, Tensor]:
    """Every caption once, and who it belongs to.

    Args:
        captions: the sentences of each of N images.

    Returns:
        U different sentences in order of appearance; int64 [Q], the sentence of each of the Q captions; int64 [Q], the
        image of each.
    """
    number: dict[str, int] = {}
    for group in captions:
        for sentence in group:
            number.setdefault(sentence, len(number))
    sentence_of = [number[sentence] for group in captions for sentence in group]
    owner_of = [owner for owner, group in enumerate(captions) for _ in group]
    return list(number), torch.tensor(sentence_of), torch.tensor(owner_of)


def caption_card(name: str, captions: Sequence[Sequence[str]]) -> dict[str, str]:
    """`name`, `family` and `sha256` of captions, as recorded in a result row."""
    return {"name": name, "family": "captions", "sha256": digest([list(group) for group in captions])}
