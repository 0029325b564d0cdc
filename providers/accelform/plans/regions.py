"""Where PB6 machines were offered and what each has (Azure documentation, how-to-deploy-fpga-web-service)."""

from __future__ import annotations

FPGA_REGIONS = ("eastus", "southeastasia", "westeurope", "westus2")
"""The four regions with Intel Arria 10 machines."""

VCPUS_OF_VM_SIZE = {"Standard_PB6s": 6}
"""Machine sizes with one Intel Arria 10, and the vCPUs of each."""


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
