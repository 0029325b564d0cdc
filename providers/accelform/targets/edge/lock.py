"""One change at a time: a file lock per box, waited for with a deadline."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from accelform.errors import BoxBusy
from accelform.targets.edge.layout import Layout

LOCK_SECONDS = 300.0
"""How long a change waits for another one; a deploy may take a few minutes."""


@contextlib.contextmanager
def locked(layout: Layout, *, timeout_seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Holds the box's lock; makes the box's folder (0700) where it is missing. The lock ends with the process.

    Raises BoxBusy with the holder's process id when it is not free within `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # released between the two lines above
        try:
            if _take(handle) and _is_current(handle, layout):
                os.truncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
                yield
                return
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        finally:
            os.close(handle)
        if time.monotonic() > deadline:
            raise BoxBusy(
                f"edge box {layout.root} is being changed by process {holder} and stayed so for {timeout_seconds:g} s; "
                "wait for that command to end, then run this one again"
            )
        time.sleep(0.1)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(handle: int, layout: Layout) -> bool:
    """Whether the locked file is still the one at the path; a release removes it while others wait for it."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(layout.lock))
    except FileNotFoundError:
        return False
