"""What a program may spend while it runs; beyond it, it is refused."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from graft.vqa.refusal import Refused


@dataclass(frozen=True)
class Budget:
    """Bounds of one run.

    Attributes:
        depth: of statements and expressions inside each other.
        nodes: evaluated in all, each time a loop comes by.
        loops: rounds of all loops.
        calls: of vision functions.
        seconds: of wall time, looked at between nodes and wherever a toolbox calls `tick`.
        megabytes: held by the toolbox and by masks that the program made (10^6 bytes).
    """

    depth: int = 24
    nodes: int = 20_000
    loops: int = 5_000
    calls: int = 2_000
    seconds: float = 60.0
    megabytes: float = 2_000.0


@dataclass
class Spent:
    """What a run has spent of its budget; each method refuses what goes beyond."""

    budget: Budget
    nodes: int = 0
    loops: int = 0
    calls: int = 0
    started: float = field(default_factory=time.monotonic)

    def tick(self) -> None:
        """Look at the clock."""
        if time.monotonic() - self.started > self.budget.seconds:
            raise _beyond(f"ran for more than {self.budget.seconds:g} s", "Ask about fewer objects or a smaller image")

    def node(self, depth: int) -> None:
        """One more statement or expression, at a depth."""
        self.nodes += 1
        if self.nodes > self.budget.nodes:
            raise _beyond(f"took more than {self.budget.nodes:,} steps", "Shorten its loops")
        if depth > self.budget.depth:
            raise _beyond(f"nests deeper than {self.budget.depth}", "Give parts of it names")
        self.tick()

    def loop(self) -> None:
        """One more round of a loop."""
        self.loops += 1
        if self.loops > self.budget.loops:
            raise _beyond(f"went through loops more than {self.budget.loops:,} times", "Filter the objects first")

    def call(self) -> None:
        """One more call of a vision function."""
        self.calls += 1
        if self.calls > self.budget.calls:
            raise _beyond(f"called vision functions more than {self.budget.calls:,} times", "Filter the objects first")

    def memory(self, held: int) -> None:
        """Bytes held now."""
        if held > self.budget.megabytes * 1e6:
            raise _beyond(
                f"holds {held / 1e6:,.0f} MB, more than {self.budget.megabytes:,.0f}",
                "Name fewer concepts or take a smaller image",
            )


def _beyond(what: str, mend: str) -> Refused:
    return Refused(f"The program {what}, which is the bound for one question. {mend}.")


_RUNNING: ContextVar[Spent | None] = ContextVar("running", default=None)


@contextmanager
def running(spent: Spent) -> Iterator[None]:
    """Make `tick` look at this run's clock inside the block."""
    token = _RUNNING.set(spent)
    try:
        yield
    finally:
        _RUNNING.reset(token)


def tick() -> None:
    """Stop a program that is out of time; long work of a toolbox calls this in its loops. Nothing outside a run."""
    spent = _RUNNING.get()
    if spent is not None:
        spent.tick()
