"""How many threads a model may use: what the scheduler and the cgroup really give this process."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def available_threads(cgroup_root: Path = CGROUP_ROOT) -> int:
    """CPUs this process may run on, or its cgroup quota rounded up where that is less; at least 1.

    The host's core count is no guide in a container: threads beyond the quota only get throttled.
    """
    cpus = len(os.sched_getaffinity(0))
    quota = _quota(cgroup_root)
    return max(1, min(cpus, math.ceil(quota)) if quota else cpus)


def _quota(root: Path) -> float | None:
    try:
        limit, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    try:
        share = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None
