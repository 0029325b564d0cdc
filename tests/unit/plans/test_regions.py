"""The regions, and that they are data."""

from __future__ import annotations

import json
from pathlib import Path

from accelform.plans import regions

PACKAGE = Path(regions.__file__).parent


def test_the_four_regions() -> None:
    """PB6 machines were offered in four regions: 6 vCPUs and one FPGA each, 6 vCPUs of quota to begin with."""
    assert regions.FPGA_REGIONS == ("eastus", "southeastasia", "westeurope", "westus2")
    assert regions.VCPUS_OF_VM_SIZE == {"Standard_PB6s": 6}
    assert set(regions.QUOTA_VCPUS.values()) == {6}
    assert regions.QUOTA_FAMILY == "Standard PBS Family vCPUs"


def test_regions_are_data() -> None:
    """The code names no region; every part of the data says where it comes from."""
    data = json.loads((PACKAGE / "regions.json").read_text(encoding="utf-8"))
    code = (PACKAGE / "regions.py").read_text(encoding="utf-8")

    assert not any(name in code for name in data["regions"])
    assert {"regions", "vm_sizes", "quota", "quota_request"} == set(data["sources"])


def test_where_clients_should_run() -> None:
    """The hint names the region as settings and as people do."""
    assert "westus2 (West US 2), the region of the model" in regions.client_hint("westus2")
