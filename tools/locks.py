"""Locks that a killed `pulumi` left on the file backend: found, judged, and only then cancelled."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class StackLock:
    """Who holds a stack, as the lock file on the backend says."""

    process: int
    host: str
    user: str
    since: str

    def holder_is_gone(self) -> bool:
        """Tell whether the process that took the lock ran on this host and runs no more; unsure means False."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return not _is_pulumi(self.process)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}, pid {self.process}, since {self.since}"


def stack_locks(backend: Path, *, stack: str, project: str) -> list[StackLock]:
    """Return the locks on one stack of a file backend; a file that vanishes or is half-written is passed over."""
    locks = []
    for path in sorted((backend / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            locks.append(
                StackLock(
                    process=int(content["pid"]),
                    host=str(content["hostname"]),
                    user=str(content["username"]),
                    since=str(content["timestamp"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return locks


def _is_pulumi(process: int) -> bool:
    """Tell whether a number belongs to a running Pulumi: it may be a dead one nobody reaped, or another program's."""
    try:
        # "pid (name) state ...": the name may hold blanks and brackets itself.
        _, _, rest = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").partition("(")
    except OSError:
        return not Path("/proc/self/stat").exists()
    name, _, state = rest.rpartition(") ")
    return "pulumi" in name and state[:1] not in "ZX"
