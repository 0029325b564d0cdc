"""Programs built from pinned Go modules, with progress: static, trimmed, and only from what go.sum names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.progress import StepFailed, run_counted

PACKAGE_LINE = re.compile(r"[\w.~-]+(/[\w.~+-]+)*\n")
BUILD_FLAGS = ("-trimpath",)


def go_environment() -> Mapping[str, str]:
    """Return the environment of every go command: static binaries, pinned modules only, the user's own caches."""
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


def needed_go(module: Path) -> str:
    """Return the Go version that a pinned module asks for, such as `1.26.0`."""
    match = re.search(r"^go (\S+)$", (module / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return match[1]


def go_version(module: Path, *, what: str, otherwise: str) -> str:
    """Return the version of the Go that would build a module, such as `go1.26.1`.

    Raises StepFailed when it is too old: `what` cannot be built; `otherwise` says what to do when Go is not wanted.
    """
    needed = needed_go(module)
    advice = (
        f"Install Go {needed} or newer from https://go.dev/dl/ (no root needed: unpack it and put its bin on PATH), "
        f"or {otherwise}; then run the command again."
    )
    if shutil.which("go") is None:
        raise StepFailed(f"Building {what} needs Go, and there is no `go` on PATH. {advice}")
    answer = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=module, env=go_environment(), capture_output=True, text=True, check=False
    )
    version = answer.stdout.strip()
    if answer.returncode != 0 or _numbers(version) < _numbers(needed):
        found = version or answer.stderr.strip()
        raise StepFailed(f"Building {what} needs Go {needed} or newer; found: {found}. {advice}")
    return version


def build_packages(
    title: str, module: Path, packages: Sequence[str], *, linker_flags: str, output: Path, lock: int
) -> None:
    """Build main packages of a module into a folder (or, a single one, into a file), with progress.

    `output` is a folder when it exists; `lock` is a file descriptor that go inherits, so that it outlives us.
    """
    environment = go_environment()
    run_counted(
        ["go", "list", "-deps", *packages],
        describe=lambda count: f"{title}: {count} pinned modules fetched",
        counts=lambda line: line.startswith("go: downloading "),
        cwd=module,
        environment=environment,
        keep_open=(lock,),
    )
    total = len(run_go(["list", "-deps", *packages], module).splitlines())
    target = f"{output}/" if output.is_dir() else str(output)
    run_counted(
        ["go", "build", "-v", *BUILD_FLAGS, "-ldflags", linker_flags, "-o", target, *packages],
        describe=lambda count: f"building {title}: {count} of {total} packages",
        counts=lambda line: PACKAGE_LINE.fullmatch(line) is not None,
        cwd=module,
        environment=environment,
        keep_open=(lock,),
    )


def run_go(arguments: list[str], module: Path) -> str:
    """Run a go command in a module and return what it prints; raises StepFailed with its errors."""
    answer = subprocess.run(
        ["go", *arguments], cwd=module, env=go_environment(), capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise StepFailed(f"go {' '.join(arguments)} failed in {module}: {answer.stderr.strip()}")
    return answer.stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
