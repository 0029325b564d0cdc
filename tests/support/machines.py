"""Nodes and pods as the API shows them, and pools that want them, for tests without a cluster."""

from __future__ import annotations

from typing import Any

from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.targets.kubernetes.nodes import Machine
from accelform.targets.kubernetes.spec import PoolSpec

OWNER = "accelform/eastus/target"


def node(
    name: str,
    *,
    cpu: str = "6",
    fpgas: int | None = 1,
    healthy: int | None = None,
    ready: bool = True,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    taints: list[dict[str, Any]] | None = None,
    cordoned: bool = False,
    version: str = "1",
    changed: str = "2026-11-01T00:00:00Z",
) -> dict[str, Any]:
    """A node; `healthy` FPGAs default to all of them, None `fpgas` means that no device plugin told of any."""
    capacity: dict[str, str] = {"cpu": cpu, "memory": "56Gi"}
    allocatable = dict(capacity)
    if fpgas is not None:
        capacity[FPGA_RESOURCE] = str(fpgas)
        allocatable[FPGA_RESOURCE] = str(fpgas if healthy is None else healthy)
    spec: dict[str, Any] = {"taints": taints} if taints else {}
    if cordoned:
        spec["unschedulable"] = True
    condition = {"type": "Ready", "status": "True" if ready else "Unknown", "message": "kubelet stopped posting"}
    condition["lastTransitionTime"] = changed
    return {
        "metadata": {
            "name": name,
            "resourceVersion": version,
            "labels": labels or {},
            "annotations": annotations or {},
            "creationTimestamp": "2026-11-01T00:00:00Z",
        },
        "spec": spec,
        "status": {"capacity": capacity, "allocatable": allocatable, "conditions": [condition]},
    }


def machine(name: str, **shape: Any) -> Machine:
    """The same as a machine."""
    return Machine.of(node(name, **shape), FPGA_RESOURCE)


def pod(name: str, on: str, *, fpgas: int = 1, phase: str = "Running", leaving: bool = False) -> dict[str, Any]:
    """A pod bound to the node `on`."""
    metadata: dict[str, Any] = {"name": name, "namespace": "vision"}
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-26T00:00:00Z"
    container = {"name": "server", "resources": {"requests": {FPGA_RESOURCE: str(fpgas)}} if fpgas else {}}
    return {"metadata": metadata, "spec": {"nodeName": on, "containers": [container]}, "status": {"phase": phase}}


def spec(**changes: Any) -> PoolSpec:
    """A pool of two machines in East US with quota to spare."""
    usual: dict[str, Any] = {
        "owner": OWNER,
        "name": "pool",
        "agent_count": 2,
        "vm_size": "Standard_PB6s",
        "location": "eastus",
        "resource_name": FPGA_RESOURCE,
        "node_vcpus": 6,
        "quota_vcpus": 6000,
        "timeout_seconds": 10.0,
    }
    return PoolSpec(**{**usual, **changes})
