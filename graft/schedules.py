"""Learning-rate schedules as functions of the step."""

import math


def warmup_cosine(step: int, *, warmup: int, total: int) -> float:
    """Factor on the peak rate: linear from 0 over `warmup` steps, then half a cosine down to 0 at `total`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
