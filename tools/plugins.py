"""Pulumi's Kubernetes plugin, where Pulumi looks for plugins: below $PULUMI_HOME, so that no PATH has to name it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tools.progress import StepFailed
from tools.stackfile import is_in_cluster
from tools.toolchain.toolsets import PLUGIN, cached, ensure


def place_plugin(home: Path, stack_file: Path | None = None) -> None:
    """Put the plugin into the Pulumi home when it is built already; for a stack in a cluster build it first.

    Raises StepFailed with what to do next, when the stack needs it and it cannot be had.
    """
    if stack_file is not None and is_in_cluster(stack_file):
        _link(home, ensure(PLUGIN))
        return
    with contextlib.suppress(StepFailed):  # no stack needs it yet, so what is wrong with it can wait
        if folder := cached(PLUGIN):
            _link(home, folder)


def _link(home: Path, folder: Path) -> None:
    place = home / "plugins" / f"resource-kubernetes-v{PLUGIN.version()}"
    place.mkdir(parents=True, exist_ok=True)
    for name in PLUGIN.executables:
        # Made beside it and renamed: another command may be starting the plugin now.
        link = place / f".{name}.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(folder / name)
        link.replace(place / name)
