"""Processes of a box, found by their command line and not by a remembered id, which may be someone else's by now."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SERVER_MODULE = "accelform_runtime.server"
FRONT = "accelform-front"
"""How a server calls itself once it listens: `python -m accelform_runtime.server` becomes this program, with the same
process id and the same arguments."""
WORKER_MODULE = "accelform_runtime.worker"
WORKER_SECONDS = 2.0
"""How long a worker may outlive its server."""
SUPERVISOR_MODULE = "supervisor.supervisord"


def wait_for(condition: Callable[[], bool], *, timeout_seconds: float, interval_seconds: float = 0.05) -> bool:
    """Whether `condition` came true before the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_seconds)
    return True


def servers(folder: Path) -> list[int]:
    """Ids of the server processes whose settings lie below `folder`."""
    prefix = f"{folder}{os.sep}"
    return [pid for pid, words in _servers() if any(word.startswith(prefix) for word in words)]


def workers(folder: Path) -> list[int]:
    """Ids of the processes that compute models from below `folder`, which their environment tells.

    They end with their server, however that ends; this finds those that are still about to. Only where there is /proc.
    """
    beginning = os.fsencode(f"PYTHONPATH={folder}{os.sep}")
    found = []
    for pid, _ in _running(lambda words: _runs_module(words, WORKER_MODULE)):
        with contextlib.suppress(OSError):
            if any(row.startswith(beginning) for row in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                found.append(pid)
    return found


def server_settings() -> list[Path]:
    """The settings files of all of this user's server processes, on whichever box."""
    found = (words[words.index("--config") + 1 :][:1] for _, words in _servers() if "--config" in words)
    return [Path(path) for rest in found for path in rest]


def supervisors(config: Path) -> list[int]:
    """Ids of the supervisors that run with `config`."""
    running = _running(lambda words: _runs_module(words, SUPERVISOR_MODULE))
    return [pid for pid, words in running if str(config) in words]


def stop(find: Callable[[], list[int]], *, grace_seconds: float) -> None:
    """Ends all that `find` names: SIGTERM, then SIGKILL to what is left after `grace_seconds`."""
    _signal(find(), signal.SIGTERM)
    if not wait_for(lambda: not find(), timeout_seconds=grace_seconds):
        _signal(find(), signal.SIGKILL)
        wait_for(lambda: not find(), timeout_seconds=10)


def stop_servers(folder: Path, *, grace_seconds: float) -> None:
    """Ends the servers whose settings lie below `folder`, and makes sure that their workers went with them."""
    stop(lambda: servers(folder), grace_seconds=grace_seconds)
    if not wait_for(lambda: not workers(folder), timeout_seconds=WORKER_SECONDS):
        _signal(workers(folder), signal.SIGKILL)
        wait_for(lambda: not workers(folder), timeout_seconds=10)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _servers() -> Iterator[tuple[int, list[str]]]:
    return _running(lambda words: words[0] == FRONT or _runs_module(words, SERVER_MODULE))


def _runs_module(words: list[str], module: str) -> bool:
    """Whether a command line is Python's `-m module`."""
    return module in words and words[words.index(module) - 1] == "-m"


def _running(wanted: Callable[[list[str]], bool]) -> Iterator[tuple[int, list[str]]]:
    """This user's other processes whose command line is wanted, with their words; zombies don't count."""
    source = _from_proc if Path("/proc/self/cmdline").exists() else _from_ps
    return ((pid, words) for pid, words in source() if pid != os.getpid() and wanted(words))


def _from_proc() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == os.getuid():  # a zombie's command line is empty, so it is skipped
                    yield int(entry.name), os.fsdecode((entry / "cmdline").read_bytes()).split("\0")


def _from_ps() -> Iterator[tuple[int, list[str]]]:
    listing = subprocess.run(
        ["ps", "-x", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True, timeout=30
    )
    for line in listing.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command.split(" ")
