"""Rows of `graft prepare`: contenders do the same work, and the scene and photos are what the rows say."""

from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

from benchmarks import prepare
from graft.prepare.looks import LookSettings, load_teacher
from graft.prepare.tables import read_rows
from graft.prepare.work import Work


def test_all_contenders_give_the_photos_the_same_vectors(tmp_path: Path) -> None:
    prepare.write_scene(tmp_path / "scenes" / "scene.tif", 128)
    table = prepare.write_photos(tmp_path / "photos", tmp_path / "scenes", 5, prepare.PHOTO)
    work = Work(tmp_path / "work")
    assert prepare._select(table, work) == 5
    teacher_settings = prepare.write_teacher(tmp_path / "teacher", prepare.SMALL)
    settings = LookSettings(work.folder, teacher_settings, prepare.PROMPTS, store=False, quality=90)
    ours = prepare.look(settings, 5)
    teacher, _ = load_teacher(teacher_settings, prepare.PROMPTS)
    paths = [Path(row["path"]) for row in read_rows(work.table("selected"), 0, 5)]
    assert {Image.open(path).size for path in paths} == {prepare.PHOTO}
    alone = prepare.encode_alone(teacher, [path.read_bytes() for path in paths])
    one_by_one = prepare.encode_one_by_one(teacher, paths, tmp_path / "peer.npy")
    assert np.linalg.norm(alone[0].astype(float) - alone[1].astype(float)) > 0.01
    np.testing.assert_allclose(ours, alone, atol=2e-3)
    np.testing.assert_allclose(one_by_one, alone, atol=2e-3)


def test_all_contenders_cut_the_same_tiles(tmp_path: Path) -> None:
    settings, number = prepare.start_cutting(tmp_path, 512, 40)
    places = prepare.cut(settings, number)
    assert len(places) == number >= 4
    scene = tmp_path / "scenes" / "scene.tif"
    work = Work(settings.work)
    content = work.part("cuts", 0, ".pngs").read_bytes()
    rows = read_rows(work.part("cuts", 0, ".parquet"), 0, number)
    ours = [content[row["png_start"] : row["png_start"] + row["png_size"]] for row in rows]
    assert ours == prepare.cut_alone(scene, places)
    prepare.cut_one_by_one(scene, places, tmp_path / "peer")
    for png, alone in zip(sorted((tmp_path / "peer").glob("*.png")), ours, strict=True):
        (tmp_path / "one.png").write_bytes(alone)
        assert np.array_equal(np.asarray(Image.open(png)), np.asarray(Image.open(tmp_path / "one.png")))
    with rasterio.open(scene) as dataset:
        assert dataset.read(1).min() > 0, "nothing of the scene is without data"
