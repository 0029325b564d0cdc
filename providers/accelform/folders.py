"""Folders as people mean them: what operating systems and programs leave in them is none of their content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_LEFT_BEHIND = (
    "__macosx",  # zip archives made on macOS
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eadir",  # a Synology's thumbnails
    "$recycle.bin",
    "system volume information",
    "lost+found",
)


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of that name is a system's or a program's own: hidden, a thumbnail store, a backup."""
    return name.startswith(".") or name.endswith("~") or name.casefold() in _LEFT_BEHIND


def within_left_behind(name: str) -> bool:
    """Whether a relative path is, or leads through, such a thing."""
    return any(is_left_behind(part) for part in PurePosixPath(name.replace("\\", "/")).parts)


def files_below(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Every file below a folder, in order of its name, and whether it is one of those; such folders are not entered.

    Raises:
        OSError: the folder, or one below it, can't be read.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        left = is_left_behind(entry.name)
        if entry.is_dir() and not left:
            yield from files_below(Path(entry.path))
        else:
            yield Path(entry.path), left
