"""What a cluster leaves and how it is taken away: by marks on processes, cgroups, mounts, and its folder.

Nothing here needs what an earlier start knew: it works after a `kill -9` of any part.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cluster import cgroups
from tools.cluster.layout import Layout
from tools.cluster.network import disconnect
from tools.cluster.program import FOLDER_VARIABLE, NAME_VARIABLE
from tools.progress import StepFailed
from tools.samefile import is_still_at

GONE_SECONDS = 30.0
# All that a cluster has in its folder.
OWN_NAMES = (
    "cluster.json",
    "cluster.json.new",
    "etcd",
    "keeper-failed",
    "keeper-ready",
    "kubeconfig",
    "log",
    "nodes",
    "pki",
    "programs",
    "registries",
    "registry",
    "started",
)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the cluster of a folder. The lock is the folder: it leaves no file."""
    while True:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, FileExistsError):
            if os.path.lexists(folder) and not folder.is_dir():
                raise
            continue  # whoever had it removed it just now
        try:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise StepFailed(f"{folder} belongs to another user; give another folder with --folder")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever had it before may have removed the folder.
            if is_still_at(folder, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def processes(folder: Path) -> dict[int, str]:
    """Return the cluster's processes, as this machine numbers them, with their names; containers are not among them."""
    mark = f"{FOLDER_VARIABLE}={folder}".encode()
    name_mark = f"{NAME_VARIABLE}=".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0")
            if mark in variables and int(entry.name) != os.getpid():
                names = [v.removeprefix(name_mark).decode() for v in variables if v.startswith(name_mark)]
                found[int(entry.name)] = names[0] if names else "?"
    return found


def clean(folder: Path) -> None:
    """End and remove all that a cluster in this folder has or left; the folder itself, which is our lock, stays.

    Raises StepFailed, and names it, when something cannot be removed, and before anything is touched when the folder
    was never a cluster's.
    """
    layout = Layout.load(folder)
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in OWN_NAMES)
    if foreign and not (folder / "cluster.json").exists():
        raise StepFailed(f"{folder} is no cluster's folder: {foreign[0]} is in it; give an empty or a new one")
    _end(folder, layout)
    if layout is not None:
        disconnect(layout)
        cgroups.remove(layout.cgroup, deadline_seconds=GONE_SECONDS)
    mounted = mounts_below(folder)
    if mounted:
        raise StepFailed(f"{mounted[0]} is still mounted, so {folder} is not removed: umount it, then stop again")
    for name in OWN_NAMES:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Clean a folder, and remove it when nothing else is in it. What was its lock is gone then."""
    clean(folder)
    with contextlib.suppress(OSError):
        folder.rmdir()


def mounts_below(folder: Path) -> list[str]:
    """Return the mount points below a folder, as this process sees them."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if Path(point).is_relative_to(folder):
            found.append(point)
    return sorted(found, reverse=True)


def _end(folder: Path, layout: Layout | None) -> None:
    """Kill until nothing is left: the first process takes its whole process namespace with it, containers included."""

    def left() -> set[int]:
        found = set(processes(folder))
        return found | (cgroups.processes(layout.cgroup) if layout is not None else set())

    end = time.monotonic() + GONE_SECONDS
    while pids := left():
        for pid in sorted(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise StepFailed(f"processes of {folder} do not end: {', '.join(map(str, sorted(pids)))}")
        time.sleep(0.05)
