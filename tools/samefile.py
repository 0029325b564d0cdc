"""Whether a lock still guards what it was taken for: a lock on a removed file guards nothing."""

from __future__ import annotations

import os
from pathlib import Path


def is_still_at(path: Path, descriptor: int) -> bool:
    """Tell whether an open file or folder is the one that the path leads to now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
