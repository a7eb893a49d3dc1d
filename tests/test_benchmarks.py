"""Benchmark folders made of real files: what is found, what is refused, what is left out and said."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from torch.utils.data import DataLoader

from datamodules import BigEarthNetFolder, ClassificationFolder
from graft.errors import GraftError
from graft.fit import fit_tile
from graft.labelled import LabelledFolder, collate_labelled
from graft.patches import LabelledPatches
from graft.sensors import get_sensor

IDS = ("Forest", "River", "SeaLake")


def picture(value: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8))


@pytest.fixture
def eurosat(tmp_path: Path) -> Path:
    """Three classes of 3, 2 and 2 tiles in the EuroSAT layout; a tile's grey value is 10 * class + number."""
    for index, label in enumerate(IDS):
        folder = tmp_path / "eurosat" / "2750" / label
        folder.mkdir(parents=True)
        for number in range(1, 4 if index == 0 else 3):
            picture(100 * index + 10 * number).save(folder / f"{label}_{number}.png")
    return tmp_path / "eurosat"


@pytest.fixture
def photo_table(eurosat: Path) -> Path:
    """Two photos of Forest_1 (one upside down by EXIF), one of SeaLake_2, and one file that is no image."""
    upside_down = picture(0, (40, 20))
    upside_down.paste((255, 255, 255), (0, 0, 40, 10))
    exif = Image.Exif()
    exif[274] = 3
    upside_down.save(eurosat / "b.jpg", exif=exif, quality=95)
    picture(77, (20, 30)).save(eurosat / "a.jpg")
    (eurosat / "broken.jpg").write_bytes(b"no image")
    rows = [("Forest_1", "a.jpg"), ("Forest_1", "b.jpg"), ("SeaLake_2", "a.jpg"), ("SeaLake_2", "broken.jpg")]
    with (eurosat / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("tile", "path"), *rows])
    return eurosat / "photos.csv"


def write_patch(
    folder: Path, name: str, labels: Sequence[str], dn: Sequence[int], bands: Sequence[str] = ("B04", "B03", "B02")
) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / f"{name}_labels_metadata.json").write_text(json.dumps({"labels": list(labels)}))
    for band, value in zip(bands, dn, strict=True):
        profile = {"driver": "GTiff", "width": 12, "height": 12, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
        transform = rasterio.transform.from_origin(500000, 5000000, 10, 10)
        with rasterio.open(folder / name / f"{name}_{band}.tif", "w", transform=transform, **profile) as raster:
            raster.write(np.full((1, 12, 12), value, np.uint16))


@pytest.fixture
def bigearthnet(tmp_path: Path) -> Path:
    folder = tmp_path / "ben" / "BigEarthNet-v1.0"
    write_patch(folder, "S2A_1", ["Forest", "River"], (3000, 1800, 0))
    write_patch(folder, "S2A_2", ["SeaLake"], (600, 1200, 2400))
    write_patch(folder, "S2A_3", [], (0, 0, 9000))
    return tmp_path / "ben"


# --- pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [224, 225])
def test_padding_keeps_the_tile_in_the_middle_and_reflects_past_its_own_width(size: int) -> None:
    tile = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before = (size - 64) // 2
    padded, zeros = fit_tile(tile, "pad_reflect", size), fit_tile(tile, "pad_zero", size)
    assert padded.shape == zeros.shape == (size, size, 3)
    inside = slice(before, before + 64)
    np.testing.assert_array_equal(padded[inside, inside], tile)
    np.testing.assert_array_equal(padded[before - 5, inside], tile[5])  # the edge row itself is not repeated
    # 80 px of padding are more than the tile has: reflected a second time.
    np.testing.assert_array_equal(padded[before - 70, inside], tile[63 - (70 - 63)])
    zeros[inside, inside] = 0
    assert not zeros.any()


def test_resize_crops_the_centre_and_native_leaves_the_tile() -> None:
    tile = np.zeros((40, 80, 3), np.uint8)
    tile[:, 20:60] = 200
    assert (fit_tile(tile, "resize", 32) > 150).all()
    assert fit_tile(tile, "native", 32) is tile


# --- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "2750"])
def test_labels_follow_the_order_of_the_ids(eurosat: Path, below: str) -> None:
    dataset = LabelledFolder(eurosat / below, IDS[::-1])
    found = {name: (IDS[::-1][int(label)], int(dataset[i].tile[0, 0, 0]))
             for i, (name, label) in enumerate(zip(dataset.names, dataset.labels, strict=True))}  # fmt: skip
    assert found["River_2"] == ("River", 120)
    assert {name: label for name, (label, _) in found.items()} == {name: name.split("_")[0] for name in found}
    assert len(dataset) == 7


def test_classes_that_differ_are_listed_both_ways(eurosat: Path) -> None:
    with pytest.raises(GraftError, match=r"Missing here: Highway; unknown to the prompt set: Forest, SeaLake"):
        LabelledFolder(eurosat, ["Highway", "River"])


def test_class_in_the_file_name(tmp_path: Path) -> None:
    for name in ("airport_01", "airport_02", "footballField_7", "park10"):
        picture(1).save(tmp_path / f"{name}.jpg")
    dataset = LabelledFolder(tmp_path, ["airport", "footballField", "park"], layout="names")
    assert dataset.labels.tolist() == [0, 0, 1, 2]


def test_other_files_are_counted(eurosat: Path) -> None:
    (eurosat / "2750" / "River" / "Thumbs.db").touch()
    dataset = LabelledFolder(eurosat, IDS)
    assert (len(dataset), dataset.ignored) == (7, 1)


@pytest.mark.parametrize("lines", ["River_1.tif\nForest/Forest_3\n\n", "2750/River/River_1.jpg,x\nForest_3.png,y\n"])
def test_split_file_names_images_with_or_without_folder_and_ending(eurosat: Path, tmp_path: Path, lines: str) -> None:
    (tmp_path / "split.txt").write_text(lines)
    assert LabelledFolder(eurosat, IDS, split=tmp_path / "split.txt").names == ["Forest_3", "River_1"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("River_1\nRiver_9\n", r"names 2 images; 1 of them are not in the folder \(River_9\)"),
        ("", "names 0 images"),
        ("same\n", r"1 fit several files \(same\)"),
    ],
)
def test_split_file_that_does_not_fit(eurosat: Path, tmp_path: Path, lines: str, message: str) -> None:
    for label in IDS:
        picture(1).save(eurosat / "2750" / label / "same.png")
    (tmp_path / "split.txt").write_text(lines)
    with pytest.raises(GraftError, match=message):
        LabelledFolder(eurosat, IDS, split=tmp_path / "split.txt")


