"""The cgroups below which a cluster's pods run: made before the kubelets look for them, removed at the end.

Version 1 has one tree per controller, version 2 a single one in which controllers must be handed down.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tools.progress import StepFailed

ROOT = Path("/sys/fs/cgroup")
WANTED = ("cpu", "cpuset", "memory", "pids", "hugetlb", "io")


def trees(root: Path = ROOT) -> list[Path]:
    """Return the root of every cgroup tree; beside those of version 1 there may be one of version 2."""
    if (root / "cgroup.controllers").exists():
        return [root]
    folders = (path for path in sorted(root.iterdir()) if path.is_dir() and not path.is_symlink())
    return [path for path in folders if (path / "cgroup.procs").exists()]


def create(path: str, root: Path = ROOT) -> None:
    """Make a cgroup such as `accelform-201/node-1` in every tree."""
    for tree in trees(root):
        folder = tree
        for part in Path(path).parts:
            _hand_down(folder)
            folder = folder / part
            folder.mkdir(exist_ok=True)
            # A new cpuset of version 1 is empty, and no process may enter it before it has processors and memory.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (folder / name).exists() and not (folder / name).read_text(encoding="ascii").strip():
                    (folder / name).write_bytes((folder.parent / name).read_bytes())


def remove(name: str, *, deadline_seconds: float, root: Path = ROOT) -> None:
    """Remove a cgroup and all below it, as soon as their processes are gone; raises StepFailed when one stays."""
    end = time.monotonic() + deadline_seconds
    while True:
        left = [folder for tree in trees(root) for folder in _bottom_up(tree / name) if not _removed(folder)]
        if not left:
            return
        if time.monotonic() > end:
            raise StepFailed(f"{left[0]} cannot be removed: a process is still in it (see its cgroup.procs)")
        time.sleep(0.05)


def processes(name: str, root: Path = ROOT) -> set[int]:
    """Return the process ids below a cgroup of a name, over all trees."""
    found: set[int] = set()
    for tree in trees(root):
        for folder in _bottom_up(tree / name):
            with contextlib.suppress(OSError):
                found |= {int(line) for line in (folder / "cgroup.procs").read_text(encoding="ascii").split()}
    return found


def _hand_down(folder: Path) -> None:
    if not (folder / "cgroup.controllers").exists():
        return
    have = (folder / "cgroup.controllers").read_text(encoding="ascii").split()
    for controller in WANTED:
        if controller in have:
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")


def _bottom_up(folder: Path) -> list[Path]:
    return [Path(path) for path, _, _ in os.walk(folder, topdown=False)]


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
