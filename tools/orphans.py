"""What a killed `pulumi` leaves running: plugins and programs that wait for an engine that is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

ENGINE = "pulumi"
PLUGINS = ("pulumi-language-", "pulumi-resource-")
PROVIDER_MODULE = "pulumi.dynamic"


def end_orphans(project: Path) -> int:
    """End this user's plugins that lost their engine while they worked on a project's stacks; returns how many.

    Looks in /proc; where there is none, nothing is ended.
    """
    ended = 0
    for process in orphans(project):
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGTERM)
            ended += 1
    return ended


def orphans(project: Path) -> Iterator[int]:
    """Find the processes that are plugins, belong to the project, and have no engine above them."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if _is_plugin(entry) and _belongs_to(entry, project) and not _has_engine(int(entry.name)):
                yield int(entry.name)


def running_below(folder: Path) -> list[tuple[int, str]]:
    """Return id and command of each process that works in a folder, by where it is and not by what it was called."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append((int(entry.name), " ".join(_command(entry)[:4])))
    return sorted(found)


def _command(entry: Path) -> list[str]:
    return [os.fsdecode(word) for word in (entry / "cmdline").read_bytes().split(b"\0") if word]


def _is_plugin(entry: Path) -> bool:
    # A script's name is its second word: `/bin/sh /.../pulumi-resource-pulumi-python`.
    command = _command(entry)
    names = [Path(word).name for word in command[:3]]
    return any(name.startswith(PLUGINS) for name in names) or PROVIDER_MODULE in command


def _belongs_to(entry: Path, project: Path) -> bool:
    if Path(os.readlink(entry / "cwd")).is_relative_to(project):
        return True
    home = f"PULUMI_HOME={project}{os.sep}".encode()
    return any(line.startswith(home) for line in (entry / "environ").read_bytes().split(b"\0"))


def _has_engine(process: int) -> bool:
    """Whether an engine is among a process's ancestors."""
    while process > 1:
        # "pid (name) state parent ...": the name may hold blanks and brackets itself.
        before, _, rest = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(") ")
        if before.partition("(")[2] == ENGINE:
            return True
        process = int(rest.split()[1])
    return False
