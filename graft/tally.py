"""Counting what is left out, so that nothing is skipped in silence."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

SHOWN_EXAMPLES = 3


@dataclass
class Tally:
    """How many things were left out, by reason, and the names of the first few.

    Attributes:
        counts: reason -> number, in order of first appearance.
        examples: reason -> at most `SHOWN_EXAMPLES` names.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str = "", number: int = 1) -> None:
        """Count `number` more under `reason`; a number of 0 leaves no trace."""
        if number == 0:
            return
        self.counts[reason] += number
        shown = self.examples.setdefault(reason, [])
        if name and len(shown) < SHOWN_EXAMPLES:
            shown.append(name)

    def merge(self, other: "Tally") -> None:
        """Add the counts and names of another tally."""
        for reason, number in other.counts.items():
            self.counts[reason] += number
            shown = self.examples.setdefault(reason, [])
            shown.extend(other.examples.get(reason, [])[: SHOWN_EXAMPLES - len(shown)])

    @property
    def total(self) -> int:
        """Everything left out, whatever the reason."""
        return self.counts.total()

    def lines(self) -> Iterator[str]:
        """One line per reason: number, reason, the first few names."""
        for reason, number in self.counts.items():
            shown = self.examples[reason]
            more = ", …" if number > len(shown) else ""
            yield f"{number:>10,}  {reason}" + (f" ({', '.join(shown)}{more})" if shown else "")


def in_bytes(number: float) -> str:
    """A number of bytes as a person writes it."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
