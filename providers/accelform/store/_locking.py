"""One process at a time may join or leave a folder store; the lock goes with its holder, however that one ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    made, path = 0, store.root / LOCK_FILE
    while True:
        with mapped("lock", store.url):
            made = max(made, sum(not folder.exists() for folder in (store.root, *store.root.parents)))
            descriptor = _try_lock(path) if _is_made(store.root) else None
        if descriptor is not None:
            break
        if time.monotonic() > deadline:
            raise StoreUnreachable(
                f"cannot join or leave the workspace in {store.url}: another process has held {path} for "
                f"{LOCK_TIMEOUT_SECONDS:.0f} seconds. Wait for it or end it, then run the same command again."
            )
        time.sleep(0.02)
    try:
        yield made
    finally:
        if not store.exists(marker):
            path.unlink(missing_ok=True)
            remove_empty_folders(store.root, made)
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


def _try_lock(path: Path) -> int | None:
    """The descriptor of the locked file, or None when another process has it or it was removed meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
