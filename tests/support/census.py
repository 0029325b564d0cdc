"""What the system says of a process: its children, files, threads, sockets, memory and processor time."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclasses.dataclass(frozen=True)
class Census:
    """What one process holds."""

    files: int
    sockets: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Census:
        """Counts at this moment."""
        links = []
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(entry))
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return cls(len(links), sum(link.startswith("socket:") for link in links), threads)


def children(pid: int) -> list[int]:
    """Processes that `pid` has started and that still run; no zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = _stat(int(entry.name))[:2]
                if int(parent) == pid and state != "Z":
                    found.append(int(entry.name))
    return found


def worker_of(service: Any, eventually: Callable[..., Any], *, other_than: int = 0) -> int:
    """The process of the server's model, also one that still loads; `other_than` is one that is gone or going."""

    def look() -> int:
        # Before its exec a child shares the front's memory: to stop it there would stop the front.
        found = [pid for pid in children(service.process.pid) if pid != other_than and _is_worker(pid)]
        return found[0] if len(found) == 1 else 0

    return int(eventually(look, "one worker"))


def is_gone(pid: int) -> bool:
    """Whether no such process runs any more; a zombie does not."""
    try:
        return _stat(pid)[0] == "Z"
    except OSError:
        return True


def cpu_seconds(pid: int) -> float:
    """Processor time that the process has used, all threads together."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_kib(pid: int) -> int:
    """Memory that the process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_KIB


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"accelform_runtime.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the name before them may have any characters."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
