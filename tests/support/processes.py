"""Processes that belong to a test's folder, by command line or by working directory."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def processes_below(folder: Path) -> Iterator[tuple[int, str]]:
    """Id and command line of each other process that runs in `folder` or names it; zombies have neither."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            if str(folder) in command or os.readlink(entry / "cwd").startswith(str(folder)):
                yield int(entry.name), command


def kill_everything_below(folder: Path) -> None:
    """Ends what a test left behind when what it tests was killed."""
    for pid, _ in processes_below(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
