"""Memory that two processes share, as a file without a name."""

from __future__ import annotations

import mmap
import os
import tempfile


def new_file() -> int:
    """Descriptor of an empty one."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("accelform", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def file_of(*parts: bytes | memoryview) -> int:
    """Descriptor of one that holds these parts."""
    file = new_file()
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(file, view) :]
    except OSError:
        os.close(file)
        raise
    return file


def room(file: int, size: int) -> mmap.mmap:
    """The first `size` bytes, at least one, to be written."""
    os.ftruncate(file, size)
    return mmap.mmap(file, size)
