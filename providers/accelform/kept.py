"""What was found out about files, kept between previews: small JSON files, so that nothing in them can be executed.

One deployment asks for the same source in several RPCs, and the next preview asks again. What is kept names who read
it: another version of this code, of onnx or of onnxruntime finds nothing and reads again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelform import project
from accelform.errors import UserError
from accelform_runtime.atomic import replace_text

FOLDER_VARIABLE = "ACCELFORM_IMPORTS"
PREFIX, SUFFIX = "kept-", ".json"
MAX_KEPT = 300
MAX_KEPT_BYTES = 64 << 20
STALE_SECONDS = 3600
SETTLED_SECONDS = 2.0
"""The coarsest clock of a file system in use (FAT's)."""

READERS = (
    "accelform.sources",
    "accelform.featurizers",
    "accelform.topology",
    "accelform.conversion",
    "accelform_runtime",
)
"""Packages whose code decides what a source is read as."""


def imports_folder() -> Path:
    """Where imports are kept: `ACCELFORM_IMPORTS`, the project's `.accelform/imports`, or the user's cache."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    try:
        return project.root() / ".accelform" / "imports"
    except UserError:
        return _cache() / "imports"


def kept_folder() -> Path:
    """Where this is kept: `ACCELFORM_IMPORTS`, or the user's cache, for a preview leaves nothing in a project."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else _cache() / "read"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accelform"


def private_folder(path: Path) -> Path:
    """The folder, made for this user alone if it is not there."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def seen(path: Path) -> list[Any]:
    """What changes whenever a file's or folder's content does: real path, device, inode, type, size, times (ns)."""
    found = path.stat()
    return [
        os.path.realpath(path),
        found.st_dev,
        found.st_ino,
        stat.S_IFMT(found.st_mode),
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    ]


def settled(rows: Iterable[Sequence[Any]], *, since: float) -> bool:
    """Whether what was `seen` last changed well before `since`, when reading it began (seconds since 1970).

    Else a clock that ticks coarsely could show the next change as none.
    """
    return all(max(row[-2:]) / 1e9 < since - SETTLED_SECONDS for row in rows)


def recall(kind: str, *key: Any) -> Any:
    """What was kept under `kind` and `key` (plain data), or None."""
    path = _file(kind, key)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None  # somebody else's word
            found = json.load(file)
        os.utime(path)
    except (OSError, ValueError, RecursionError):
        return None
    return found


def remember(kind: str, *key: Any, found: Any) -> None:
    """Keeps plain data, whole or not at all; where that can't be, the next one reads again."""
    with contextlib.suppress(OSError):
        folder = private_folder(kept_folder())
        replace_text(_file(kind, key), json.dumps(found), mode=0o600)
        _prune(folder)


def _file(kind: str, key: Sequence[Any]) -> Path:
    named = json.dumps([_reader(), kind, *key], sort_keys=True)
    return kept_folder() / f"{PREFIX}{hashlib.sha256(named.encode()).hexdigest()[:32]}{SUFFIX}"


@functools.cache
def _reader() -> str:
    """Who reads: the code, by sizes and times of its files, and the libraries that judge a network."""
    lines = [f"{name} {version(name)}" for name in ("onnx", "onnxruntime")]
    for package in READERS:
        spec = find_spec(package)
        for root in (spec.submodule_search_locations or ()) if spec is not None else ():
            lines += sorted(_modules(root))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _modules(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                found = entry.stat()
                yield f"{entry.path} {found.st_size} {found.st_mtime_ns}"
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _modules(entry.path)


def _prune(folder: Path) -> None:
    """Removes the longest unused over the limits, and what killed writers left."""
    kept: list[tuple[float, int, Path]] = []
    for path in folder.glob(f"*{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = path.stat()
            if not path.name.startswith("."):
                kept.append((found.st_mtime, found.st_size, path))
            elif time.time() - found.st_mtime > STALE_SECONDS:
                path.unlink(missing_ok=True)
    total = 0
    for count, (_, size, path) in enumerate(sorted(kept, reverse=True)):
        total += size
        if count >= MAX_KEPT or total > MAX_KEPT_BYTES:
            path.unlink(missing_ok=True)
