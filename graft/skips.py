"""Count what had to be left out, say so, and stop when it is too much."""

import logging
from collections.abc import Sequence

from graft.errors import GraftError

logger = logging.getLogger(__name__)

TOLERATED_SHARE = 0.01
JUDGED_AFTER = 1_000
HOPELESS_AFTER = 32
_SHOWN = 5


class SkipCounter:
    """Counts samples and photos seen, and those left out.

    The first few reasons are logged one by one, later ones at every power of two of their number.

    Attributes:
        seen: samples and photos asked for.
        skipped: samples or photos left out.
    """

    def __init__(self, remedy: str) -> None:
        """Start from zero.

        Args:
            remedy: sentence that ends the message when too much is bad.
        """
        self._remedy = remedy
        self.seen = 0
        self.skipped = 0
        self._first: list[str] = []

    def add(self, seen: int, reasons: Sequence[str]) -> None:
        """Count a batch.

        Raises:
            GraftError: more than 1 % of at least 1,000 samples were bad, or all of at least 32.
        """
        self.seen += seen
        for reason in reasons:
            self.skipped += 1
            self._first = [*self._first, reason][:_SHOWN]
            if self.skipped <= _SHOWN or self.skipped & (self.skipped - 1) == 0:
                logger.warning("Skipped %d of %d samples, last: %s", self.skipped, self.seen, reason)
        too_many = self.seen >= JUDGED_AFTER and self.skipped > TOLERATED_SHARE * self.seen
        hopeless = self.seen >= HOPELESS_AFTER and self.skipped >= self.seen
        if too_many or hopeless:
            raise GraftError(
                f"{self.skipped} of {self.seen} samples and photos could not be used "
                f"(up to {TOLERATED_SHARE:.0%} is tolerated): "
                f"{'; '.join(self._first)}. {self._remedy}"
            )
