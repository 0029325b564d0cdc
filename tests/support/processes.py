"""Processes that a test may leave behind when what it tests is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def kill_everything_below(folder: Path) -> None:
    """Kills each process whose command line or working directory lies in `folder`."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(folder) in command or cwd.startswith(str(folder)):
            try:
                os.kill(int(entry.name), signal.SIGKILL)
            except ProcessLookupError:
                continue
