"""What the command line of `graft segment` becomes: numbers in range, and a scorer out of model and words."""

import torch

from graft.checkpoint import LoadedEncoder
from graft.dense import DenseMode, default_mode
from graft.device import find_device
from graft.errors import GraftError
from graft.prompts import is_text_vectors
from graft.sliding import DenseScorer
from graft.teacher import teacher_of
from graft.words import ClassWords, read_class_words


def check_range(flag: str, value: float, least: float) -> None:
    """Refuse a number that is too small."""
    if not value >= least:
        raise GraftError(f"--{flag} is {value:g}; it must be at least {least:g}.")


def band_numbers(bands: str | None) -> list[int] | None:
    """The numbers in "4,3,2"."""
    if bands is None:
        return None
    try:
        return [int(number) for number in bands.strip("[] ").split(",")]
    except ValueError:
        raise GraftError(f"--bands is {bands!r}; expected three numbers such as 4,3,2.") from None


def make_scorer(
    loaded: LoadedEncoder,
    prompts: str,
    *,
    family: str | None = None,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    mode: DenseMode | None = None,
    bias_removal: float = 0.0,
    window: int | None = None,
    precision: str = "bf16",
    device: str = "auto",
) -> DenseScorer:
    """Put a model and the words for its classes together.

    Args:
        loaded: from `graft.checkpoint.load_encoder`; its encoder is moved and cast in place.
        prompts: see `graft.words.read_class_words`.
        family: of templates.
        teacher: whose text tower reads the prompts; the one that the model was aligned to if None.
        teacher_weights: tag or file.
        mode: how patch tokens are made; see `graft.dense.default_mode`.
        bias_removal: see `graft.dense.remove_global_bias`.
        window: side of a window in pixels; the model's input size if None.
        precision: bf16 or fp32, of the weights.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        GraftError: no such device, words of another teacher, or a teacher that is not to be had.
    """
    place = find_device(device)
    words = _read_words(loaded, prompts, family, teacher, teacher_weights)
    aligned_to, dim = loaded.teacher, words.vectors.shape[-1]
    if loaded.dim != dim or (words.teacher is not None and aligned_to["identity"] != words.teacher):
        raise GraftError(
            f"The model was aligned to {aligned_to['name']} (D={loaded.dim}, {aligned_to['identity'][:12]}), but the "
            f"words come from {teacher or prompts} (D={dim}, {(words.teacher or 'unknown')[:12]}). Give the --teacher "
            "it was aligned to."
        )
    encoder = loaded.encoder.to(place, torch.bfloat16 if precision == "bf16" else torch.float32)
    side = loaded.window if window is None else window
    return DenseScorer(encoder, words, mode or default_mode(encoder), loaded.patch, side, bias_removal)


def _read_words(
    loaded: LoadedEncoder, prompts: str, family: str | None, teacher: str | None, teacher_weights: str | None
) -> ClassWords:
    if is_text_vectors(prompts):
        return read_class_words(prompts, None, family)
    return read_class_words(prompts, teacher_of(loaded, teacher, teacher_weights), family)