def test_absent_inputs_are_named(eurosat: Path, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"No benchmark folder at .*absent"):
        LabelledFolder(tmp_path / "absent", IDS)
    with pytest.raises(GraftError, match=r"No photo table at"):
        LabelledFolder(eurosat, IDS, photos=tmp_path / "absent.csv")
    with pytest.raises(GraftError, match=r"No split file at"):
        LabelledFolder(eurosat, IDS, split=tmp_path / "absent.txt")


def test_bad_tiles_cost_themselves_and_say_why(eurosat: Path) -> None:
    folder = eurosat / "2750" / "Forest"
    whole = (folder / "Forest_1.png").read_bytes()
    (folder / "Forest_2.png").write_bytes(whole[: len(whole) // 2])
    picture(1, (32, 32)).save(folder / "Forest_3.png")
    Image.fromarray(np.full((64, 64), 3000, np.uint16)).save(eurosat / "2750" / "River" / "River_1.png")
    dataset = LabelledFolder(eurosat, IDS)
    batch = next(iter(DataLoader(dataset, batch_size=7, collate_fn=collate_labelled)))
    assert batch.name == ("Forest_1", "River_2", "SeaLake_1", "SeaLake_2")
    assert batch.label.tolist() == [0, 1, 2, 2]
    assert batch.tile.shape == (4, 3, 64, 64)
    truncated, small, deep = batch.skipped
    assert truncated.startswith("Forest_2: ")
    assert small == "Forest_3: is 32 x 32 px, the first tile 64 x 64; use fit: resize"
    assert deep == "River_1: has pixels of mode I;16, expected 8-bit RGB"


def test_a_tile_too_large_to_pad_says_so(eurosat: Path) -> None:
    sample = LabelledFolder(eurosat, IDS, fit="pad_zero", image_size=48)[0]
    assert sample.tile is None
    assert sample.fault == "Forest_1: is 64 x 64 px, more than image_size 48; use fit: resize"


def test_a_batch_of_nothing_but_bad_tiles_is_empty(eurosat: Path) -> None:
    batch = collate_labelled([LabelledFolder(eurosat, IDS, fit="pad_zero", image_size=48)[0]])
    assert (len(batch.tile), batch.label.shape, batch.name, len(batch.skipped)) == (0, (0,), (), 1)


# --- photos ---------------------------------------------------------------------------------------


def test_photos_are_upright_square_padded_and_masked(eurosat: Path, photo_table: Path) -> None:
    dataset = LabelledFolder(eurosat, IDS, photos=photo_table, photo_size=16)
    batch = collate_labelled([dataset[i] for i in (0, 1, 6)])
    assert batch.name == ("Forest_1", "Forest_2", "SeaLake_2")
    assert batch.photo is not None
    assert batch.photo_mask is not None
    assert batch.photo.shape == (3, 2, 3, 16, 16)
    assert batch.photo_mask.tolist() == [[True, True], [False, False], [True, False]]
    assert batch.photo[0, 0].float().mean() == pytest.approx(77, abs=1)
    turned = batch.photo[0, 1].float()
    assert turned[:, :4].mean() < 20  # black above, as the camera held it
    assert turned[:, -4:].mean() > 235
    assert not batch.photo[1].any()
    assert len(batch.skipped_photos) == 1
    assert "broken.jpg" in batch.skipped_photos[0]
    assert batch.skipped == ()


def test_a_photo_table_of_other_tiles_is_refused(eurosat: Path) -> None:
    (eurosat / "photos.csv").write_text("tile,path\nElsewhere_1,a.jpg\n")
    with pytest.raises(GraftError, match=r"None of the tiles named in .*Elsewhere_1"):
        LabelledFolder(eurosat, IDS, photos=eurosat / "photos.csv")
    (eurosat / "photos.csv").write_text("name,path\nForest_1,a.jpg\n")
    with pytest.raises(GraftError, match=r"expected at least tile and path"):
        LabelledFolder(eurosat, IDS, photos=eurosat / "photos.csv")


# --- BigEarthNet ----------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "BigEarthNet-v1.0"])
def test_patches_are_rendered_by_the_sensor_row(bigearthnet: Path, below: str) -> None:
    dataset = LabelledPatches(bigearthnet / below, IDS, get_sensor("sentinel"))
    assert dataset.names == ["S2A_1", "S2A_2", "S2A_3"]
    assert dataset.labels.tolist() == [[True, True, False], [False, False, True], [False, False, False]]
    batch = collate_labelled([dataset[i] for i in range(3)])
    assert batch.label.dtype == torch.bool
    # red, green, blue of reflectance / 0.3, clamped
    assert batch.tile[:, :, 0, 0].tolist() == [[255, 153, 0], [51, 102, 204], [0, 0, 255]]


def test_unknown_labels_are_listed(bigearthnet: Path) -> None:
    with pytest.raises(GraftError, match=r"labels that are no class ids: SeaLake\. The ids are Forest, River"):
        LabelledPatches(bigearthnet, IDS[:2], get_sensor("sentinel"))


def test_bad_patches_cost_themselves(bigearthnet: Path) -> None:
    folder = bigearthnet / "BigEarthNet-v1.0"
    (folder / "S2A_1" / "S2A_1_B03.tif").unlink()
    (folder / "S2A_2" / "S2A_2_labels_metadata.json").write_text("{}")
    dataset = LabelledPatches(bigearthnet, IDS, get_sensor("sentinel"))
    batch = collate_labelled([dataset[i] for i in range(3)])
    assert batch.name == ("S2A_3",)
    assert [reason.split(":")[0] for reason in batch.skipped] == ["S2A_1", "S2A_2"]
    assert "labels cannot be read" in batch.skipped[1]


def test_split_of_patches_is_the_first_column(bigearthnet: Path, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("S2A_3,S1_3\nS2A_1,S1_1\n")
    dataset = LabelledPatches(bigearthnet, IDS, get_sensor("sentinel"), split=tmp_path / "test.csv")
    assert dataset.names == ["S2A_1", "S2A_3"]


# --- datamodules and sharing ----------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_processes_read_every_tile_once(eurosat: Path, world: int) -> None:
    dataset = LabelledFolder(eurosat, IDS)
    read = [[sample.name for sample in dataset.share(rank, world)] for rank in range(world)]
    assert sorted(name for share in read for name in share) == sorted(dataset.names)
    assert read[0][0] == dataset.names[0]


def test_more_processes_than_tiles_is_refused(eurosat: Path) -> None:
    with pytest.raises(GraftError, match=r"7 tiles cannot be shared by 8 processes"):
        LabelledFolder(eurosat, IDS).share(0, 8)


@pytest.fixture
def words(tmp_path: Path) -> str:
    classes = [{"id": label, "name": label.lower()} for label in IDS]
    (tmp_path / "three.yaml").write_text(json.dumps({"classes": classes, "families": {"ground": ["{}"]}}))
    return str(tmp_path / "three.yaml")


@pytest.mark.parametrize("workers", [0, 2])
def test_classification_folder_serves_batches_in_order(eurosat: Path, words: str, workers: int) -> None:
    data = ClassificationFolder(eurosat, words, fit="pad_reflect", image_size=96, batch_size=3, num_workers=workers)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [name for batch in batches for name in batch.name] == LabelledFolder(eurosat, IDS).names
    assert [tuple(batch.tile.shape) for batch in batches] == [(3, 3, 96, 96), (3, 3, 96, 96), (1, 3, 96, 96)]
    assert data.preprocessing == "8-bit RGB as stored, pad_reflect to 96 px"
    assert (data.classes, data.multilabel, data.has_photos) == (IDS, False, False)


def test_bigearthnet_folder_records_its_rendering(bigearthnet: Path, words: str) -> None:
    data = BigEarthNetFolder(bigearthnet, words, "sentinel", batch_size=8)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert batch.label.shape == (3, 3)
    assert data.preprocessing == f"{get_sensor('sentinel').radiometry}, native size"
    with pytest.raises(GraftError, match="Unknown sensor"):
        BigEarthNetFolder(bigearthnet, words, "sentinel-2")
