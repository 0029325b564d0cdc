"""What a process and all below it use, read from /proc: processor time, memory, files, threads, sockets."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MEBIBYTE = 1024 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Census:
    """What a tree of processes holds at one moment."""

    processes: int
    threads: int
    files: int
    sockets: int
    rss_mib: float
    pss_mib: float
    """Proportional: what processes share is counted once."""


def tree(pid: int) -> list[int]:
    """`pid` and every process below it that is alive."""
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, new = [], [pid]
    while new:
        found += new
        new = [child for parent in new for child in parents.get(parent, [])]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree below `pid` so far, that of children it has waited for included."""
    ticks = 0
    for member in tree(pid):
        if fields := _stat(member):
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / TICKS


def cpu_by_process(pid: int) -> dict[str, float]:
    """Seconds of each process of the tree by its command's name and place: `0 accelform-front`, `1 python`."""
    found = {}
    for place, member in enumerate(tree(pid)):
        if fields := _stat(member):
            name = (PROC / str(member) / "comm").read_text(encoding="utf-8").strip()
            found[f"{place} {name}"] = sum(int(value) for value in fields[11:13]) / TICKS
    return found


def census(pid: int) -> Census:
    """Counts what the tree below `pid` holds; processes that end meanwhile are left out."""
    members = tree(pid)
    rolled = [_smaps(member) for member in members]
    opened = [link for member in members for link in _links(member)]
    return Census(
        processes=len(members),
        threads=sum(_entries(PROC / str(member) / "task") for member in members),
        files=len(opened),
        sockets=sum(link.startswith("socket:") for link in opened),
        rss_mib=round(sum(found.get("Rss", 0) for found in rolled) * 1024 / MEBIBYTE, 1),
        pss_mib=round(sum(found.get("Pss", 0) for found in rolled) * 1024 / MEBIBYTE, 1),
    )


def resident_bytes(pid: int) -> int:
    """Memory of one process that is in RAM, what it shares with others included; 0 when it has ended."""
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def free_port(together: int = 1) -> int:
    """A TCP port of loopback that nobody listens on, as are the `together` - 1 after it."""
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            first: int = taken.getsockname()[1]
        if all(_is_free(first + offset) for offset in range(together)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the command's name: state, parent, …; none when it has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _smaps(pid: int) -> dict[str, int]:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}


def _links(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(PROC / str(pid) / "fd")
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(PROC / str(pid) / "fd" / name)
        except OSError:
            continue


def _entries(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0
