"""Refinement: borders move to edges of the image, and nothing else happens."""

import builtins
import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from graft.errors import GraftError
from graft.refine import Refiner, make_refiner
from graft.refine.sam import SamMasks, best_patches, load_predictor

PATCH = 16.0
CHEAP = ("guided", "regions")


def refiner(name: Any, **options: Any) -> Refiner:
    made = make_refiner(name, patch_px=PATCH, **options)
    assert made is not None
    return made


def step(offset: int, side: int = 256) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture of two colours with noise, and scores whose border is `offset` pixels too far to the right."""
    rng = np.random.default_rng(0)
    image = np.where(np.arange(side)[None, :, None] < side // 2, 90, 150) + rng.normal(0, 12, (side, side, 3))
    left = np.broadcast_to(np.arange(side) < side // 2 + offset, (side, side))
    scores = np.stack([left, ~left]).astype(np.float32) * 0.06 + 0.2
    return scores, image.clip(0, 255).astype(np.uint8), np.ones((side, side), bool)


def step_iou(scores: NDArray[np.float32]) -> float:
    """Mean IoU with the picture's own border."""
    truth = np.broadcast_to(np.arange(scores.shape[2]) >= scores.shape[2] // 2, scores.shape[1:])
    found = scores.argmax(0) == 1
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in ((truth, found), (~truth, ~found))]))


def textured(side: int = 200) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    image = np.kron(rng.integers(0, 255, (10, 10, 3)), np.ones((20, 20, 1))) + rng.normal(0, 5, (side, side, 3))
    return rng.normal(0.2, 0.05, (3, side, side)).astype(np.float32), image.clip(0, 255).astype(np.uint8)


# --- what refinement is for -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "gain"), [("guided", 0.008), ("regions", 0.008)])
def test_a_border_half_a_patch_off_moves_to_the_edge(name: str, gain: float) -> None:
    scores, image, valid = step(offset=8)
    raw = step_iou(scores)
    assert raw == pytest.approx(0.94, abs=0.005)
    assert step_iou(refiner(name)(scores, image, valid)) > raw + gain


def test_guided_leaves_a_border_where_it_is_in_a_picture_without_edges() -> None:
    scores, _, valid = step(offset=0)
    refined = refiner("guided")(scores, np.full((256, 256, 3), 90, np.uint8), valid)
    assert step_iou(refined) > 0.98


# --- what refinement must not do ------------------------------------------------------------------


@pytest.mark.parametrize("name", CHEAP)
def test_constant_scores_stay_constant(name: str) -> None:
    _, image = textured()
    scores = np.broadcast_to(np.array([0.21, 0.3, -0.1], np.float32)[:, None, None], (3, 200, 200)).copy()
    gap = np.ones((200, 200), bool)
    gap[3:193, 50:150] = False
    for valid in (np.ones_like(gap), gap):
        refined = refiner(name)(scores, image, valid)
        assert refined.dtype == np.float32
        np.testing.assert_allclose(refined, scores, atol=1e-6)


@pytest.mark.parametrize("name", CHEAP)
def test_the_input_is_left_alone_and_the_result_is_finite(name: str) -> None:
    scores, image = textured()
    before = scores.copy()
    refined = refiner(name)(scores, image, np.ones((200, 200), bool))
    np.testing.assert_array_equal(scores, before)
    assert refined.shape == scores.shape
    assert np.isfinite(refined).all()
    assert not np.array_equal(refined, scores)


@pytest.mark.parametrize("name", CHEAP)
def test_pixels_without_data_do_not_leak(name: str) -> None:
    scores, image = textured()
    valid = np.ones((200, 200), bool)
    valid[:, 90:140] = False
    valid[30:50, 10:30] = False
    other_scores, other_image = scores.copy(), image.copy()
    other_scores[:, ~valid], other_image[~valid] = 1e3, 255
    refined = refiner(name)(scores, image, valid)
    np.testing.assert_array_equal(refined[:, valid], refiner(name)(other_scores, other_image, valid)[:, valid])
    np.testing.assert_array_equal(refined[:, ~valid], scores[:, ~valid])
    assert np.abs(refined[:, valid]).max() < 0.6


