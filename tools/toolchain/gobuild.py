"""Programs built from pinned Go modules, with progress: static, trimmed, and only from what go.sum names."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.progress import StepFailed, run_counted
from tools.sources import PROJECT, compiling

PACKAGE_LINE = re.compile(r"[\w.~-]+(/[\w.~+-]+)*\n")
BUILD_FLAGS = ("-trimpath",)


@functools.cache
def go_environment() -> Mapping[str, str]:
    """Return the environment of every go command: the front's, without this user's settings but for their origins.

    Raises StepFailed where Go cannot work.
    """
    shared = compiling(PROJECT)
    try:
        environment: Mapping[str, str] = shared.build_module("front").environment()
    except shared.BuildFailed as error:
        raise StepFailed(str(error)) from error
    return environment


def needed_go(module: Path) -> str:
    """Return the Go version that a pinned module asks for, such as `1.26.0`."""
    match = re.search(r"^go (\S+)$", (module / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return match[1]


def check_go(module: Path, *, what: str, otherwise: str) -> None:
    """Raise StepFailed where there is no Go that can build a module, or too old a one.

    `what` cannot be built then; `otherwise` says what to do when Go is not wanted.
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


def build_packages(
    title: str, module: Path, packages: Sequence[str], *, linker_flags: str, output: Path, lock: int
) -> None:
    """Build main packages of a module into a folder (or, a single one, into a file), with progress.

    `output` is a folder when it exists; `lock` is a file descriptor that go inherits, so that it outlives us.
    """
    target = f"{output}/" if output.is_dir() else str(output)
    command = ["go", "build", "-v", *BUILD_FLAGS, "-ldflags", linker_flags, "-o", target, *packages]
    build_counted(title, module, packages, command=command, environment=go_environment(), lock=lock)


def build_counted(
    title: str,
    module: Path,
    packages: Sequence[str],
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    lock: int,
) -> None:
    """Run a `go build -v` of some packages, after fetching what they need, both with progress."""
    run_counted(
        ["go", "list", "-deps", *packages],
        describe=lambda count: f"{title}: {count} pinned modules fetched",
        counts=lambda line: line.startswith("go: downloading "),
        cwd=module,
        environment=environment,
        keep_open=(lock,),
    )
    total = len(run_go(["list", "-deps", *packages], module).splitlines())
    run_counted(
        command,
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
