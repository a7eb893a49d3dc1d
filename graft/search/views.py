"""Looking at a source again, the way the model did when it was indexed."""

from graft.index.schema import IndexCard, SourceCard
from graft.index.sources import Look
from graft.sensors import get_sensor


def look_of(card: IndexCard, source: SourceCard) -> Look:
    """How the model of an index looked at a source.

    Raises:
        GraftError: a sensor that this graft does not know.
    """
    kept = source.settings
    bands = kept["bands"]
    return Look(
        sensor=get_sensor(kept["sensor"]),
        model_gsd_m=float(card.model["gsd_m"]),
        patch=kept["patch"],
        window=kept["window"],
        stride=kept["stride"],
        display=kept["display"],
        bands=None if bands is None else (bands[0], bands[1], bands[2]),
        gsd_m=kept["gsd_m"],
        any_gsd=kept["any_gsd"],
        precision=kept["precision"],
    )