@pytest.mark.parametrize("name", CHEAP)
@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (16, 16)])
def test_tiny_blocks_and_blocks_without_data_pass(name: str, shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    image = np.random.default_rng(1).integers(0, 255, (*shape, 3)).astype(np.uint8)
    assert np.isfinite(refiner(name)(scores, image, np.ones(shape, bool))).all()
    nothing = np.full((2, *shape), np.nan, np.float32)
    assert np.isnan(refiner(name)(nothing, image, np.zeros(shape, bool))).all()


def test_guided_block_by_block_with_its_halo_equals_the_whole() -> None:
    scores, image = textured()
    valid = np.ones((200, 200), bool)
    valid[60:75, 20:120] = False
    whole, made = refiner("guided")(scores, image, valid), refiner("guided")
    assert made.halo == 32
    parts = np.empty_like(whole)
    for top in range(0, 200, 80):
        for left in range(0, 200, 80):
            rows = slice(max(top - made.halo, 0), min(top + 80 + made.halo, 200))
            columns = slice(max(left - made.halo, 0), min(left + 80 + made.halo, 200))
            block = made(scores[:, rows, columns], image[rows, columns], valid[rows, columns])
            y, x = top - rows.start, left - columns.start
            parts[:, top : top + 80, left : left + 80] = block[:, y : y + 80, x : x + 80]
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_a_region_takes_the_mean_of_its_scores() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    scores = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    refined = refiner("regions")(scores, image, np.ones((64, 64), bool))
    for half in (np.s_[:, :, :32], np.s_[:, :, 32:]):
        mean = scores[half].mean(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(refined[half], np.broadcast_to(mean, refined[half].shape), atol=1e-5)


# --- points and masks of SAM ----------------------------------------------------------------------


class Disks:
    """Stands for SAM: three disks round the point, of which the middle one is predicted to fit best."""

    def __init__(self, radius: int = 20) -> None:
        self.radius, self.points, self.images = radius, [], []

    def set_image(self, image: NDArray[np.uint8]) -> None:
        self.images.append(image)

    def predict(self, point_coords: NDArray[np.float64], point_labels: NDArray[np.int64]) -> tuple[Any, Any, Any]:
        assert point_labels.tolist() == [1]
        (x, y) = point_coords[0]
        self.points.append((x, y))
        rows, columns = np.indices(self.images[-1].shape[:2])
        distance = np.hypot(rows - y, columns - x)
        masks = np.stack([distance < r for r in (4, self.radius, 500)])
        return masks, np.array([0.2, 0.9, 0.5], np.float32), None


def peaked() -> NDArray[np.float32]:
    """128 px: class 0 everywhere at 0.1, class 1 leads round (40, 24) with 0.5, class 2 round (88, 72) with 0.8."""
    scores = np.zeros((3, 128, 128), np.float32)
    scores[0] = 0.1
    rows, columns = np.indices((128, 128))
    scores[1] = 0.5 * np.exp(-((rows - 40) ** 2 + (columns - 24) ** 2) / 200)
    scores[2] = 0.8 * np.exp(-((rows - 88) ** 2 + (columns - 72) ** 2) / 200)
    return scores


def test_best_patches_are_the_peaks_where_the_class_leads() -> None:
    prompts = best_patches(peaked(), np.ones((128, 128), bool), PATCH, 8)
    assert [(p.row, p.column, p.score) for p in prompts if p.label == 1] == [(40, 24, 0.5)]
    assert [(p.row, p.column) for p in prompts if p.label == 2] == [(88, 72)]
    background = [(p.row, p.column) for p in prompts if p.label == 0]
    assert 1 < len(background) <= 8
    apart = [max(abs(a - c), abs(b - d)) for a, b in background for c, d in background if (a, b) != (c, d)]
    assert min(apart) >= 2 * PATCH


def test_the_best_patches_come_first_and_no_more_than_asked() -> None:
    scores = np.zeros((2, 160, 160), np.float32)
    for number, (row, column) in enumerate(((24, 24), (24, 120), (120, 24), (120, 120))):
        scores[1, row - 8 : row + 8, column - 8 : column + 8] = 0.1 * (number + 1)
    found = [p for p in best_patches(scores, np.ones((160, 160), bool), PATCH, 2) if p.label == 1]
    assert [(p.row, p.column) for p in found] == [(120, 120), (120, 24)]


def test_a_patch_without_data_is_no_prompt() -> None:
    valid = np.ones((128, 128), bool)
    valid[80:96, 64:80] = False
    assert all((p.row, p.column) != (88, 72) for p in best_patches(peaked(), valid, PATCH, 8))
    made = SamMasks(Disks(), PATCH)
    np.testing.assert_array_equal(made(peaked(), np.zeros((128, 128, 3), np.uint8), np.zeros_like(valid)), peaked())


def test_a_mask_takes_the_scores_of_its_patch_and_other_pixels_keep_theirs() -> None:
    scores, disks = peaked(), Disks()
    scores[0] = -1.0
    scores[1, :64], scores[2, 64:] = scores[1, :64] + 0.01, scores[2, 64:] + 0.01
    refined = SamMasks(disks, PATCH, prompts_per_class=1)(
        scores, np.zeros((128, 128, 3), np.uint8), np.ones((128, 128), bool)
    )
    assert sorted(disks.points) == [(24.5, 40.5), (72.5, 88.5)]
    assert len(disks.images) == 1
    rows, columns = np.indices((128, 128))
    for y, x in ((40, 24), (88, 72)):
        inside = np.hypot(rows - y - 0.5, columns - x - 0.5) < 20
        np.testing.assert_array_equal(refined[:, inside], np.repeat(scores[:, y, x, None], inside.sum(), axis=1))
        scores[:, inside] = refined[:, inside]
    np.testing.assert_array_equal(refined, scores)


def test_where_masks_overlap_the_better_score_wins() -> None:
    refined = SamMasks(Disks(60), PATCH, 1)(peaked(), np.zeros((128, 128, 3), np.uint8), np.ones((128, 128), bool))
    assert refined[:, 64, 48].argmax() == 2
    assert refined[:, 36, 20].argmax() == 1


def test_masks_leave_pixels_without_data_alone() -> None:
    valid = np.ones((128, 128), bool)
    valid[88:, 44:70] = False
    image = np.full((128, 128, 3), 50, np.uint8)
    image[~valid] = 0
    disks = Disks()
    refined = SamMasks(disks, PATCH)(peaked(), image, valid)
    np.testing.assert_array_equal(refined[:, ~valid], peaked()[:, ~valid])
    assert (disks.images[0] == 50).all()


def test_masks_of_a_small_sam_label_a_picture() -> None:
    predictor = small_sam()
    scores, image = textured()
    refined = SamMasks(predictor, 50.0)(scores, image, np.ones((200, 200), bool))
    assert refined.shape == scores.shape
    assert np.isfinite(refined).all()


def small_sam() -> Any:
    from segment_anything import SamPredictor
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=32, num_heads=2)
    return SamPredictor(
        Sam(
            ImageEncoderViT(img_size=64, patch_size=16, embed_dim=32, depth=1, num_heads=2, out_chans=32),
            PromptEncoder(embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4),
            MaskDecoder(transformer_dim=32, transformer=transformer),
        ).eval()
    )


# --- faults ---------------------------------------------------------------------------------------


class Payload:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return builtins.print, ("ran",)


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": Payload()}, protocol=2))


def write_tensors(path: Path, **shapes: tuple[int, ...]) -> None:
    torch.save({name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}, path)


FIRST = {"image_encoder__pos_embed": (1, 64, 64, 768), "image_encoder__patch_embed__proj__weight": (768, 3, 16, 16)}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "No SAM checkpoint at"),
        (lambda path: path.write_bytes(b"not a checkpoint"), "not a checkpoint that loads safely"),
        (write_pickle, "not a checkpoint that loads safely"),
        (lambda path: torch.save([1, 2], path), "holds no weights of Segment Anything"),
        (lambda path: torch.save({"state_dict": {"a": torch.zeros(2)}}, path), "holds no weights of Segment Anything"),
        (partial(write_tensors, **(FIRST | {"image_encoder__pos_embed": (1, 14, 14, 768)})), "holds no weights"),
        (partial(write_tensors, **FIRST), "do not fit SAM's vit_b"),
    ],
    ids=["absent", "bytes", "code", "list", "nested", "shapes", "incomplete"],
)
def test_a_file_that_is_no_sam_is_told_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "sam.pth"
    write(path)
    with pytest.raises(GraftError, match=message) as fault:
        make_refiner("sam", patch_px=PATCH, sam_checkpoint=path)
    assert "\n" not in str(fault.value)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "module", "package", "extra"),
    [("regions", "skimage", "scikit-image", "refine"), ("sam", "segment_anything", "segment-anything", "sam")],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: Any, module: str, package: str, extra: str
) -> None:
    for loaded in [key for key in sys.modules if key.split(".")[0] == module] + [f"graft.refine.{name}"]:
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    for absent in (module, f"{module}.segmentation"):
        monkeypatch.setitem(sys.modules, absent, None)
    checkpoint = tmp_path / "sam.pth" if name == "sam" else None
    with pytest.raises(GraftError, match=rf'{name} needs {package}: pip install "graft\[{extra}\]"'):
        make_refiner(name, patch_px=PATCH, sam_checkpoint=checkpoint)


