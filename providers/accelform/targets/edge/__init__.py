"""The edge target: boxes that emulate a Data Box Edge with FPGAs, on this machine, without cluster or Docker."""

from __future__ import annotations

from accelform.targets.edge.box import EdgeBox
from accelform.targets.edge.planning import capacity_problem, port_problem
from accelform.targets.edge.state import BoxState, FpgaState, Resident, ServiceSpec, ServiceState, TlsFiles

__all__ = [
    "BoxState",
    "EdgeBox",
    "FpgaState",
    "Resident",
    "ServiceSpec",
    "ServiceState",
    "TlsFiles",
    "capacity_problem",
    "port_problem",
]
