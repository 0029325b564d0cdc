"""What a killed `pulumi` leaves running: its language hosts, which wait for an engine that is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

LANGUAGE_HOST = "pulumi-language"


def end_orphans(program: Path) -> int:
    """End this user's language hosts that lost their engine while working on `program`; returns how many.

    Looks in /proc; where there is none, nothing is ended.
    """
    ended = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            if not _is_host_of(entry, program) or _parent(entry) != 1:
                continue
            os.kill(int(entry.name), signal.SIGTERM)
            ended += 1
    return ended


def _is_host_of(entry: Path, program: Path) -> bool:
    command = Path(os.fsdecode((entry / "cmdline").read_bytes().split(b"\0")[0])).name
    return command.startswith(LANGUAGE_HOST) and Path(os.readlink(entry / "cwd")) == program


def _parent(entry: Path) -> int:
    return int((entry / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()[1])
