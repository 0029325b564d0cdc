"""Where machines with FPGAs were offered and what each has: `regions.json` as code, which holds no region itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

_DATA: Final[Mapping[str, Any]] = json.loads(files(__package__).joinpath("regions.json").read_text(encoding="utf-8"))

FPGA_REGIONS: Final = tuple(sorted(_DATA["regions"]))
"""The regions with Intel Arria 10 machines."""

DISPLAY_NAMES: Final = {name: str(row["display_name"]) for name, row in _DATA["regions"].items()}
"""Regions as Azure shows them to people."""

VCPUS_OF_VM_SIZE: Final = {name: int(row["vcpus"]) for name, row in _DATA["vm_sizes"].items()}
"""Machine sizes with one Intel Arria 10, and the vCPUs of each."""

QUOTA_VCPUS: Final = {name: int(row["quota_vcpus"]) for name, row in _DATA["regions"].items()}
"""The vCPUs that a subscription may use in each region before it asks for more."""

QUOTA_FAMILY: Final = str(_DATA["quota_family"])
QUOTA_REQUEST: Final = str(_DATA["quota_request"])


def region_problem(location: str) -> str | None:
    """What is wrong with `location` as a place for FPGAs."""
    if location in FPGA_REGIONS:
        return None
    return f"region {location!r} has no FPGA machines; choose one of {', '.join(FPGA_REGIONS)}"


def vm_size_problem(vm_size: str) -> str | None:
    """What is wrong with `vm_size` as a machine with an FPGA."""
    if vm_size in VCPUS_OF_VM_SIZE:
        return None
    return f"vm_size {vm_size!r} has no FPGA; choose one of {', '.join(VCPUS_OF_VM_SIZE)}"


def vcpus(vm_size: str, agent_count: int) -> int:
    """vCPUs that `agent_count` machines take from the quota "Standard PBS Family vCPUs"."""
    return VCPUS_OF_VM_SIZE[vm_size] * agent_count


def client_hint(location: str) -> str:
    """Where clients of a model in `location` should run."""
    return (
        f"run clients in {location} ({DISPLAY_NAMES[location]}), the region of the model: "
        "that gives the lowest latency and the highest throughput"
    )
