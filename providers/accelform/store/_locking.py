"""One process at a time may join or leave a folder store; the lock goes with its holder, however that one ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelform._base import locks
from accelform._base.waiting import wait_for
from accelform.errors import StoreUnreachable
from accelform.store.failures import mapped
from accelform.store.objects import Store

LOCK_FILE = ".workspace.lock"
LOCK_TIMEOUT_SECONDS = 60.0


@contextmanager
def exclusive(store: Store, *, marker: str) -> Iterator[int]:
    """Hold a folder store's lock, making the folder where it is missing; gives how many folders that made.

    Other kinds of store have no lock and give 0. When the object ``marker`` is not there at the end, the lock file goes
    too, and so do the folders that were made here.

    Raises StoreUnreachable when another process keeps the lock for a minute.
    """
    if store.root is None:
        yield 0
        return
    root, made, path = store.root, 0, store.root / LOCK_FILE

    def attempt() -> int | None:
        nonlocal made
        with mapped("lock", store.url):
            made = max(made, sum(not folder.exists() for folder in (root, *root.parents)))
            return locks.take(path, mode=0o644) if _is_made(root) else None

    descriptor = wait_for(attempt, timeout_seconds=LOCK_TIMEOUT_SECONDS, pause_seconds=0.02)
    if descriptor is None:
        raise StoreUnreachable(
            f"cannot join or leave the workspace in {store.url}: another process has held {path} for "
            f"{LOCK_TIMEOUT_SECONDS:.0f} seconds. Wait for it or end it, then run the same command again."
        )
    try:
        yield made
    finally:
        if not store.exists(marker):
            path.unlink(missing_ok=True)
            remove_empty_folders(root, made)
        os.close(descriptor)


def _is_made(folder: Path) -> bool:
    """Makes the folder; False where somebody removed it just now, as the last one to leave does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if os.path.lexists(folder) and not folder.is_dir():
            raise
        return False
    return True


def remove_empty_folders(root: Path, count: int) -> None:
    """Remove the folder and its parents, ``count`` in all, up to the first that is not empty."""
    with contextlib.suppress(OSError):
        for folder in [root, *root.parents][:count]:
            folder.rmdir()
