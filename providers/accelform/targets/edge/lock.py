"""One change at a time: a file lock per box, waited for with a deadline."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from accelform._base import locks
from accelform._base.waiting import wait_for
from accelform.errors import BoxBusy
from accelform.targets.edge.layout import Layout

LOCK_SECONDS = 300.0
"""How long a change waits for another one; a deploy may take a few minutes."""


@contextlib.contextmanager
def locked(layout: Layout, *, timeout_seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Holds the box's lock; makes the box's folder (0700) where it is missing. The lock ends with the process.

    Raises BoxBusy with the holder's process id when it is not free within `timeout_seconds`.
    """

    def attempt() -> int | None:
        layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return locks.take(layout.lock, mode=0o600)

    handle = wait_for(attempt, timeout_seconds=timeout_seconds, pause_seconds=0.1)
    if handle is None:
        raise BoxBusy(
            f"edge box {layout.root} is being changed by process {_holder(layout)} and stayed so for "
            f"{timeout_seconds:g} s; wait for that command to end, then run this one again"
        )
    try:
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _holder(layout: Layout) -> str:
    try:
        return layout.lock.read_text(encoding="utf-8", errors="replace")[:32].strip() or "unknown"
    except FileNotFoundError:
        return "unknown"
