"""The tiles that answer yes: as text, as JSON and GeoJSON, and as a sheet of pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from PIL import Image, ImageDraw
from shapely.geometry.polygon import orient

from graft.errors import GraftError, first_line
from graft.files import atomic_path, write_json
from graft.lettering import fitted, font
from graft.palette import Colour
from graft.search.geojson import properties
from graft.vqa.json_form import to_json
from graft.vqa.overlay import draw_layers, layers_of
from graft.vqa.python_form import to_python

if TYPE_CHECKING:
    from graft.index.table import Index
    from graft.vqa.output import AskOutput
    from graft.vqa.tiles import TileAnswer, TileYes

MOST_DRAWN = 24
"""Tiles on the sheet."""

_COLUMNS, _SIDE, _GAP, _MARGIN = 4, 300, 16, 24
_INK, _PALE, _PAPER = (25, 25, 25), (105, 105, 105), (255, 255, 255)


def lines_of_tiles(found: "TileAnswer") -> Iterator[str]:
    """For people."""
    yield found.question
    yield f"  program  {to_python(found.asked.written.program).strip()}   [{found.asked.written.writer}]"
    yield f"  {found.yes:,} of {found.looked_at:,} tiles looked at answer yes; the index holds {found.indexed:,}"
    for reason, number in found.unseen.items():
        yield f"  {number:,} could not be looked at: {reason}"
    for note in found.notes:
        yield f"  note     {note}"
    if found.tiles:
        yield f"\n{'rank':>4}  {'confidence':>10}  {'lon':>10}  {'lat':>9}  tile"
    for rank, tile in enumerate(found.tiles, start=1):
        hit = tile.hit
        lon, lat = ("" if degrees is None else f"{degrees:.5f}" for degrees in (hit.lon, hit.lat))
        where = f"{hit.path}{f' {hit.item}' if hit.item else ''} [{' '.join(f'{edge:g}' for edge in hit.window)}]"
        yield f"{rank:>4}  {tile.answer.confidence:>10.2f}  {lon:>10}  {lat:>9}  {where}"


def plain_tiles(found: "TileAnswer", index: "Index") -> dict[str, Any]:
    """In plain JSON types."""
    written = found.asked.written
    return {
        "question": found.question,
        "program": to_json(written.program)["program"],
        "python": to_python(written.program).strip(),
        "writer": written.writer,
        "index": index.address,
        "tiles_indexed": found.indexed,
        "tiles_looked_at": found.looked_at,
        "tiles_yes": found.yes,
        "unseen": found.unseen,
        "notes": list(found.notes),
        "tiles": [_properties(rank, tile) for rank, tile in enumerate(found.tiles, start=1)],
    }


def _properties(rank: int, tile: "TileYes") -> dict[str, Any]:
    told = properties(tile.hit)
    told["search_rank"] = told.pop("rank")
    return {"rank": rank, "confidence": round(tile.answer.confidence, 4)} | told


def write_tiles(output: "AskOutput", found: "TileAnswer", document: dict[str, Any]) -> list[Path]:
    """Write the sheet, the footprints and the document; returns the files.

    Raises:
        GraftError: a file cannot be written.
    """
    features = [_feature(rank, tile) for rank, tile in enumerate(found.tiles, start=1)]
    sheet = output.picture(1)
    files = [sheet, output.geojson, output.document]
    try:
        with atomic_path(sheet) as partial:
            draw_sheet(found).save(partial, "PNG")
        write_json(output.geojson, {"type": "FeatureCollection", "question": found.question, "features": features})
        write_json(output.document, document | {"files": [str(file) for file in files]})
    except OSError as error:
        raise GraftError(f"{output.prefix} cannot be written ({first_line(error)}). Give another --out.") from error
    return files


def draw_sheet(found: "TileAnswer") -> Image.Image:
    """The first 24 tiles with their evidence, RGB; each with its rank, confidence and place."""
    tiles = found.tiles[:MOST_DRAWN]
    concepts: dict[str, Colour] = {}
    wide = _COLUMNS * _SIDE + (_COLUMNS - 1) * _GAP
    rows = -(-len(tiles) // _COLUMNS)
    top, step = _MARGIN + 92, _SIDE + 46
    sheet = Image.new("RGB", (wide + 2 * _MARGIN, top + max(rows, 1) * step + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), fitted(found.question, font(25, bold=True), wide), _INK, font(25, bold=True))
    told = f"{found.yes:,} of {found.looked_at:,} tiles looked at answer yes; the index holds {found.indexed:,}"
    draw.text((_MARGIN, _MARGIN + 36), told, _PALE, font(15))
    for number, tile in enumerate(tiles):
        x = _MARGIN + number % _COLUMNS * (_SIDE + _GAP)
        y = top + number // _COLUMNS * step
        layers = layers_of(tile.answer.evidence)
        concepts |= {layer.concept: layer.colour for layer in layers}
        sheet.paste(_drawn(tile), (x, y))
        place = "" if tile.hit.lon is None else f"   {tile.hit.lat:.4f}, {tile.hit.lon:.4f}"
        caption = f"{number + 1}   confidence {tile.answer.confidence:.2f}{place}"
        draw.text((x, y + _SIDE + 6), fitted(caption, font(14), _SIDE), _INK, font(14))
    x = _MARGIN
    for concept, colour in concepts.items():
        draw.rectangle((x, _MARGIN + 62, x + 18, _MARGIN + 78), fill=colour, outline=_INK)
        draw.text((x + 26, _MARGIN + 61), concept, _INK, font(15))
        x += 26 + round(font(15).getlength(concept)) + 28
    return sheet


def _drawn(tile: "TileYes") -> Image.Image:
    """A tile with its evidence, centred on white where it is not square."""
    height, width = tile.pixels.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = Image.fromarray(np.ascontiguousarray(tile.pixels)).resize(size, Image.Resampling.BICUBIC)
    square = Image.new("RGB", (_SIDE, _SIDE), _PAPER)
    drawn = draw_layers(picture, layers_of(tile.answer.evidence), font(13, bold=True))
    square.paste(drawn, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return square


def _feature(rank: int, tile: "TileYes") -> dict[str, Any]:
    shape = tile.hit.geometry
    parts = [] if shape is None else [orient(part) for part in shapely.get_parts(shape)]
    whole = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return {
        "type": "Feature",
        "id": tile.hit.id,
        "geometry": shapely.geometry.mapping(whole) if parts else None,
        "properties": _properties(rank, tile),
    }
