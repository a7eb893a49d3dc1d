"""Which tiles of an index answer yes: candidates by search, then the program on the pixels of each."""

import json as json_format
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyproj.exceptions
from tqdm import tqdm

from graft.errors import GraftError, first_line
from graft.search.hits import Hit
from graft.sensors import get_sensor
from graft.tally import Tally
from graft.vqa.answer import Answer
from graft.vqa.asking import Asked, Unanswered, answer_question
from graft.vqa.concepts import Concepts
from graft.vqa.ground import GroundGrid
from graft.vqa.looking import Eyes, open_eyes
from graft.vqa.output import name_outputs
from graft.vqa.tile_candidates import find_candidates
from graft.vqa.tile_output import lines_of_tiles, plain_tiles, write_tiles
from graft.vqa.tile_pixels import Pixels, tile_grid, tile_pixels
from graft.vqa.tile_vision import visions_of_tiles
from graft.vqa.toolbox import Toolbox, UrbanRule

if TYPE_CHECKING:
    from graft.index.table import Index

_PORTION = 64
"""Tiles whose pixels are in memory at a time."""


@dataclass(frozen=True)
class TileYes:
    """A tile that answers yes.

    Attributes:
        hit: which tile.
        answer: yes, with its confidence and evidence.
        grid: of the evidence.
        pixels: uint8 [H, W, 3], the tile as the model saw it.
    """

    hit: Hit
    answer: Answer
    grid: GroundGrid
    pixels: Pixels


@dataclass(frozen=True)
class TileAnswer:
    """The tiles of an index that answer yes to a question.

    Attributes:
        question: as asked.
        asked: with its program.
        tiles: surest first, at most as many as were asked for.
        yes: how many said yes in all.
        looked_at: how many were looked at.
        indexed: how many the index holds.
        unseen: candidates whose pixels could not be read, or that could not be answered for, by reason.
        notes: what the reader must know.
    """

    question: str
    asked: Asked
    tiles: tuple[TileYes, ...]
    yes: int
    looked_at: int
    indexed: int
    unseen: dict[str, int]
    notes: tuple[str, ...]


def ask_index(
    address: str,
    asked: Sequence[Asked | Unanswered],
    concepts: Concepts,
    urban: UrbanRule,
    *,
    model: Path,
    out: str | None,
    json: bool,
    stride: int | None,
    batch_size: int,
    top: int,
    candidates: int,
    **eyes_settings: Any,
) -> TileAnswer:
    """Find the tiles of an index that answer yes, print and write them.

    Args:
        address: of the index.
        asked: one question.
        concepts: the vocabulary.
        urban: when a tile is urban.
        model: training checkpoint; of the index's sensor and teacher.
        out: prefix or folder of NAME.q1.png, NAME.geojson and NAME.json; nothing is written if None.
        json: print a JSON document in place of text.
        stride: pixels between windows; half a window if None.
        batch_size: windows at a time.
        top: how many tiles at most.
        candidates: how many are looked at.
        eyes_settings: see `graft.vqa.looking.open_eyes`.

    Raises:
        GraftError: several questions, one that could not be read, one without yes or no, another model than fits the
            index, or an index without tiles.
    """
    from graft.index.table import Index

    if len(asked) != 1:
        raise GraftError(f"{len(asked)} questions to an index; expected one at a time. Ask them one after another.")
    question = asked[0]
    if isinstance(question, Unanswered):
        raise GraftError(question.fault)
    if question.program.gives != "truth":
        raise GraftError(
            f'"{question.question}" is answered by a {question.program.gives}; tiles of an index are found by a yes. '
            'Ask e.g. "Which tiles have a harbour next to a forest?".'
        )
    index = Index.open(address)
    output = None if out is None else name_outputs(out, Path(address.rstrip("/")).name, [model], 1)
    if output is not None and Path(address).resolve() in output.prefix.resolve().parents:
        raise GraftError(f"--out {out} lies in the index. Give a prefix elsewhere.")
    eyes = open_eyes(model, concepts, question.program.concepts, **eyes_settings)
    _check_fits(index, eyes)
    hits = find_candidates(index, question.program, concepts, eyes.tower, candidates)
    unseen = Tally()
    answered = [
        tile
        for tile in look_at(index, hits, question, eyes, urban, unseen, stride=stride, batch_size=batch_size)
        if tile.answer.value is True
    ]
    order = sorted(answered, key=lambda tile: (-tile.answer.confidence, tile.hit.rank))
    found = TileAnswer(
        question=question.question,
        asked=question,
        tiles=tuple(order[:top]),
        yes=len(answered),
        looked_at=len(hits) - unseen.total,
        indexed=len(index),
        unseen=dict(unseen.counts),
        notes=eyes.notes,
    )
    document = plain_tiles(found, index)
    if output is not None:
        document["files"] = [str(file) for file in write_tiles(output, found, document)]
    if json:
        print(json_format.dumps(document, ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines_of_tiles(found)))
        if output is not None:
            print("\nWrote", *document["files"], sep="\n  ")
    return found


def look_at(
    index: "Index",
    hits: Sequence[Hit],
    asked: Asked,
    eyes: Eyes,
    urban: UrbanRule,
    unseen: Tally,
    *,
    stride: int | None = None,
    batch_size: int = 16,
) -> Iterator[TileYes]:
    """Run the program on the pixels of each tile, yes or no; what cannot be is counted in `unseen`."""
    sources = {source.id: source for source in index.sources()}
    with tqdm(total=len(hits), unit=" tiles", desc="Looking", disable=None) as bar:
        for first in range(0, len(hits), _PORTION):
            found: list[tuple[Hit, Pixels, GroundGrid]] = []
            for hit, pixels in tile_pixels(index, hits[first : first + _PORTION], sources, unseen):
                try:
                    found.append((hit, pixels, tile_grid(hit, sources[hit.source_id], *pixels.shape[:2])))
                except (GraftError, pyproj.exceptions.ProjError) as error:
                    unseen.add("no place on Earth", f"{hit.path}: {first_line(error)}")
            seen = visions_of_tiles(
                [(pixels, grid) for _, pixels, grid in found], eyes, stride=stride, batch_size=batch_size
            )
            for (hit, pixels, grid), vision in zip(found, seen, strict=True):
                bar.update()
                answer = answer_question(asked, Toolbox(vision, urban))
                if isinstance(answer, Unanswered):
                    unseen.add(answer.fault, hit.path)
                elif isinstance(answer.value, bool):
                    yield TileYes(hit, answer, grid, pixels)
                # Else nothing is there to answer about, "there is no lake": that is no yes.


def _check_fits(index: "Index", eyes: Eyes) -> None:
    card, loaded = index.card, eyes.loaded
    if card.teacher["identity"] != eyes.tower.identity:
        raise GraftError(
            f"The index at {index.address} was made by a model aligned to {card.teacher['name']} "
            f"({card.teacher['identity'][:12]}), --model to {loaded.teacher['name']} ({eyes.tower.identity[:12]}). "
            "Give the model of the index, or index with this one."
        )
    gsd = get_sensor(loaded.sensor).gsd_m
    if abs(float(card.model["gsd_m"]) / gsd - 1) > 0.1:
        raise GraftError(
            f"The index at {index.address} holds tiles of {card.model['gsd_m']:g} m a pixel, --model was trained at "
            f"{gsd:g} m ({loaded.sensor}). Give a model of the index's sensor ({card.model['sensor']})."
        )
