"""A copy of the project with a stack of its own, and `pulumi` on it: seconds and peak memory of each command."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import yaml
from tools.toolchain.toolsets import PLUGIN, ensure

from benchmarks.bundles import ROOT
from benchmarks.processes import MEBIBYTE, resident_bytes, tree

QUIET = ("--non-interactive", "--color", "never")
LOOK_SECONDS = 0.1
TIMEOUT_SECONDS = 600
LAST_LINES = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One command: how long it took, and the most memory that engine, plugins and program had together."""

    seconds: float
    peak_mib: float
    """Resident sizes summed up, so that what processes share counts for each of them."""
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack in a folder, which has its state too."""

    folder: Path
    name: str
    environment: dict[str, str]

    @classmethod
    def create(cls, folder: Path, name: str, settings: dict[str, Any], *, program: Path | None = None) -> Self:
        """A copy of the project in the new folder `folder`; `settings` are those of the stack `name`, and no others.

        `program` stands in for infra/__main__.py.
        """
        folder.mkdir(parents=True)
        copy_project(folder, "infra", "examples")
        if program is not None:
            shutil.copy(program, folder / "infra" / "__main__.py")
        (folder / "stacks").mkdir()
        stack = cls(folder=folder, name=name, environment=environment(folder, ensure(PLUGIN)))
        stack.pulumi("stack", "init", name)
        stack.configure(settings)
        return stack

    def configure(self, settings: dict[str, Any]) -> None:
        """Sets these settings; the others stay."""
        path = self.folder / "stacks" / f"Pulumi.{self.name}.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        own = content.setdefault("config", {})
        own.update({f"accelform:{key}": value for key, value in settings.items()})
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    def pulumi(self, *arguments: str) -> Run:
        """Runs `pulumi` on this stack. Raises RuntimeError with the end of what it said where it fails."""
        command = ["pulumi", *arguments, *QUIET]
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with _Peak(process.pid) as peak:
            try:
                text, _ = process.communicate(timeout=TIMEOUT_SECONDS)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        seconds = time.perf_counter() - started
        if process.returncode:
            said = "\n".join(text.splitlines()[-LAST_LINES:])
            raise RuntimeError(f"{' '.join(command)} failed after {seconds:.0f} s:\n{said}")
        return Run(seconds=seconds, peak_mib=peak.mib, text=text)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in clear."""
        found: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").text)
        return found


class _Peak:
    """Looks at a tree of processes now and then, and keeps the largest sum of their resident sizes."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.mib = max(self.mib, sum(resident_bytes(pid) for pid in tree(self._pid)) / MEBIBYTE)


def copy_project(folder: Path, *parts: str) -> None:
    """Copies Pulumi.yaml and these folders of the project into `folder`, where `environment` keeps the state."""
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    for part in parts:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "state").mkdir()


def environment(folder: Path, *programs: Path) -> dict[str, str]:
    """In which plain `pulumi` works on the project in `folder`; it finds what lies in the folders `programs`, too."""
    path = [str(Path(sys.executable).parent), os.environ["PATH"], *map(str, programs)]
    return {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "benchmark",
        "PULUMI_HOME": str(folder / "pulumi-home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
