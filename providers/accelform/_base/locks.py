"""Files that one process at a time holds, however that process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take(path: Path, *, mode: int) -> int | None:
    """The descriptor that holds the lock of the file `path`, made with the permissions `mode` where it is missing.

    Closing it gives the lock back. None while another process has it, and where the file or its folder went just now:
    whoever is the last to need a lock removes its file. Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
