"""Folders that a step writes to: whether it can, and what the user is told where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

from tools.progress import StepFailed


def usable(folder: Path) -> bool:
    """Tell whether a folder is there, or can be made, and can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def user_cache() -> Path:
    """Return the user's cache folder; raises StepFailed where there is no home folder to have it in."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Path(named) if Path(named).is_absolute() else Path("~/.cache").expanduser()
    except RuntimeError:
        raise StepFailed(
            "there is no home folder (HOME is not set and this user has none), so there is no place for what is kept "
            "between runs. Set XDG_CACHE_HOME to a folder that can be written."
        ) from None
