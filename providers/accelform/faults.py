"""Points where tests kill the process for real, to prove that the next run converges.

A point does nothing unless the environment names it:

    ACCELFORM_FAULT_POINT=model:after-manifest    which point
    ACCELFORM_FAULT_ACTION=kill                   SIGKILL this process (the default), or
                           kill-engine            SIGKILL the parents up to the one named ``pulumi``, then this process
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

VERSION_STEPS = ("after-reservation", "after-artifacts", "after-manifest")
FAULT_POINTS = (
    *(f"model:{step}" for step in VERSION_STEPS),
    *(f"converted-model:{step}" for step in VERSION_STEPS),
    *(f"image:{step}" for step in VERSION_STEPS),
    "workspace:after-join",
    "compute-target:after-provision",
    "webservice:after-deploy",
)
"""Every name that ``fault_point`` may be called with, in the order of a create."""

POOL_FAULT_POINTS = (
    "compute-target:after-first-claim",
    "compute-target:after-claim",
    "compute-target:after-close",
)
"""Further points of a pool in a cluster; the last is in a release."""
REGISTRY_FAULT_POINTS = ("image:after-layers", "image:after-push", "image:after-attach", "image:after-unpush")
"""Further points of an image in a registry, of which one in a store passes the first two; the last is in a delete."""

_ENGINE_NAME = "pulumi"


def fault_point(name: str) -> None:
    """Die here when the environment says so; otherwise return at once.

    Raises ValueError for a name that is in no tuple of points, so that a renamed point cannot go untested.
    """
    if name not in (*FAULT_POINTS, *POOL_FAULT_POINTS, *REGISTRY_FAULT_POINTS):
        raise ValueError(f"fault point {name!r} is not declared; add it to accelform.faults.FAULT_POINTS")
    if os.environ.get("ACCELFORM_FAULT_POINT") != name:
        return
    action = os.environ.get("ACCELFORM_FAULT_ACTION", "kill")
    if action not in ("kill", "kill-engine"):
        raise ValueError(f"ACCELFORM_FAULT_ACTION is {action!r}; it must be kill or kill-engine")
    if action == "kill-engine":
        for pid in reversed(_parents_up_to_engine()):
            os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _parents_up_to_engine() -> list[int]:
    """Process ids from the direct parent up to the engine; empty when no engine is among them."""
    chain: list[int] = []
    pid = os.getppid()
    while pid > 1:
        parent, name = _parent_and_name(pid)
        chain.append(pid)
        if name == _ENGINE_NAME:
            return chain
        pid = parent
    return []


def _parent_and_name(pid: int) -> tuple[int, str]:
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        return int(fields["PPid"]), fields["Name"].strip()
    listing = subprocess.run(["ps", "-o", "ppid=,comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    parent, _, command = listing.stdout.strip().partition(" ")
    return (int(parent), Path(command.strip()).name) if parent else (0, "")
