from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from graft.prepare import looks
from graft.teacher import Teacher


def picture(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (size[1], size[0], 1))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def bits_apart(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


@pytest.mark.parametrize("size", [(640, 480), (2000, 1500)])
def test_a_large_photo_is_decoded_small_and_seen_as_if_whole(
    size: tuple[int, int], tmp_path: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(size).save(tmp_path / "photo.jpg", quality=92)
    small = looks._see(str(tmp_path / "photo.jpg"), teacher, None, 90)
    drafted: list[object] = []
    monkeypatch.setattr(Image.Image, "draft", lambda *asked: drafted.append(asked))
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *asked: drafted.append(asked))
    whole = looks._see(str(tmp_path / "photo.jpg"), teacher, None, 90)
    assert drafted
    assert small.pixels is not None
    assert whole.pixels is not None
    assert not torch.equal(small.pixels, whole.pixels), "it was decoded small"
    one, other = teacher.encode_image(torch.stack([small.pixels, whole.pixels]))
    assert float(one @ other) > 1 - 1e-3
    assert bits_apart(small.phash, whole.phash) <= 4
    assert small.colour == pytest.approx(whole.colour, abs=0.01)
    assert (small.width, small.height) == size


def test_width_and_height_are_those_of_the_upright_photo(tmp_path: Path, teacher: Teacher) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture((640, 480)).save(tmp_path / "photo.jpg", exif=exif)
    seen = looks._see(str(tmp_path / "photo.jpg"), teacher, None, 90)
    assert (seen.width, seen.height) == (480, 640)
