"""Benchmarks in their published layouts: order of labels and bands, groups of classes, and faults."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image
from scipy.io import savemat

from datamodules import BigEarthNetV2, ClassificationFolder, DeepSat, FunctionalMap
from graft.bigearthnet import GROUPS, LabelledPatchesV2, parents
from graft.catalogue import benchmarks
from graft.deepsat import LabelledArrays
from graft.errors import GraftError
from graft.fmow import LabelledCrops, square_around
from graft.labelled import LabelledFolder
from graft.patches import LabelledPatches
from graft.prompts import class_ids
from graft.sensors import get_sensor

SENTINEL = get_sensor("sentinel")
SAT6 = ["building", "barren land", "trees", "grassland", "road", "water"]


def write_bands(path: Path, bands: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    settings = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    with rasterio.open(path, "w", **settings) as raster:
        raster.write(bands)


def colour(*values: int, side: int = 8) -> Image.Image:
    return Image.new("RGB", (side, side), values)


# SAT-4 and SAT-6


def deepsat(count: int = 7, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    tiles = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 4), dtype=np.uint8)
    return tiles, np.eye(classes, dtype=np.uint8)[np.arange(count) % classes]


def test_the_matlab_file(tmp_path: Path) -> None:
    tiles, labels = deepsat()
    savemat(tmp_path / "sat-6-full.mat", {"test_x": tiles.transpose(1, 2, 3, 0), "test_y": labels.T, "annotations": 0})
    data = LabelledArrays(tmp_path, SAT6, fit="native")
    assert len(data) == 7
    for number in range(7):
        sample = data[number]
        assert sample.tile is not None
        assert np.array_equal(sample.tile.permute(1, 2, 0).numpy(), tiles[number, :, :, :3])
        assert int(sample.label) == number % 6
    assert class_ids("sat6") == tuple(SAT6)
    assert class_ids("sat4") == ("barren land", "trees", "grassland", "none")


def test_the_csv_files_are_the_matlab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, labels = deepsat(classes=4)
    monkeypatch.setattr("graft.deepsat._CHUNK", 3)
    np.savetxt(tmp_path / "X_test_sat4.csv", tiles.reshape(7, -1), fmt="%d", delimiter=",")
    np.savetxt(tmp_path / "y_test_sat4.csv", labels, fmt="%d", delimiter=",")
    data = LabelledArrays(tmp_path, class_ids("sat4"), fit="pad_reflect", image_size=64)
    sample = data[5]
    assert sample.tile is not None
    assert np.array_equal(sample.tile[:, 18:46, 18:46].permute(1, 2, 0).numpy(), tiles[5, :, :, :3])
    assert sample.tile.shape == (3, 64, 64)
    assert [int(label) for label in data.labels] == [0, 1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("absent", "expected one of them"),
        ("classes", "Change data.init_args.classes"),
        ("matlab", "cannot be read as SAT-4"),
        ("shape", "expected uint8"),
        ("labels", "lies there without its labels"),
        ("rows", "more tiles than the 6 labels"),
    ],
)
def test_faults_of_deepsat(tmp_path: Path, spoil: str, told: str) -> None:
    tiles, labels = deepsat()
    if spoil == "matlab":
        (tmp_path / "sat-6-full.mat").write_bytes(b"x" * 200)
    elif spoil in ("classes", "shape"):
        wrong = tiles if spoil == "shape" else tiles.transpose(1, 2, 3, 0)
        savemat(tmp_path / "sat-6-full.mat", {"test_x": wrong, "test_y": labels.T})
    elif spoil in ("labels", "rows"):
        np.savetxt(tmp_path / "X_test_sat6.csv", tiles.reshape(7, -1), fmt="%d", delimiter=",")
        if spoil == "rows":
            np.savetxt(tmp_path / "y_test_sat6.csv", labels[:6], fmt="%d", delimiter=",")
    with pytest.raises(GraftError, match=told):
        LabelledArrays(tmp_path, SAT6[:5] if spoil == "classes" else SAT6)


# fMoW


def fmow(root: Path) -> Path:
    rng = np.random.default_rng(1)
    for label in ("airport", "zoo"):
        for place in range(2):
            folder = root / "val" / label / f"{label}_{place}"
            folder.mkdir(parents=True)
            for time in range(2):
                name = f"{label}_{place}_{time}"
                for kind in ("rgb", "msrgb"):
                    pixels = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{name}_{kind}.jpg", quality=100, subsampling=0)
                    about = {"gsd": 0.5, "bounding_boxes": [{"ID": 1, "category": label, "box": [10, 5, 30, 20]}]}
                    (folder / f"{name}_{kind}.json").write_text(json.dumps(about))
    return root / "val"


def test_fmow_is_cut_at_its_boxes(tmp_path: Path) -> None:
    root = fmow(tmp_path)
    data = LabelledCrops(root, ["airport", "zoo"], fit="native")
    assert len(data) == 8
    assert all("msrgb" not in name for name in data.names)
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    tile = data[0].tile
    assert tile is not None
    whole = np.asarray(Image.open(root / "airport" / "airport_0" / "airport_0_0_rgb.jpg"))
    assert np.array_equal(tile.permute(1, 2, 0).numpy(), whole[0:30, 10:40])


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((10, 5, 30, 20), (0, 10, 30, 40)),
        ((40, 10, 10, 40), (10, 25, 50, 65)),
        ((0, 0, 4, 2), (0, 0, 4, 4)),
        ((80, 50, 10, 10), (50, 80, 60, 90)),
        ((0, 0, 90, 60), (0, 0, 60, 90)),
    ],
)
def test_squares_stay_in_the_picture(box: tuple[int, int, int, int], square: tuple[int, int, int, int]) -> None:
    assert square_around(box, 60, 90) == square


@pytest.mark.parametrize(
    "content", [None, "{}", "[", '{"bounding_boxes": [{"box": [1, 2]}]}', '{"bounding_boxes": []}']
)
def test_a_picture_without_box_costs_itself(tmp_path: Path, content: str | None) -> None:
    root = fmow(tmp_path)
    about = root / "airport" / "airport_0" / "airport_0_0_rgb.json"
    about.unlink() if content is None else about.write_text(content)
    data = LabelledCrops(root, ["airport", "zoo"])
    assert data[0].tile is None
    assert data[0].fault
    assert data[1].tile is not None


# EuroSAT's 13 bands


def test_eurosat_s_bands_are_rendered_as_in_training(tmp_path: Path) -> None:
    pytest.importorskip("torchgeo")
    from torchgeo.datasets import EuroSAT

    base = tmp_path / "ds" / "images" / "remote_sensing" / "otherDatasets" / "sentinel_2" / "tif"
    stored = {}
    for number, label in enumerate(class_ids("eurosat")):
        bands = np.random.default_rng(number).integers(0, 4000, (13, 64, 64)).astype(np.uint16)
        write_bands(base / label / f"{label}_1.tif", bands)
        stored[label] = bands
    lines = "\n".join(f"{label}_1.jpg" for label in stored)
    for split in ("train", "val", "test"):
        (tmp_path / f"eurosat-{split}.txt").write_text(lines)
    ids = class_ids("eurosat")
    split = tmp_path / "eurosat-test.txt"
    data = LabelledFolder(tmp_path, ids, split=split, sensor=SENTINEL, bands=(4, 3, 2))
    theirs = EuroSAT(tmp_path, split="test", bands=EuroSAT.BAND_SETS["rgb"])
    assert EuroSAT.all_band_names.index("B04") == 3
    assert len(data) == len(theirs) == 10
    for index in range(10):
        sample = data[index]
        assert sample.tile is not None
        shown = SENTINEL.to_display(stored[ids[int(sample.label)]][[3, 2, 1]])
        assert np.array_equal(sample.tile.numpy(), shown)
    by_label = {theirs.classes[int(item["label"])]: item["image"].numpy() for item in theirs}
    assert all(np.array_equal(by_label[label], bands[[3, 2, 1]]) for label, bands in stored.items())


def test_a_raster_of_too_few_bands_costs_itself(tmp_path: Path) -> None:
    write_bands(tmp_path / "Forest" / "a.tif", np.zeros((3, 8, 8), np.uint16))
    write_bands(tmp_path / "River" / "b.tif", np.zeros((13, 8, 8), np.uint16))
    data = LabelledFolder(tmp_path, ["Forest", "River"], sensor=SENTINEL, bands=(4, 3, 2))
    assert "expected at least 4" in data[0].fault
    assert data[1].tile is not None


# BigEarthNet


def test_the_nineteen_classes_are_torchgeo_s() -> None:
    pytest.importorskip("torchgeo")
    from torchgeo.datasets import BigEarthNet

    ours = class_ids("bigearthnet")
    for number, label in enumerate(BigEarthNet.class_sets[43]):
        parent = BigEarthNet.label_converter.get(number)
        expected = [] if parent is None else [BigEarthNet.class_sets[19][parent]]
        assert parents([label]) == expected
        assert label in ours
    assert set(class_ids("bigearthnet19")) == set(GROUPS) == set(BigEarthNet.class_sets[19])
    assert sum(len(children) for children in GROUPS.values()) == 43 - 11
    assert parents(["Vineyards", "Olive groves", "Airports", "Salines"]) == ["Permanent crops", "Coastal wetlands"]


def bigearthnet_v1(root: Path) -> dict[str, list[str]]:
    labels = {
        "S2A_MSIL2A_20170613T101031_0_45": ["Vineyards", "Olive groves", "Water bodies"],
        "S2A_MSIL2A_20170613T101031_0_46": ["Airports"],
    }
    for name, held in labels.items():
        folder = root / "BigEarthNet-v1.0" / name
        for number, band in enumerate(("B02", "B03", "B04")):
            write_bands(folder / f"{name}_{band}.tif", np.full((1, 12, 12), 500 * (number + 1), np.uint16))
        (folder / f"{name}_labels_metadata.json").write_text(json.dumps({"labels": held}))
    return labels


def test_version_1_with_43_and_19_classes(tmp_path: Path) -> None:
    labels = bigearthnet_v1(tmp_path)
    many = LabelledPatches(tmp_path, class_ids("bigearthnet"), SENTINEL)
    few = LabelledPatches(tmp_path, class_ids("bigearthnet19"), SENTINEL, nomenclature="19")
    for data, ids, held in (
        (many, class_ids("bigearthnet"), list(labels.values())),
        (few, class_ids("bigearthnet19"), [["Permanent crops", "Inland waters"], []]),
    ):
        for row, expected in zip(data.labels, held, strict=True):
            assert {ids[place] for place in row.nonzero()[:, 0].tolist()} == set(expected)
    assert few.notes == ("1 patches have none of the 19 classes",)
    tile = many[0].tile
    assert tile is not None
    assert tile[:, 0, 0].tolist() == SENTINEL.to_display(np.array([1500, 1000, 500])).tolist()
    with pytest.raises(GraftError, match="no class ids"):
        LabelledPatches(tmp_path, class_ids("bigearthnet19"), SENTINEL)


def bigearthnet_v2(root: Path) -> pd.DataFrame:
    rows = []
    for number, split in enumerate(("test", "train", "test", "validation")):
        tile = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
        patch = f"{tile}_26_{57 - number}"
        for place, band in enumerate(("B02", "B03", "B04")):
            path = root / "BigEarthNet-S2" / tile / patch / f"{patch}_{band}.tif"
            write_bands(path, np.full((1, 12, 12), 100 * (number + 1) + place, np.uint16))
        labels = ["Arable land", "Mixed forest"] if number else ["Marine waters"]
        rows.append({"patch_id": patch, "labels": labels, "split": split, "s1_name": "x", "country": "Austria"})
    table = pd.DataFrame(rows)
    table.to_parquet(root / "metadata.parquet")
    return table


def test_version_2(tmp_path: Path) -> None:
    table = bigearthnet_v2(tmp_path)
    ids = class_ids("bigearthnet19")
    data = LabelledPatchesV2(tmp_path, ids, SENTINEL, split="test")
    assert data.names == sorted(table[table["split"] == "test"]["patch_id"])
    named = [{ids[place] for place in row.nonzero()[:, 0].tolist()} for row in data.labels]
    assert named == [{"Arable land", "Mixed forest"}, {"Marine waters"}]
    tile = data[1].tile
    assert tile is not None
    assert tile[:, 0, 0].tolist() == SENTINEL.to_display(np.array([102, 101, 100])).tolist()
    assert len(LabelledPatchesV2(tmp_path, ids, SENTINEL, split="validation")) == 1


@pytest.mark.parametrize(
    ("spoil", "told"),
    [("table", "metadata.parquet"), ("columns", "patch_id, labels and split"), ("folder", "BigEarthNet-S2")],
)
def test_faults_of_version_2(tmp_path: Path, spoil: str, told: str) -> None:
    table = bigearthnet_v2(tmp_path)
    if spoil == "table":
        (tmp_path / "metadata.parquet").unlink()
    elif spoil == "columns":
        table.drop(columns="split").to_parquet(tmp_path / "metadata.parquet")
    else:
        (tmp_path / "BigEarthNet-S2").rename(tmp_path / "x")
    with pytest.raises(GraftError, match=told):
        LabelledPatchesV2(tmp_path, class_ids("bigearthnet19"), SENTINEL)


# Folders of classes


@pytest.mark.parametrize(
    ("prompts", "count", "below", "name"),
    [
        ("resisc45", 45, "NWPU-RESISC45", "{}_001.jpg"),
        ("ucmerced", 21, "UCMerced_LandUse/Images", "{}00.tif"),
        ("aid", 30, "AID", "{}_1.jpg"),
        ("patternnet", 38, "PatternNet/images", "{}001.jpg"),
    ],
)
def test_folders_as_published(tmp_path: Path, prompts: str, count: int, below: str, name: str) -> None:
    ids = class_ids(prompts)
    assert len(ids) == count
    for number, label in enumerate(ids):
        folder = tmp_path / below / label
        folder.mkdir(parents=True)
        colour(number, 0, 0).save(folder / name.format(label.lower() if prompts == "aid" else label))
    data = ClassificationFolder(tmp_path, prompts, fit="resize", image_size=8)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert batch.label.tolist() == list(range(count))
    assert data.classes == ids


def test_what_is_not_there_is_told_with_where_it_comes_from(tmp_path: Path) -> None:
    for name, row in benchmarks().items():
        with pytest.raises(GraftError) as caught:
            LabelledFolder(tmp_path / "data" / name / "x", ["a"])
        assert row["get"] in str(caught.value)
        assert f"{tmp_path / 'data' / name} holds {row['unpack']}" in str(caught.value)
        assert row["licence"] in str(caught.value)
        assert (Path(__file__).parents[1] / "configs" / "eval" / f"{name}.yaml").is_file()
    with pytest.raises(GraftError, match="Unpack the benchmark there"):
        LabelledFolder(tmp_path / "mine", ["a"])


def test_data_modules_say_what_they_do(tmp_path: Path) -> None:
    fmow(tmp_path / "fmow")
    bigearthnet_v2(tmp_path)
    tiles, labels = deepsat(classes=4)
    savemat(tmp_path / "sat-4-full.mat", {"test_x": tiles.transpose(1, 2, 3, 0), "test_y": labels.T})
    two = tmp_path / "two.yaml"
    two.write_text("classes: [{id: airport, name: airport}, {id: zoo, name: zoo}]\nfamilies: {ground: ['{}']}\n")
    for data, n, said in (
        (DeepSat(tmp_path, "sat4"), 7, "8-bit RGB as stored, pad_reflect to 224 px"),
        (FunctionalMap(tmp_path / "fmow" / "val", str(two)), 8, "the square around the box, resize to 224 px"),
        (BigEarthNetV2(tmp_path, "bigearthnet19", "sentinel"), 2, SENTINEL.radiometry),
    ):
        data.setup("test")
        assert sum(len(batch.name) for batch in data.test_dataloader()) == n
        assert said in data.preprocessing
    assert class_ids("fmow")[0] == "airport"
    assert len(class_ids("fmow")) == 62
