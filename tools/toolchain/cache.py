"""The toolchain cache outside the tree: built or fetched once per machine, shared by all checkouts.

${XDG_CACHE_HOME:-~/.cache}/accelform/toolchain/
    lock              held while one process fills the cache
    <key>/bin/        complete, or not there at all
    partial-*/        what a killed build left; the next one removes it
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.folders import user_cache
from tools.progress import StepFailed, in_words, say

EXECUTABLES = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")


def cache_root() -> Path:
    """Return the folder that holds every toolchain of this user."""
    return user_cache() / "accelform" / "toolchain"


def complete(bin_dir: Path, executables: Sequence[str] = EXECUTABLES) -> bool:
    """Tell whether a folder holds all executables; by default the engine, the Python language host and its scripts."""
    return all(os.access(bin_dir / name, os.X_OK) for name in executables)


def install_executables(root: Path, key: str, fill: Callable[[Path], None], executables: Sequence[str]) -> Path:
    """Fill `<key>/bin`, and keep it only with all of its executables. Call with the lock held; returns `<key>/bin`."""

    def make(partial: Path) -> None:
        (partial / "bin").mkdir()
        fill(partial / "bin")

    return install(root, key, make, lambda partial: complete(partial / "bin", executables)) / "bin"


@contextmanager
def locked(root: Path) -> Iterator[int]:
    """Hold the cache's lock; a second caller waits and is told for whom. Yields the lock's file descriptor."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StepFailed(in_words(error)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            say(f"  another process ({owner}) is filling {root}; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def install(root: Path, key: str, fill: Callable[[Path], None], is_complete: Callable[[Path], bool]) -> Path:
    """Fill a new folder and give it its name only when it is complete. Call with the lock held; returns `<root>/<key>`.

    What a killed earlier call left is removed first.
    """
    for leftover in root.glob("partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=root))
    try:
        fill(partial)
        if not is_complete(partial):
            raise AssertionError(f"the step that fills {root / key} left it incomplete")
        shutil.rmtree(root / key, ignore_errors=True)
        partial.chmod(0o755)
        partial.rename(root / key)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root / key
