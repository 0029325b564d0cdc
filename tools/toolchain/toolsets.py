"""What the cluster ring needs beside Pulumi: Kubernetes, Pulumi's plugin for it, and kwok, from pinned Go modules.

Each lies in a cache of its own below Pulumi's, with the same rules: a key from the pins, the recipe and the
platform; a lock; complete or not there at all. Nothing of it is touched by a stack that has no cluster.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.progress import StepFailed, elapsed, say
from tools.sources import PROJECT
from tools.toolchain.cache import cache_root, complete, install_executables, locked
from tools.toolchain.gobuild import BUILD_FLAGS, build_packages, check_go
from tools.toolchain.pins import MODULES


@dataclass(frozen=True, kw_only=True)
class Toolset:
    """Programs that are built together from one pinned module."""

    name: str
    title: str
    packages: tuple[str, ...]
    executables: tuple[str, ...]
    # The module whose version in go.mod is the programs', or "" for the plugin, whose version is its SDK's.
    version_module: str
    # `{version}` is replaced, such as 1.34.2, and `{minor}`, such as 34.
    linker_flags: str
    # As measured on 2 cores, to tell how long it will take.
    minutes: int
    # Names a folder that has the programs already.
    variable: str

    @property
    def module(self) -> Path:
        """The folder with go.mod and go.sum."""
        return MODULES / self.name

    def version(self) -> str:
        """Return the pinned version, such as `1.34.2`."""
        if self.version_module:
            text, pattern = (self.module / "go.mod").read_text(encoding="utf-8"), rf"\s{self.version_module} v([\d.]+)"
        else:
            text, pattern = (PROJECT / "pyproject.toml").read_text(encoding="utf-8"), r'"pulumi-kubernetes==([\d.]+)"'
        match = re.search(pattern, text)
        if match is None:
            raise StepFailed(f"no version of {self.title} is pinned; restore the line that {pattern!r} finds")
        return match[1]

    def key(self) -> str:
        """Return the cache key of a build, which serves without any Go."""
        digest = hashlib.sha256()
        for file in sorted(self.module.glob("*.*")):
            digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
        recipe = (self.packages, self.executables, BUILD_FLAGS, self._flags())
        digest.update(f"{recipe} {platform.system()} {platform.machine()}".encode())
        return f"{self.version()}-go-{digest.hexdigest()[:16]}"

    def build(self, bin_dir: Path, lock: int) -> None:
        """Build all programs into `bin_dir`, with progress on standard error."""
        # A main package in the module's own folder is named by us, all others by their folder.
        output = bin_dir / self.executables[0] if self.packages == (".",) else bin_dir
        build_packages(self.title, self.module, self.packages, linker_flags=self._flags(), output=output, lock=lock)

    def _flags(self) -> str:
        version = self.version()
        return "-s -w " + self.linker_flags.format(version=version, minor=version.split(".")[1])


COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
VERSION_PACKAGE = "k8s.io/component-base/version"
KUBERNETES = Toolset(
    name="kubernetes",
    title="Kubernetes",
    packages=tuple(f"k8s.io/kubernetes/cmd/{name}" for name in COMPONENTS),
    executables=COMPONENTS,
    version_module="k8s.io/kubernetes",
    linker_flags=(
        f"-X {VERSION_PACKAGE}.gitVersion=v{{version}} -X {VERSION_PACKAGE}.gitMajor=1 "
        f"-X {VERSION_PACKAGE}.gitMinor={{minor}}"
    ),
    minutes=5,
    variable="ACCELFORM_KUBERNETES_BIN",
)
PLUGIN = Toolset(
    name="kubernetes-plugin",
    title="Pulumi's Kubernetes plugin",
    packages=(".",),
    executables=("pulumi-resource-kubernetes",),
    version_module="",
    linker_flags="-X main.version={version}",
    minutes=7,
    variable="ACCELFORM_KUBERNETES_PLUGIN_BIN",
)
KWOK = Toolset(
    name="kwok",
    title="kwok",
    packages=("sigs.k8s.io/kwok/cmd/kwok",),
    executables=("kwok",),
    version_module="sigs.k8s.io/kwok",
    linker_flags="",
    minutes=2,
    variable="ACCELFORM_KWOK_BIN",
)
TOOLSETS: Sequence[Toolset] = (KUBERNETES, PLUGIN, KWOK)


def cached(toolset: Toolset) -> Path | None:
    """Return the folder with a toolset's programs when it needs no building, else None.

    Raises StepFailed when a variable names a folder that lacks them.
    """
    given = os.environ.get(toolset.variable)
    if given:
        return _given(toolset, Path(given))
    folder = cache_root() / toolset.name / toolset.key() / "bin"
    return folder if complete(folder, toolset.executables) else None


def ensure(toolset: Toolset) -> Path:
    """Return the folder with a toolset's programs, after building them when needed.

    Raises StepFailed with what to do next.
    """
    found = cached(toolset)
    if found is not None:
        return found
    root = cache_root() / toolset.name
    key = toolset.key()
    _check_go(toolset)
    with locked(root) as lock:
        if complete(root / key / "bin", toolset.executables):
            return root / key / "bin"
        started = time.monotonic()
        say(
            f"  building {toolset.title} {toolset.version()} from pinned Go modules, once per machine "
            f"(about {toolset.minutes} minutes on 2 cores)"
        )
        folder = install_executables(root, key, lambda target: toolset.build(target, lock), toolset.executables)
        say(f"  {toolset.title} {toolset.version()} is in {folder} ({elapsed(time.monotonic() - started)})")
    return folder


def _check_go(toolset: Toolset) -> None:
    otherwise = f"set {toolset.variable} to a folder that has {', '.join(toolset.executables)}"
    check_go(toolset.module, what=toolset.title, otherwise=otherwise)


def _given(toolset: Toolset, folder: Path) -> Path:
    missing = [name for name in toolset.executables if not os.access(folder / name, os.X_OK)]
    if missing:
        raise StepFailed(f"{toolset.variable} names {folder}, which has no {', '.join(missing)}; correct or unset it")
    return folder.resolve()
