"""Archives on loopback: files with range requests, a static STAC catalogue over them, and an API that searches it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import rasterio
from affine import Affine
from rasterio.warp import transform_bounds

from graft.imagery.geometry import grid_rings
from graft.imagery.image import Image, Transform

CORE = "https://api.stacspec.org/v1.0.0/core"
SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
QUERY = "https://api.stacspec.org/v1.0.0/item-search#query"


class Archive(ThreadingHTTPServer):
    """Serves the files of a folder with ranges, and `items` at /api.

    Attributes:
        items: STAC items as dictionaries.
        sent: path -> bytes of it that were sent.
        faults: path -> what happens to its next requests: a status, "drop" or "truncate", one each.
        asked: bodies of searches.
        conforms: what the API says it can do.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.items: list[dict[str, Any]] = []
        self.sent: dict[str, int] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.asked: list[dict[str, Any]] = []
        self.conforms = [CORE, SEARCH, QUERY]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Archive

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._search(body)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path == "/api/search":
            self._search({name: values[0] for name, values in parse_qs(parts.query).items()})
        elif path == "/api":
            self._send_json(self._landing())
        else:
            self._send_file(path)

    def _landing(self) -> dict[str, Any]:
        search = f"{self.server.url}/api/search"
        links = [
            {"rel": "self", "href": f"{self.server.url}/api"},
            {"rel": "root", "href": f"{self.server.url}/api"},
            {"rel": "search", "href": search, "type": "application/geo+json", "method": "POST"},
        ]
        about = {"type": "Catalog", "id": "loopback", "stac_version": "1.0.0", "description": "items of a test"}
        return {**about, "conformsTo": self.server.conforms, "links": links}

    def _search(self, body: dict[str, Any]) -> None:
        self.server.asked.append(body)
        items = [item for item in self.server.items if item["collection"] in body["collections"]]
        west, south, east, north = body["bbox"]
        items = [
            item
            for item in items
            if item["bbox"][0] <= east and item["bbox"][2] >= west and item["bbox"][1] <= north
            if item["bbox"][3] >= south
        ]
        for name, rule in (body.get("query") or {}).items():
            items = [item for item in items if item["properties"].get(name, 1e9) <= rule["lte"]]
        begin, limit = int(body.get("token", 0)), min(int(body["limit"]), 2)
        page = {"type": "FeatureCollection", "features": items[begin : begin + limit], "links": []}
        if begin + limit < len(items):
            following = {**body, "token": begin + limit}
            link = {"rel": "next", "href": f"{self.server.url}/api/search", "method": "POST", "body": following}
            page["links"] = [link]
        self._send_json(page)

    def _send_json(self, value: Any) -> None:
        if self._fails(urlsplit(self.path).path):
            return
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/geo+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _fails(self, path: str) -> bool:
        """Whether a fault took the place of the answer; a truncated one is left to be sent."""
        faults = self.server.faults.get(path)
        if not faults or faults[0] == "truncate":
            return False
        fault = faults.pop(0)
        if fault == "drop":
            self.close_connection = True
        else:
            self._send_status(int(fault))
        return True

    def _send_status(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_file(self, path: str) -> None:
        file = self.server.folder / path.lstrip("/")
        if self._fails(path):
            return
        if not file.is_file():
            self._send_status(404)
            return
        content = file.read_bytes()
        asked = self.headers.get("Range")
        begin, end = 0, len(content)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or end) + 1, end)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - begin))
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        part = content[begin:end]
        if self.server.faults.get(path):
            self.server.faults[path].pop(0)
            part = part[: len(part) // 2]
            self.close_connection = True
        self.server.sent[path] = self.server.sent.get(path, 0) + len(part)
        self.wfile.write(part)


@contextmanager
def serve(folder: Path) -> Iterator[Archive]:
    """An archive that answers until the block ends."""
    with Archive(folder) as archive:
        thread = threading.Thread(target=archive.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield archive
        finally:
            archive.shutdown()
            thread.join()


def item_of(
    path: Path, address: str, *, assets: dict[str, dict[str, Any]], collection: str = "sentinel-2-l2a", **more: Any
) -> dict[str, Any]:
    """A STAC item over a raster; `assets` maps keys to further fields, an href of their own among them."""
    with rasterio.open(path) as dataset:
        code, shape, grid = dataset.crs.to_epsg(), list(dataset.shape), list(dataset.transform[:6])
        west, south, east, north = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    common = {"href": address, "proj:shape": shape, "proj:transform": grid}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": path.stem,
        "collection": collection,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2020-06-01T10:00:00Z", "proj:epsg": code, **more},
        "links": [],
        "assets": {key: {**common, **fields} for key, fields in assets.items()},
    }


def write_catalogue(folder: Path, items: list[dict[str, Any]]) -> Path:
    """A static catalogue: catalog.json, a collection, and a file for each item."""
    about = {"stac_version": "1.0.0", "description": "of a test"}
    collection = items[0]["collection"]
    (folder / collection).mkdir(parents=True, exist_ok=True)
    for item in items:
        (folder / collection / f"{item['id']}.json").write_text(json.dumps(item))
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    links = [{"rel": "item", "href": f"./{item['id']}.json"} for item in items]
    content = {**about, "type": "Collection", "id": collection, "license": "other", "extent": extent, "links": links}
    (folder / collection / "collection.json").write_text(json.dumps(content))
    links = [{"rel": "child", "href": f"./{collection}/collection.json"}]
    path = folder / "catalog.json"
    path.write_text(json.dumps({**about, "type": "Catalog", "id": "test", "links": links}))
    return path


def plain_image(
    crs: str, transform: Transform, width: int, height: int, *, slug: str = "a", when: str | None = None, **more: Any
) -> Image:
    """An image that is nowhere on disk."""
    bands = (("a.tif", 1), ("a.tif", 2), ("a.tif", 3))
    rings = grid_rings(crs, Affine(*transform), width, height)
    about = {"item": slug, "cloud": None, "offset": 0.0, "radiometry_note": "", "footprint": rings, **more}
    return Image(slug, bands, None, crs, transform, width, height, transform[0], when, **about)
