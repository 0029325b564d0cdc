"""Loading beside a model that serves: the processors are the other one's while both want them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LEAST: Final = 19
_THREADS: Final = Path("/proc/self/task")


@contextlib.contextmanager
def gently(wanted: bool) -> Iterator[None]:
    """Runs what is inside at the least priority, where that can be taken back: without a privilege it cannot."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if not wanted or not _THREADS.exists() or not _can_return(before):
        yield
        return
    os.setpriority(os.PRIO_PROCESS, 0, LEAST)
    try:
        yield
    finally:
        for thread in _THREADS.iterdir():  # those that a library started meanwhile have it too
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), before)


def _can_return(before: int) -> bool:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, before + 1)
        os.setpriority(os.PRIO_PROCESS, 0, before)
    except OSError:
        return False  # one step lower for good, which nobody will notice
    return True
