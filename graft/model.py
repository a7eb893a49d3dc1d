"""A trained model in three lines: `graft.load(...)`, then images and words to vectors, names and maps. Offline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from PIL import Image
from torch import Tensor

from graft.checkpoint import LoadedEncoder, load_encoder
from graft.dense import DenseMode, default_mode, dense_features
from graft.device import find_device
from graft.errors import GraftError, first_line
from graft.fit import UNREADABLE
from graft.labelmaps.pairs import RASTER_SUFFIXES, read_picture
from graft.metrics import zero_shot_scores
from graft.prompts import PLAIN_FAMILIES, ensemble
from graft.scene_scores import pixel_bands
from graft.segment.rasters import label_type
from graft.sensors import get_sensor
from graft.sliding import DenseScorer, WindowGrid, default_stride, score_array
from graft.teacher import Teacher, teacher_of
from graft.words import read_class_words

Picture: TypeAlias = str | Path | Image.Image | npt.NDArray[np.uint8] | Tensor
"""A file (a raster is rendered by the model's sensor, 8-bit pictures are taken as they are), a PIL image, uint8
[H, W, 3], or a uint8 tensor [3, H, W]; at the model's GSD."""
Pictures: TypeAlias = Picture | Sequence[Picture]
_BATCH = 64


class Model:
    """An encoder and its CLIP's text tower. Made by `graft.load`.

    Attributes:
        loaded: the encoder, and all that is known of it.
        words: the text tower.
        device: where both are.
    """

    def __init__(self, loaded: LoadedEncoder, words: Teacher, device: torch.device, dtype: torch.dtype) -> None:
        self.loaded, self.words, self.device = loaded, words.to(device), device
        self.loaded.encoder.to(device, dtype)

    @torch.inference_mode()
    def encode_image(self, images: Pictures) -> Tensor:
        """Images to unit vectors in CLIP's space.

        Args:
            images: one or several, see `Picture`; tensors and arrays may also be batches. Sizes may differ.

        Returns:
            float32 [N, D] on the CPU.

        Raises:
            GraftError: no image, or one that cannot be read or is smaller than a patch.
        """
        return torch.cat([self.loaded.encoder(batch.to(self.device)).cpu() for batch in self._batches(images)])

    @torch.inference_mode()
    def encode_patches(self, images: Pictures, mode: DenseMode | None = None) -> Tensor:
        """Patch tokens of images of one size.

        Args:
            images: see `encode_image`.
            mode: how tokens are made; trained ones at pixel level, else training-free by default.

        Returns:
            float32 [N, h, w, D] of unit length on the CPU; a remainder past whole patches is left out.

        Raises:
            GraftError: as `encode_image`, images of several sizes, or a mode that the encoder has not.
        """
        encoder = self.loaded.encoder
        chosen = mode or default_mode(encoder)
        seen = [dense_features(encoder, batch.to(self.device), chosen).tokens.cpu() for batch in self._batches(images)]
        if len({tokens.shape[1:] for tokens in seen}) > 1:
            raise GraftError("The images have several sizes, so their tokens make no array. Encode them one by one.")
        return torch.cat(seen)

    def encode_text(self, texts: str | Sequence[str]) -> Tensor:
        """Sentences to unit vectors, float32 [N, D] on the CPU."""
        return self.words.encode_text([texts] if isinstance(texts, str) else texts).cpu()

    def classify(self, images: Pictures, classes: Sequence[str], templates: Sequence[str] | None = None) -> Tensor:
        """How likely each class is, among these classes.

        Args:
            images: see `encode_image`.
            classes: two or more, in words.
            templates: sentences with `{}` for the class, e.g. "a photo of {}."; those for ground photos by default.
                Vectors of all are averaged.

        Returns:
            float32 [N, C], rows sum to 1: softmax of cosines over the temperature of the training.

        Raises:
            GraftError: fewer than two classes, or a template without `{}`.
        """
        if isinstance(classes, str) or len(classes) < 2:
            raise GraftError(f"classes is {classes!r}; expected a list of two or more, such as ['forest', 'lake'].")
        sentences = PLAIN_FAMILIES["ground"] if templates is None else tuple(templates)
        if bad := [each for each in sentences if "{}" not in each]:
            raise GraftError(f"The template {bad[0]!r} has no {{}} for the class. Write one such as 'a photo of {{}}.'")
        if not sentences:
            raise GraftError("There are no templates. Leave templates out for those of ground photos.")
        filled = [self.encode_text([each.replace("{}", name) for each in sentences]) for name in classes]
        text = torch.stack([ensemble(vectors) for vectors in filled])
        scores = zero_shot_scores(self.encode_image(images), text.float())
        return (scores * self.loaded.logit_scale).softmax(dim=-1)

    def segment(
        self, image: Picture, words: str | Sequence[str], mode: DenseMode | None = None
    ) -> tuple[npt.NDArray[np.unsignedinteger[Any]], tuple[str, ...]]:
        """The likeliest class of every pixel. For files larger than memory, borders and GeoJSON use `graft segment`.

        Args:
            image: one, see `Picture`; any size.
            words: classes in words, with synonyms as `graft segment` takes them: "building, roof; road; water".
            mode: see `encode_patches`.

        Returns:
            Class numbers uint8 [H, W] (uint16 from 256 classes on), and the names they stand for.

        Raises:
            GraftError: as `encode_image`, or fewer than two classes.
        """
        listed = words if isinstance(words, str) else "; ".join(words)
        classes = read_class_words(listed, self.words)
        encoder, patch, window = self.loaded.encoder, self.loaded.patch, self.loaded.window
        scorer = DenseScorer(encoder, classes, mode or default_mode(encoder), patch, window)
        (pixels,) = self._read(image)
        canvas = pixels.permute(1, 2, 0).numpy()
        tokens = score_array(canvas, scorer)
        grid = WindowGrid(canvas.shape[0], canvas.shape[1], window, default_stride(window, patch), patch)
        labels = np.empty(canvas.shape[:2], label_type(len(classes.ids)))
        for rows, scores in pixel_bands(tokens, grid, canvas.shape[:2]):
            labels[rows] = scores.argmax(dim=0).numpy()
        return labels, classes.ids

    def _batches(self, images: Pictures) -> list[Tensor]:
        """uint8 [n, 3, H, W] each, in the order of the images."""
        several = images if isinstance(images, Sequence) and not isinstance(images, str) else [images]
        read = [pixels for each in several for pixels in self._read(each)]
        if not read:
            raise GraftError("There are no images. Give one or more.")
        patch = self.loaded.patch
        if small := [pixels for pixels in read if min(pixels.shape[1:]) < patch]:
            height, width = small[0].shape[1:]
            raise GraftError(f"An image is {width} x {height} px, the model's patch {patch}. Give a larger image.")
        batches: list[list[Tensor]] = []
        for pixels in read:
            if not batches or len(batches[-1]) == _BATCH or batches[-1][0].shape != pixels.shape:
                batches.append([])
            batches[-1].append(pixels)
        return [torch.stack(batch) for batch in batches]

    def _read(self, image: Picture) -> list[Tensor]:
        """uint8 [3, H, W] each; several of a batch."""
        if isinstance(image, str | Path):
            return [_channels_first(self._read_file(Path(image)))]
        if isinstance(image, Image.Image):
            return [_channels_first(np.asarray(image.convert("RGB")))]
        array = isinstance(image, np.ndarray)
        channels = -1 if array else -3
        if str(image.dtype).removeprefix("torch.") != "uint8" or image.ndim not in (3, 4) or image.shape[channels] != 3:
            wanted = "[H, W, 3] or [N, H, W, 3]" if array else "[3, H, W] or [N, 3, H, W]"
            raise GraftError(
                f"An image is {image.dtype} {tuple(image.shape)}; expected uint8 {wanted}, display values 0 to 255. "
                "Render stored numbers as the model's sensor does, or give the file."
            )
        pixels = torch.from_numpy(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image.cpu()
        batch = pixels[None] if pixels.ndim == 3 else pixels
        return list(batch.permute(0, 3, 1, 2) if array else batch)

    def _read_file(self, path: Path) -> npt.NDArray[np.uint8]:
        try:
            display = path.suffix.lower() in RASTER_SUFFIXES and _eight_bits(path)
            return read_picture(path, None if display else get_sensor(self.loaded.sensor))[0]
        except UNREADABLE as error:
            raise GraftError(f"{path} cannot be read as an image: {first_line(error)}.") from error


def _eight_bits(path: Path) -> bool:
    with rasterio.open(path) as raster:
        return raster.count >= 3 and set(raster.dtypes[:3]) == {"uint8"}


def _channels_first(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def load_model(
    path: str | Path,
    *,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    teacher: str | None = None,
    teacher_weights: str | None = None,
) -> Model:
    """Load a model, without a network and without running anything stored with it.

    Args:
        path: model folder (`graft export`, `graft convert`), or a training checkpoint.
        device: auto, cpu, cuda or cuda:N.
        dtype: of the encoder's weights.
        teacher: architecture whose text tower reads words; a model folder holds its own, a checkpoint names it.
        teacher_weights: tag or file.

    Raises:
        GraftError: no such model or device, or another teacher than the model's.
    """
    place = find_device(device)
    loaded = load_encoder(Path(path))
    return Model(loaded, teacher_of(loaded, teacher, teacher_weights), place, dtype)
