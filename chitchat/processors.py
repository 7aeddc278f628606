"""How many processors there are for this program."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Those that this process may run on, a container's or `taskset`'s few; all of the machine's where none can say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
