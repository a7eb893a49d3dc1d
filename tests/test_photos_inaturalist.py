import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.errors import GraftError
from tests.photos_inputs import column, made, tabbed

OBSERVATION = """
    observation_uuid observer_id latitude longitude positional_accuracy taxon_id quality_grade observed_on anomaly_score
""".split()  # noqa: SIM905
PHOTO = "photo_uuid photo_id observation_uuid observer_id extension license width height position".split()  # noqa: SIM905


def observation(uuid: str, lat: object = 45.5, lon: object = -120.25, accuracy: object = 7) -> list[object]:
    return [uuid, 11, lat, lon, accuracy, 47126, "research", "2019-05-03", ""]


def photo(number: object, uuid: str, license: str = "CC-BY-NC", observer: int = 11) -> list[object]:
    return [f"p-{number}-{uuid}", number, uuid, observer, "jpeg", license, 2048, 1536, 0]


def open_data(folder: Path, observations: bytes, photos: bytes, pack: Callable[[bytes], bytes] = bytes) -> Path:
    folder.mkdir()
    suffix = ".gz" if pack is gzip.compress else ""
    (folder / f"observations.csv{suffix}").write_bytes(pack(tabbed(OBSERVATION) + observations))
    (folder / f"photos.csv{suffix}").write_bytes(pack(tabbed(PHOTO) + photos))
    return folder


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_photos_are_joined_to_their_observations(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    observations = [
        tabbed(observation("u1"), observation("u2", accuracy=28_211), observation("u3", accuracy="")),
        tabbed(observation("u4", lat="", lon=""), observation("u5", 0, 0), observation("u6", -120.25, 45.5)),
        tabbed(observation("u7", lat="45,5"), observation("u8")[:4]),
        tabbed(observation("u9")).replace(b"2019", b"caf\xe9"),
        tabbed(observation('quo"te')),
    ]
    photos = [
        tabbed(photo(1000, "u2", "CC0"), photo(20, "u1"), photo(3, "u1", "CC-BY"), photo(21, "u3", "PD")),
        tabbed(*[photo(number, f"u{number - 100}") for number in range(104, 111)]),
        tabbed(photo(200, "u1")[:5], [*photo(201, "u1"), "more"], photo("", "u1")),
        tabbed(photo(202, "u1", license="CC-\xe9")).decode().encode("latin-1"),
        tabbed(photo(203, 'quo"te', observer=12)),
    ]
    source = open_data(tmp_path / "inat", b"".join(observations), b"".join(photos), pack)
    rows, summary = made(source, "inaturalist")
    assert column(rows, "photo_id") == [f"inaturalist-{number}" for number in (3, 20, 21, 203, 1000)]
    assert rows[1] == {
        "photo_id": "inaturalist-20",
        "source": "inaturalist",
        "path": "",
        "url": "https://inaturalist-open-data.s3.amazonaws.com/photos/20/large.jpeg",
        "lon": -120.25,
        "lat": 45.5,
        "accuracy_m": 7,
        "accuracy_level": None,
        "taken_at": "2019-05-03",
        "heading": None,
        "author": "iNaturalist user 11",
        "license": "CC-BY-NC-4.0",
        "license_url": "https://creativecommons.org/licenses/by-nc/4.0/",
        "page_url": "https://www.inaturalist.org/photos/20",
        "width": None,
        "height": None,
        "sha256": "",
    }
    assert column(rows, "accuracy_m") == [7, 7, None, 7, 28_211]  # obscured places keep their error
    assert column(rows, "license") == ["CC-BY-4.0", "CC-BY-NC-4.0", "PD", "CC-BY-NC-4.0", "CC0-1.0"]
    assert summary.skipped.counts == {
        "no coordinates": 1,
        "position is (0, 0)": 1,
        "lon and lat look swapped": 1,
        "lon or lat is not a number": 1,
        "its observation is missing or not readable": 3,
        "no id": 1,
        "wrong number of columns": 2,
        "text is not UTF-8": 1,
    }


def test_observers_give_the_authors_names(tmp_path: Path) -> None:
    photos = tabbed(*[photo(number, "u1", observer=number) for number in (1, 2, 3)])
    source = open_data(tmp_path / "it's [1] *", tabbed(observation("u1")), photos + b"cut\n")
    observers = tabbed(["observer_id", "login", "name"], [1, "anna", "Anna Müller"], [2, "ben", ""])
    (source / "observers.csv.gz").write_bytes(gzip.compress(observers))
    rows, summary = made(source, "inaturalist")
    assert summary.skipped.counts == {"wrong number of columns": 1}
    assert column(rows, "author") == ["Anna Müller", "ben", "iNaturalist user 3"]


def test_not_open_data(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"nowhere has no observations\.csv or observations\.csv\.gz"):
        made(tmp_path / "nowhere", "inaturalist")
    source = open_data(tmp_path / "inat", tabbed(observation("u1")), tabbed(photo(1, "u1")))
    whole = (source / "photos.csv").read_bytes()
    (source / "photos.csv").write_bytes(whole.replace(b"license", b"rights"))
    with pytest.raises(GraftError, match="is not iNaturalist's table of photos: it lacks license"):
        made(source, "inaturalist")
    (source / "photos.csv").write_bytes(gzip.compress(whole)[:40])
    with pytest.raises(GraftError, match="damaged|cannot be read as iNaturalist"):
        made(source, "inaturalist")


MEASURE = """
import re, sys
from pathlib import Path
from graft.photos import photos
from graft.photos.readers import inaturalist
inaturalist._MEMORY, inaturalist._THREADS = sys.argv[3], 1
photos(Path(sys.argv[1]), format="inaturalist", out=Path(sys.argv[2]))
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_the_join_goes_to_disk_and_gives_the_same_bytes(tmp_path: Path) -> None:
    numbers = range(1_000_000)
    observations = b"".join(tabbed(observation(f"observation-{number:030d}")) for number in numbers)
    photos = b"".join(tabbed(photo(number * 7919 % 1_000_003, f"observation-{number:030d}")) for number in numbers)
    source = open_data(tmp_path / "inat", observations, photos)
    peaks = {}
    for memory in ("4GB", "200MB"):
        command = [sys.executable, "-c", MEASURE, str(source), str(tmp_path / f"{memory}.parquet"), memory]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[memory] = int(done.stdout.split()[-1])
    assert peaks["200MB"] < 0.75 * peaks["4GB"]
    assert (tmp_path / "200MB.parquet").read_bytes() == (tmp_path / "4GB.parquet").read_bytes()
