"""Pulumi built from pinned Go modules: for machines that reach a Go module proxy but not Pulumi's release host.

Two modules, because they need different versions of one SDK: `engine/` holds the CLI at the SDK's version,
`language-host/` the newest Python language host that is published as a package of a Go module. The two host scripts
come with the engine's SDK.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.progress import StepFailed, run_counted, say
from tools.toolchain.pins import MODULES, Version

SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
VERSION_VARIABLE = f"{SDK_MODULE}/go/common/version.Version"
PACKAGE_LINE = re.compile(r"[\w.~-]+(/[\w.~+-]+)*\n")
BUILD_FLAGS = ("-trimpath",)
HOST_SCRIPTS = ("python/dist/pulumi-resource-pulumi-python", "python/cmd/pulumi-language-python-exec")
PROGRAMS = (
    ("the Pulumi engine", "engine", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"),
    ("the Python language host", "language-host", f"{SDK_MODULE}/python/cmd/pulumi-language-python"),
)


def go_environment() -> Mapping[str, str]:
    """Return the environment of every go command: static binaries, pinned modules only, the user's own caches."""
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


def needed_go() -> str:
    """Return the Go version that the pinned modules ask for, such as `1.26.0`."""
    match = re.search(r"^go (\S+)$", (MODULES / "engine" / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return match[1]


def go_version() -> str:
    """Return the version of the Go that would build, such as `go1.26.1`; raises StepFailed when it is too old."""
    needed = needed_go()
    advice = (
        f"Install Go {needed} or newer from https://go.dev/dl/ (no root needed: unpack it and put its bin on PATH), "
        "or install Pulumi yourself; then run the command again."
    )
    if shutil.which("go") is None:
        raise StepFailed(f"Building the Pulumi engine needs Go, and there is no `go` on PATH. {advice}")
    answer = subprocess.run(
        ["go", "env", "GOVERSION"],
        cwd=MODULES / "engine",
        env=go_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    version = answer.stdout.strip()
    if answer.returncode != 0 or _numbers(version) < _numbers(needed):
        found = version or answer.stderr.strip()
        raise StepFailed(f"Building the Pulumi engine needs Go {needed} or newer; found: {found}. {advice}")
    return version


def build_key(version: Version, go: str) -> str:
    """Return the cache key of a build: the pins, the recipe, the Go release and the platform."""
    digest = hashlib.sha256()
    for _, folder, _ in PROGRAMS:
        for name in ("go.mod", "go.sum"):
            digest.update((MODULES / folder / name).read_bytes() + b"\0")
    recipe = (PROGRAMS, HOST_SCRIPTS, BUILD_FLAGS, _linker_flags(version))
    digest.update(f"{recipe} {go} {platform.system()} {platform.machine()}".encode())
    return f"pulumi-{version}-go-{digest.hexdigest()[:16]}"


def build(version: Version, bin_dir: Path, lock: int) -> None:
    """Build the engine and the Python language host into `bin_dir`, with progress on standard error."""
    environment = go_environment()
    for program in PROGRAMS:
        _build_program(*program, version=version, bin_dir=bin_dir, environment=environment, lock=lock)
    sdk = _go(["list", "-m", "-f", "{{.Dir}}", SDK_MODULE], MODULES / "engine", environment).strip()
    for script in HOST_SCRIPTS:
        target = bin_dir / Path(script).name
        shutil.copyfile(Path(sdk) / script, target)
        target.chmod(0o755)
    say(f"  built Pulumi {version}")


def _build_program(
    title: str, folder: str, package: str, *, version: Version, bin_dir: Path, environment: Mapping[str, str], lock: int
) -> None:
    module = MODULES / folder
    run_counted(
        ["go", "list", "-deps", package],
        describe=lambda count: f"{title}: {count} pinned modules fetched",
        counts=lambda line: line.startswith("go: downloading "),
        cwd=module,
        environment=environment,
        keep_open=(lock,),
    )
    total = len(_go(["list", "-deps", package], module, environment).splitlines())
    run_counted(
        ["go", "build", "-v", *BUILD_FLAGS, "-ldflags", _linker_flags(version), "-o", f"{bin_dir}/", package],
        describe=lambda count: f"building {title}: {count} of {total} packages",
        counts=lambda line: PACKAGE_LINE.fullmatch(line) is not None,
        cwd=module,
        environment=environment,
        keep_open=(lock,),
    )


def _linker_flags(version: Version) -> str:
    return f"-s -w -X {VERSION_VARIABLE}=v{version}"


def _go(arguments: list[str], module: Path, environment: Mapping[str, str]) -> str:
    answer = subprocess.run(
        ["go", *arguments], cwd=module, env=dict(environment), capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise StepFailed(f"go {' '.join(arguments)} failed in {module}: {answer.stderr.strip()}")
    return answer.stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
