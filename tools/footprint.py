"""What is left on the machine after `make down`: how large it is, and the command that removes it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.folders import user_cache
from tools.progress import StepFailed, say

LOOKING_SECONDS = 3
ENVIRONMENTS = (".venv", ".venv-tensorflow", ".venv-conformance", ".venv-peers", ".venv-serving-peers")


@dataclass(frozen=True, kw_only=True)
class Left:
    """Folders that stay, what they hold, and how they go."""

    what: str
    folders: tuple[Path, ...]
    command: str


def last_words(project: Path, stack: str) -> None:
    """Say what is gone and what stays."""
    say(f"\nStack {stack} is gone: its service, what served it, and its state.")
    rows = [row for row in left(project) if any(folder.exists() for folder in row.folders)]
    if not rows:
        return
    say("What stays makes the next make up quick:")
    for row in rows:
        there = [folder for folder in row.folders if folder.exists()]
        say(
            f"  {_size(there):>8}  {row.what}: {', '.join(map(_short, there))}\n            to remove it: {row.command}"
        )


def left(project: Path, environ: Mapping[str, str] = os.environ) -> list[Left]:
    """Return what `make up` leaves by intention, below the checkout and in the user's caches."""
    rows = [
        Left(
            what="the environment",
            folders=tuple(project / name for name in ENVIRONMENTS),
            command="make clean",
        )
    ]
    with contextlib.suppress(StepFailed):
        cache = user_cache()
        tools = cache / "accelform"
        rows.append(Left(what="Pulumi's engine, for every checkout", folders=(tools,), command=_rm(tools)))
        uv = Path(environ.get("UV_CACHE_DIR") or cache / "uv")
        rows.append(Left(what="packages, shared with others that use uv", folders=(uv,), command=_rm(uv)))
        build = Path(environ.get("GOCACHE") or cache / "go-build")
        rows.append(Left(what="Go's builds, shared with your others", folders=(build,), command="go clean -cache"))
    with contextlib.suppress(RuntimeError):
        modules = Path(environ.get("GOMODCACHE") or Path(environ.get("GOPATH") or "~/go").expanduser() / "pkg" / "mod")
        rows.append(Left(what="Go's modules, shared likewise", folders=(modules,), command="go clean -modcache"))
    return rows


def _rm(folder: Path) -> str:
    return f"rm -rf {_short(folder)}"


def _short(folder: Path) -> str:
    with contextlib.suppress(ValueError, RuntimeError):
        return f"~/{folder.relative_to(Path.home())}"
    return str(folder)


def _size(folders: list[Path]) -> str:
    """Their size on disk as people say it; a folder so large that looking takes long is not measured."""
    try:
        answer = subprocess.run(
            ["du", "-sk", *map(str, folders)], capture_output=True, text=True, timeout=LOOKING_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "large"
    mebibytes = sum(int(line.split()[0]) for line in answer.stdout.splitlines() if line.split()[0].isdigit()) / 1024
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"
