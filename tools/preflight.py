"""What `make up` needs from the machine, looked at in a second and told all at once, before anything is installed."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import shutil
import socket
import sys
from pathlib import Path

from tools import parts
from tools.folders import usable, user_cache
from tools.made import STATE_FOLDER
from tools.orphans import running_below
from tools.progress import StepFailed, say
from tools.stackfile import is_in_cluster, port_of, stack_file
from tools.toolchain.__main__ import find_pulumi
from tools.venv import is_current

# The environment has 0.5 GB, Go's caches of the engine and the front 2 GB.
NEEDED_BYTES = 3 << 30
SPARE_BYTES = 200 << 20


def check(project: Path, stack: str, *, deploys: bool) -> None:
    """Raise StepFailed with everything that is missing; say what is only slower.

    `deploys` tells that the stack is about to be made, and so needs its port.
    """
    problems = [*_places(project), *_programs(project)]
    if not problems:
        problems = _space(project)
    file = stack_file(project, stack)
    if deploys and not is_in_cluster(file):
        problems += _port(file, stack)
    if problems:
        raise StepFailed("this machine is not ready:\n" + "\n".join(f"  - {problem}" for problem in problems))


def _places(project: Path) -> list[str]:
    problems = []
    for folder in (project, project / STATE_FOLDER):
        if not _writable(folder):
            return [f"{folder} cannot be written; work in a clone that can be (a copy of this one will do)"]
    if find_pulumi() is None:
        try:
            cache = user_cache()
            if not usable(cache / "accelform"):
                problems.append(
                    f"{cache}/accelform cannot be written, where Pulumi's engine is kept; set XDG_CACHE_HOME to a "
                    "folder that can be"
                )
        except StepFailed as failure:
            problems.append(str(failure))
    return problems


def _writable(folder: Path) -> bool:
    made = not folder.exists()
    good = usable(folder)
    if made and good:
        with contextlib.suppress(OSError):
            folder.rmdir()
    return good


def _programs(project: Path) -> list[str]:
    problems = []
    if not (project / ".venv" / "bin" / "pip").exists() and importlib.util.find_spec("ensurepip") is None:
        problems.append(
            f"{sys.executable} cannot make virtual environments: its ensurepip is missing (on Debian and Ubuntu it is "
            "in the package python3-venv); install that, or name another Python: make PYTHON=/path/to/python3.11 ..."
        )
    if not parts.front_is_current(project):
        try:
            parts.check_go(project)
        except StepFailed as failure:
            problems.append(str(failure))
    if not parts.native_is_current(project) and not parts.has_c_compiler(project):
        say(f"  note: {parts.WITHOUT_C}; install one and run make up again")
    return problems


def _space(project: Path) -> list[str]:
    complete = is_current(project) and parts.front_is_current(project) and find_pulumi() is not None
    needed = SPARE_BYTES if complete else NEEDED_BYTES
    problems = []
    places = [project]
    with contextlib.suppress(StepFailed):
        places.append(user_cache())
    seen = set()
    for place in places:
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        device = there.stat().st_dev
        if device not in seen and (free := shutil.disk_usage(there).free) < needed:
            problems.append(f"{there} has {free / 2**30:.1f} GiB free, and {needed / 2**30:.1f} GiB are needed")
        seen.add(device)
    return problems


def _port(file: Path, stack: str) -> list[str]:
    port = port_of(file)
    with socket.socket() as probe:
        # As servers do: a port whose last connections are only just over is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return []
            ours = running_below(file.parents[1] / STATE_FOLDER)
            holder = f"what still runs here (pid {ours[0][0]}, {ours[0][1]})" if ours else "another program"
            return [
                f"port {port}, where stack {stack} would listen, is taken by {holder} (ss -ltnp 'sport = "
                f':{port}\' names it); end that, or add `accelform:port: "50061"` to the config of '
                f"{file}"
            ]
    return []
