"""Pulumi built from pinned Go modules: for machines that reach a Go module proxy but not Pulumi's release host.

Two modules, because they need different versions of one SDK: `engine/` holds the CLI at the SDK's version,
`language-host/` the newest Python language host that is published as a package of a Go module. The two host scripts
come with the engine's SDK.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from pathlib import Path

from tools.progress import say
from tools.toolchain import gobuild
from tools.toolchain.gobuild import BUILD_FLAGS, build_packages, run_go
from tools.toolchain.pins import MODULES, Version

SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
VERSION_VARIABLE = f"{SDK_MODULE}/go/common/version.Version"
HOST_SCRIPTS = ("python/dist/pulumi-resource-pulumi-python", "python/cmd/pulumi-language-python-exec")
PROGRAMS = (
    ("the Pulumi engine", "engine", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"),
    ("the Python language host", "language-host", f"{SDK_MODULE}/python/cmd/pulumi-language-python"),
)


def check_go() -> None:
    """Raise StepFailed where there is no Go that would build, or too old a one."""
    gobuild.check_go(MODULES / "engine", what="the Pulumi engine", otherwise="install Pulumi yourself")


def build_key(version: Version) -> str:
    """Return the cache key of a build: the pins, the recipe and the platform. What is built serves without any Go."""
    digest = hashlib.sha256()
    for _, folder, _ in PROGRAMS:
        for name in ("go.mod", "go.sum"):
            digest.update((MODULES / folder / name).read_bytes() + b"\0")
    recipe = (PROGRAMS, HOST_SCRIPTS, BUILD_FLAGS, _linker_flags(version))
    digest.update(f"{recipe} {platform.system()} {platform.machine()}".encode())
    return f"pulumi-{version}-go-{digest.hexdigest()[:16]}"


def build(version: Version, bin_dir: Path, lock: int) -> None:
    """Build the engine and the Python language host into `bin_dir`, with progress on standard error."""
    for title, folder, package in PROGRAMS:
        flags = _linker_flags(version)
        build_packages(title, MODULES / folder, (package,), linker_flags=flags, output=bin_dir, lock=lock)
    sdk = run_go(["list", "-m", "-f", "{{.Dir}}", SDK_MODULE], MODULES / "engine").strip()
    for script in HOST_SCRIPTS:
        target = bin_dir / Path(script).name
        shutil.copyfile(Path(sdk) / script, target)
        target.chmod(0o755)
    say(f"  built Pulumi {version}")


def _linker_flags(version: Version) -> str:
    return f"-s -w -X {VERSION_VARIABLE}=v{version}"
