"""Search of an index in words or with a photo (`graft search`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from graft.search.hits import SearchResult


def search(
    index: str,
    *,
    words: str = "",
    without: list[str] | None = None,
    photo: list[str] | None = None,
    near: list[float] | None = None,
    radius_km: float | None = None,
    within: str | None = None,
    after: str | None = None,
    before: str | None = None,
    min_valid: float | None = None,
    max_cloud: float | None = None,
    top: int = 50,
    overlap: float = 0.25,
    format: Literal["table", "geojson", "csv", "html"] | None = None,
    out: Path | None = None,
    heatmap: Path | None = None,
    scene: str | None = None,
    ann: bool = False,
    family: Literal["ground", "satellite"] = "ground",
    background: str | None = None,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    text_vectors: Path | None = None,
) -> "SearchResult":
    """Search an index in words, with photos, or both.

    `graft search IDX "wind turbines" --not grassland --near 7.1 50.7 --out hits.geojson`. Tiles are ranked by the
    cosine of their vector with the query's. Each hit also has a likeness from 0 to 1: at 0.5 the words describe the
    tile as well as the best of many everyday descriptions do. If no hit reaches 0.5, the answer is that there is
    nothing like this here, and the nearest tiles are shown all the same.

    Args:
        index: folder, or s3://bucket/prefix, that `graft index` wrote.
        words: what to look for; stands after IDX without `--words`. `"wind turbines=2; grassland"` is a mix: `;`
            separates, `=number` weighs (1 if not given).
        without: words to take away, one or more; also written --not. They weigh 0.5 each; `--not "forest=0.3"` changes
            that.
        photo: pictures from the ground, one or more; `a.jpg=0.5` weighs.
        near: longitude and latitude in degrees: --near 7.1 50.7.
        radius_km: how far from --near a tile's footprint may be, along the ground; 25 if not given.
        within: WEST,SOUTH,EAST,NORTH in degrees (west > east crosses the antimeridian), or a GeoJSON file of polygons;
            tiles that meet it are searched.
        after: date or time (UTC) from which on tiles were taken.
        before: date or time (UTC) before which tiles were taken.
        min_valid: least share of a tile's pixels with data, 0 to 1.
        max_cloud: largest share of a tile's pixels under cloud, 0 to 1.
        top: how many hits at most, up to 10,000; a page shows the first 500.
        overlap: a tile that shares more than this part of the smaller footprint with a better hit is left out; 1 keeps
            all.
        format: of the hits; by the ending of --out (.geojson, .csv, .html) or a table if not given.
        out: file to write; standard output if not given. A file that is there is replaced, unless it is searched or
            searched with.
        heatmap: also write the cosine over a whole raster as a GeoTIFF in its own grid; replaces files as --out does.
        scene: source for --heatmap, by its name, file name or id; the only raster in the index if not given.
        ann: use the approximate index that `graft indexes ann` built.
        family: templates that words are put into: a ground photo of them, or a satellite image.
        background: everyday descriptions that likeness is judged by: a prompt set, by name or YAML file; the 80 that
            come with graft if not given.
        teacher: open_clip architecture that reads words and photos, or local-dir:FOLDER; the one that the index's model
            was aligned to if not given.
        teacher_weights: tag of open_clip or a file of weights.
        text_vectors: .safetensors file in which words are looked up by class instead.

    Returns:
        Hits, counts and verdict, as written.

    Raises:
        GraftError: input that is missing or does not fit, one sentence each.
    """
    from graft.index.table import Index
    from graft.search.encode import read_query
    from graft.search.engine import search_index
    from graft.search.filters import Filters, read_moment, read_place
    from graft.search.output import check_targets, choose_format, heatmap_source, write_result
    from graft.search.query import read_wishes

    chosen = choose_format(format, out)
    wishes = read_wishes(words, without or (), photo or ())
    moments = read_moment("after", after), read_moment("before", before)
    place = read_place(near, radius_km)
    radius = Filters.radius_km if radius_km is None else radius_km
    filters = Filters(place, radius, within, *moments, min_valid, max_cloud)
    opened = Index.open(index)
    source = heatmap_source(opened, scene, wanted=heatmap is not None)
    photos = [wish.text for wish in wishes if wish.kind == "photo"]
    check_targets(out, heatmap, opened.address, [*photos, *(each.name for each in opened.sources())])
    if source is not None:
        from graft.search.heatmap import scene_view, write_heatmap

        scene_view(opened, source)
    query, rivals = read_query(
        opened.card,
        wishes,
        family=family,
        teacher=teacher,
        teacher_weights=teacher_weights,
        text_vectors_file=text_vectors,
        background=background,
    )
    result = search_index(opened, query, filters=filters, top=top, overlap=overlap, background=rivals, ann=ann)
    if source is not None and heatmap is not None:
        write_heatmap(opened, query, source, heatmap)
    write_result(result, opened, chosen, out)
    return result
