"""Where PB6 machines were offered and what each has (Azure documentation, how-to-deploy-fpga-web-service)."""

from __future__ import annotations

FPGA_REGIONS = ("eastus", "southeastasia", "westeurope", "westus2")
"""The four regions with Intel Arria 10 machines."""

VM_SIZES = {"Standard_PB6s": {"vcpus": 6, "fpgas": 1, "device": "Intel Arria 10"}}
"""Machine sizes with an FPGA: vCPUs and FPGAs of one machine."""


def region_problem(location: str) -> str | None:
    """What is wrong with `location` as a place for FPGAs."""
    if location in FPGA_REGIONS:
        return None
    return f"region {location!r} has no FPGA machines; choose one of {', '.join(FPGA_REGIONS)}"


def vm_size_problem(vm_size: str) -> str | None:
    """What is wrong with `vm_size` as a machine with an FPGA."""
    if vm_size in VM_SIZES:
        return None
    return f"vm_size {vm_size!r} has no FPGA; choose one of {', '.join(VM_SIZES)}"


def vcpus(vm_size: str, agent_count: int) -> int:
    """vCPUs that `agent_count` machines take from the quota "Standard PBS Family vCPUs"."""
    return VM_SIZES[vm_size]["vcpus"] * agent_count  # type: ignore[operator,return-value]