def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    assert make_refiner("none", patch_px=PATCH) is None
    with pytest.raises(GraftError, match="needs Segment Anything's weights.*--sam-checkpoint"):
        make_refiner("sam", patch_px=PATCH)
    with pytest.raises(GraftError, match="has no use for it"):
        make_refiner("guided", patch_px=PATCH, sam_checkpoint=tmp_path)
    with pytest.raises(GraftError, match="No refinement 'crf'; there is: none, guided, regions, sam"):
        refiner("crf")


@pytest.mark.slow
def test_a_checkpoint_of_the_real_format_runs(tmp_path: Path) -> None:
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save(sam_model_registry["vit_b"](checkpoint=None).state_dict(), path)
    scores, image, valid = step(offset=8)
    refined = refiner("sam", sam_checkpoint=path)(scores, image, valid)
    assert refined.shape == (2, 256, 256)
    assert np.isfinite(refined).all()
    loaded = load_predictor(path).model.state_dict()
    written = torch.load(path, weights_only=True)
    assert all(torch.equal(loaded[key], value) for key, value in written.items())


@pytest.mark.parametrize("name", CHEAP)
def test_context_stays_bounded_however_wide_a_patch_is(name: Any) -> None:
    narrow, wide = (make_refiner(name, patch_px=side) for side in (16, 5000))
    assert narrow is not None
    assert wide is not None
    assert narrow.halo < wide.halo <= 256
