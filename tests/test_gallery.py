"""The gallery reader: mixtures, labels, photos with what they show, and tables that are wrong."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ClassificationFolder, GalleryFolder
from graft.atlas.benchmarks import PRESENT as PRESENT_IN_THE_ATLAS
from graft.errors import GraftError
from graft.gallery import PRESENT, LabelledGallery
from graft.labelled import collate_labelled
from tests.conftest import CLASSES, picture

SHARES = {"a": (0.88, 0.12, 0.0), "b": (0.0, 0.119, 0.881), "c": (0.0, 0.0, 1.0), "d": (0.5, 0.25, 0.25)}
PHOTOS = (("a", "a0", "Forest"), ("c", "c0", "Town"), ("d", "d0", "Lake"), ("a", "a1", "Lake"), ("d", "d1", "Town"))


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    root = tmp_path / "gallery"
    (root / "tiles").mkdir(parents=True)
    (root / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number, name in enumerate(SHARES):
        picture(rng, number, 16).save(root / f"tiles/{name}.png")
    for _, name, subject in PHOTOS:
        picture(rng, CLASSES.index(subject), 24).save(root / f"photos/{name}.jpg")
    backwards = [(name, *reversed(shares)) for name, shares in SHARES.items()]
    write_table(root / "mixtures.csv", ("tile", *reversed(CLASSES)), backwards)
    rows = [(tile, f"photos/{name}.jpg", subject) for tile, name, subject in PHOTOS]
    write_table(root / "photos.csv", ("tile", "path", "subject"), rows)
    return root


def test_mixtures_follow_the_classes_and_labels_are_the_classes_present(gallery: Path) -> None:
    data = LabelledGallery(gallery, CLASSES)
    assert data.names == list(SHARES)
    torch.testing.assert_close(data.mixtures, torch.tensor(list(SHARES.values())))
    assert data.labels.tolist() == [
        [True, True, False],
        [False, False, True],
        [False, False, True],
        [True, True, True],
    ]
    assert PRESENT == PRESENT_IN_THE_ATLAS


def test_each_photo_keeps_what_it_shows_when_another_cannot_be_read(gallery: Path) -> None:
    (gallery / "photos/a0.jpg").write_bytes(b"no picture")
    data = LabelledGallery(gallery, CLASSES, photos=gallery / "photos.csv", photo_size=8)
    batch = collate_labelled([data[number] for number in range(4)])
    assert batch.photo is not None
    assert batch.photo_mask is not None
    assert batch.photo_label is not None
    assert batch.photo.shape == (4, 2, 3, 8, 8)
    assert batch.photo_mask.tolist() == [[True, False], [False, False], [True, False], [True, True]]
    assert batch.photo_label.tolist() == [[1, -1], [-1, -1], [2, -1], [1, 2]]
    brightest = batch.photo.float().mean((-1, -2)).argmax(-1)
    assert brightest[batch.photo_mask].tolist() == batch.photo_label[batch.photo_mask].tolist()
    assert [fault.split(":")[0] for fault in batch.skipped_photos] == [str(gallery / "photos/a0.jpg")]


def test_a_tile_is_known_by_its_place_whoever_reads_it(gallery: Path) -> None:
    (gallery / "tiles/c.png").write_bytes(b"no picture")
    data = LabelledGallery(gallery, CLASSES)
    batches = [collate_labelled(list(data.share(rank, 2))) for rank in range(2)]
    assert [batch.index.tolist() for batch in batches if batch.index is not None] == [[0], [1, 3]]
    assert [batch.name for batch in batches] == [("a",), ("b", "d")]


def test_the_data_module_hands_over_mixtures_and_photo_labels(gallery: Path, prompts: Path, probe: Path) -> None:
    module = GalleryFolder(gallery, str(prompts), photos=gallery / "photos.csv", photo_size=8, batch_size=3)
    module.setup("test")
    assert module.mixtures is not None
    assert module.mixtures.shape == (4, 3)
    assert (module.multilabel, module.has_photos) == (True, True)
    batches = list(module.test_dataloader())
    assert [batch.index.tolist() for batch in batches] == [[0, 1, 2], [3]]
    assert all(torch.equal(module.mixtures[batch.index] >= PRESENT, batch.label) for batch in batches)
    assert batches[1].photo_label.tolist() == [[1, 2]]
    other = ClassificationFolder(probe, str(prompts))
    other.setup("test")
    assert other.mixtures is None
    assert next(iter(other.test_dataloader())).photo_label is None


def test_without_photos_there_are_none(gallery: Path, prompts: Path) -> None:
    (gallery / "photos.csv").unlink()
    module = GalleryFolder(gallery, str(prompts))
    module.setup("test")
    batch = next(iter(module.test_dataloader()))
    assert not module.has_photos
    assert batch.photo is batch.photo_label is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("b", "0.5", "x", "0"), "line 3: expected a tile that no other line has and a share 0..1"),
        (("b", "0.5", "1.2", "0"), "line 3: expected"),
        (("b", "0.5", "nan", "0"), "line 3: expected"),
        (("b", "0.5"), "line 3: expected"),
        (("a", "0.5", "0.5", "0"), "line 3: expected"),
        (("e", "0.5", "0.5", "0"), r"4 images, mixtures.csv has 4 rows; expected one .* \(.*: b, e\)"),
    ],
)
def test_a_wrong_table_of_mixtures_is_named(gallery: Path, row: tuple[str, ...], message: str) -> None:
    rows = [("a", 1, 0, 0), row, ("c", 1, 0, 0), ("d", 1, 0, 0)]
    write_table(gallery / "mixtures.csv", ("tile", *CLASSES), rows)
    with pytest.raises(GraftError, match=message):
        LabelledGallery(gallery, CLASSES)


def test_other_classes_and_missing_tables_are_named(gallery: Path) -> None:
    with pytest.raises(GraftError, match="expected tile and the classes Forest, Lake, Sea"):
        LabelledGallery(gallery, ("Forest", "Lake", "Sea"))
    with pytest.raises(GraftError, match="No benchmark folder"):
        LabelledGallery(gallery / "nowhere", CLASSES)
    write_table(gallery / "photos.csv", ("tile", "path", "subject"), [("a", "photos/a0.jpg", "indoor")])
    with pytest.raises(GraftError, match="line 2: the subject is 'indoor'; expected one of the classes Forest"):
        LabelledGallery(gallery, CLASSES, photos=gallery / "photos.csv")
    (gallery / "mixtures.csv").unlink()
    with pytest.raises(GraftError, match="No table of mixtures"):
        LabelledGallery(gallery, CLASSES)


def test_two_pictures_of_one_tile_are_refused(gallery: Path) -> None:
    Image.new("RGB", (16, 16)).save(gallery / "tiles/a.jpg")
    with pytest.raises(GraftError, match="5 images, mixtures.csv has 4 rows"):
        LabelledGallery(gallery, CLASSES)
