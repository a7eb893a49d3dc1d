"""Memory of a process, from /proc; Linux only."""

import re
from pathlib import Path


def status_mb(key: str) -> float:
    """A line of /proc/self/status, e.g. VmRSS or VmHWM (its peak), in MB."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        raise RuntimeError(f"no {key} in /proc/self/status")
    return int(found[1]) * 1024 / 1e6
