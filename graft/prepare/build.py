"""The straight line of a build: filter, look, filter again, place, cut, pack, publish."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from graft.errors import GraftError
from graft.imagery.folder import open_folder
from graft.imagery.image import Image
from graft.imagery.stac import search_stac
from graft.prepare.cluster import Submit, open_cluster, run_parts
from graft.prepare.cut import CutSettings, cut_part
from graft.prepare.looks import DEFAULT_STORED_SIDE, LookSettings, load_teacher, look_at_part
from graft.prepare.pack import PackSettings, order_samples, pack_shard, shard_rows
from graft.prepare.plan import plan_lines
from graft.prepare.publish import publish
from graft.prepare.samples import ShardCard
from graft.prepare.settings import BuildSettings
from graft.prepare.summary import Summary
from graft.prepare.tables import database, row_count
from graft.prepare.tiles import attach_photos, place_tiles, read_images, write_images
from graft.prepare.work import Work, read_tally
from graft.select.content import by_content
from graft.select.metadata import by_metadata
from graft.select.thinning import thin
from graft.sensors import Sensor
from graft.tally import Tally

PHOTOS_IN_PART, TILES_IN_PART = 2000, 256


class Build:
    """One build, from its settings to the shards; every step leaves a file and is not repeated."""

    def __init__(self, settings: BuildSettings, sensor: Sensor, work: Work) -> None:
        """Prepare; nothing is read yet."""
        self.settings, self.sensor, self.work = settings, sensor, work
        self.left_out: dict[str, Tally] = {}
        self._teacher = None
        if settings.teacher is not None:
            self._teacher, _ = load_teacher(settings.teacher, settings.content.scene_prompts)

    def plan(self) -> list[str]:
        """Choose photos by the table alone, find images, and say what is going to happen.

        Raises:
            GraftError: nothing is left to do, or the disk is too small.
        """
        settings, work = self.settings, self.work
        diagonal_m = settings.tiles.size * self.sensor.gsd_m * 2**0.5
        self.left_out["by the table"] = work.once(
            "selected",
            lambda: by_metadata(
                settings.photos,
                work.table("selected"),
                filters=settings.filters,
                splits=settings.splits,
                seed=settings.seed,
                buffer_m=diagonal_m,
                memory=settings.memory,
                temp=work.temp,
            ),
        )
        if not work.images.exists():
            write_images(work.images, self._find_images())
        images = read_images(work.images)
        outside = work.once("planned", lambda: self._place("selected", "planned", images))
        teacher, stored = self._teacher, settings.shards.photos
        return list(
            plan_lines(
                listed=row_count(settings.photos),
                left_out=self.left_out["by the table"],
                images=len(images),
                sensor=f"{self.sensor.name}, {self.sensor.gsd_m:g} m",
                tiles=row_count(work.table("planned")),
                tile_size=settings.tiles.size,
                outside=outside.total,
                teacher_dim=teacher.dim if teacher else 0,
                stored_side=(teacher.image_size if teacher else DEFAULT_STORED_SIDE) if stored else 0,
                out=settings.out,
            )
        )

    def run(self, *, overwrite: bool) -> Summary:
        """Do the work and publish the shards.

        Raises:
            GraftError: nothing is left to write.
        """
        with open_cluster(self.settings.cluster) as submit:
            self._look(submit)
            self._choose()
            self._cut(submit)
            shards = self._pack(submit)
        return publish(self.settings, self.work, shards, self.left_out, self._cards(), overwrite=overwrite)

    def _find_images(self) -> list[Image]:
        imagery = self.settings.imagery
        if imagery.stac is not None:
            return search_stac(imagery.stac, self.sensor, self._areas())
        return open_folder(imagery.scenes or [], self.sensor)

    def _areas(self) -> list[tuple[float, float, float, float]]:
        """Boxes (west, south, east, north; degrees) that hold the photos, one for each square degree with any."""
        with database(self.work.temp, self.settings.memory) as connection:
            return [
                tuple(row)
                for row in connection.execute(
                    "SELECT min(lon), min(lat), max(lon), max(lat) FROM read_parquet(?) "
                    "GROUP BY floor(lon), floor(lat) ORDER BY floor(lon), floor(lat)",
                    [str(self.work.table("selected"))],
                ).fetchall()
            ]

    def _place(self, photos: str, tiles: str, images: Sequence[Image]) -> Tally:
        return place_tiles(
            self.work.table(photos),
            self.work.table(tiles),
            images,
            self.settings.tiles,
            max_candidates=self.settings.imagery.max_candidates,
            temp=self.work.temp,
            memory=self.settings.memory,
            label="planning tiles" if tiles == "planned" else "placing tiles",
        )

    def _look(self, submit: Submit) -> None:
        """Decode, encode and judge the photos."""
        settings = self.settings
        look = LookSettings(
            self.work.folder,
            settings.teacher,
            settings.content.scene_prompts,
            settings.shards.photos,
            settings.shards.quality,
        )
        total = row_count(self.work.table("selected"))
        self._run_parts(submit, look_at_part, look, "looks", total, PHOTOS_IN_PART, "looking at photos", "photo")

    def _choose(self) -> None:
        """Filter by what the photos show, thin them out, place tiles and attach photos."""
        work, settings = self.work, self.settings
        looks, vectors = self._looks(".parquet"), self._looks(".npy")
        self.left_out["by what they show"] = work.once(
            "scenic",
            lambda: by_content(
                work.table("selected"),
                looks,
                work.table("scenic"),
                filters=settings.content,
                vectors=vectors if settings.teacher else None,
                min_side=settings.filters.min_side,
                memory=settings.memory,
                temp=work.temp,
            ),
        )
        self.left_out["by caps and thinning"] = work.once(
            "thinned",
            lambda: thin(
                work.table("scenic"),
                work.table("thinned"),
                settings=settings.thinning,
                memory=settings.memory,
                temp=work.temp,
            ),
        )
        images = read_images(work.images)
        self.left_out["by place"] = work.once("tiles", lambda: self._place("thinned", "tiles", images))
        if row_count(work.table("tiles")) == 0:
            raise GraftError("No photo is left in any image: " + _all_counts(self.left_out))
        work.once("attached", self._attach)

    def _looks(self, suffix: str) -> list[Path]:
        parts = -(-row_count(self.work.table("selected")) // PHOTOS_IN_PART)
        return [self.work.part("looks", number, suffix) for number in range(parts)]

    def _attach(self) -> Tally:
        attach_photos(
            self.work.table("thinned"),
            self._looks(".parquet"),
            self.work.table("tiles"),
            self.work.table("attached"),
            temp=self.work.temp,
            memory=self.settings.memory,
        )
        return Tally()

    def _cut(self, submit: Submit) -> None:
        """Read tiles."""
        settings = self.settings
        cut = CutSettings(self.work.folder, self.sensor.name, settings.tiles, settings.imagery, settings.memory)
        total = row_count(self.work.table("tiles"))
        self._run_parts(submit, cut_part, cut, "cuts", total, TILES_IN_PART, "cutting tiles", "tile")
        tally = Tally()
        for number in range(-(-total // TILES_IN_PART)):
            part = json.loads(self.work.part("cuts", number, ".json").read_text(encoding="utf-8"))
            tally.merge(read_tally(part))
        self.left_out["tiles"] = tally

    def _pack(self, submit: Submit) -> dict[str, list[dict[str, Any]]]:
        """Write the shards; returns the rows of each split's index."""
        shards = {}
        for split, card in self._cards().items():
            self.work.once(f"order-{split}", partial(self._order, split))
            samples = row_count(self.work.table(f"order-{split}"))
            if samples == 0:
                raise GraftError(
                    f"No tile is left for the split {split!r} (tiles: {_counts(self.left_out['tiles'])}; "
                    f"photos: {_all_counts(self.left_out)}). Change filters or splits."
                )
            pack = PackSettings(self.work.folder, card, self.settings.shards.samples)
            count = -(-samples // pack.samples)
            todo = [(pack, n) for n in range(count) if not (pack.folder / f"shard-{n:06d}.json").exists()]
            done = samples - sum(min(pack.samples, samples - n * pack.samples) for _, n in todo)
            run_parts(submit, pack_shard, todo, total=samples, done=done, label=f"writing {split}", unit="tile")
            shards[split] = shard_rows(pack, count)
        return shards

    def _order(self, split: str) -> Tally:
        parts = -(-row_count(self.work.table("tiles")) // TILES_IN_PART)
        cuts = [self.work.part("cuts", number, ".parquet") for number in range(parts)]
        order_samples(self.work, split, cuts, self.settings.seed, self.settings.memory)
        return Tally()

    def _cards(self) -> dict[str, ShardCard]:
        teacher = self._teacher.card if self._teacher else None
        return {
            split: ShardCard(
                self.sensor.name,
                self.sensor.radiometry,
                self.settings.tiles.size,
                teacher,
                self.settings.shards.photos,
                split,
            )
            for split in self.settings.splits.shares
        }

    def _run_parts(
        self, submit: Submit, function: Any, shared: Any, stage: str, total: int, size: int, label: str, unit: str
    ) -> None:
        """Run the parts of a stage that no earlier session finished."""
        parts = [
            (shared, number, start, min(start + size, total)) for number, start in enumerate(range(0, total, size))
        ]
        todo = [part for part in parts if not self.work.part(stage, part[1], ".json").exists()]
        done = total - sum(stop - start for _, _, start, stop in todo)
        run_parts(submit, function, todo, total=total, done=done, label=label, unit=unit)


def _counts(tally: Tally) -> str:
    return "; ".join(f"{number:,} {reason}" for reason, number in tally.counts.items()) or "nothing was left out"


def _all_counts(tallies: dict[str, Tally]) -> str:
    return "; ".join(f"{name}: {_counts(tally)}" for name, tally in tallies.items() if name != "tiles" and tally.total)
