"""Nodes and pods of a cluster as a pool sees them: plain values, parsed from the API's objects without side effects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from accelform.plans.cluster_names import OWNER_ANNOTATION, POOL_LABEL
from accelform.targets.kubernetes._conditions import condition

_UNITS: Final = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_FINISHED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A node. `fpgas` are those it has, `healthy_fpgas` those a pod could get; both None: no device plugin told any.

    `trouble` says why it is not Ready, and is empty where it is. `taints` are as in the node's spec. `changed_at` is
    when it came or last became Ready or not, in seconds since 1970.
    """

    name: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[Mapping[str, Any], ...]
    trouble: str
    is_cordoned: bool
    is_leaving: bool
    vcpus: float
    fpgas: int | None
    healthy_fpgas: int | None
    changed_at: float

    @classmethod
    def of(cls, node: Mapping[str, Any], resource_name: str) -> Machine:
        """The machine that `node`, an object of the API, stands for."""
        metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
        ready = condition(node, "Ready")
        capacity, allocatable = status.get("capacity") or {}, status.get("allocatable") or {}
        return cls(
            name=metadata["name"],
            resource_version=metadata["resourceVersion"],
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            taints=tuple(spec.get("taints") or ()),
            trouble=_trouble(ready),
            is_cordoned=bool(spec.get("unschedulable")),
            is_leaving="deletionTimestamp" in metadata,
            vcpus=amount(capacity.get("cpu", "0")),
            fpgas=int(amount(capacity[resource_name])) if resource_name in capacity else None,
            healthy_fpgas=int(amount(allocatable[resource_name])) if resource_name in allocatable else None,
            changed_at=max(_seconds(metadata.get("creationTimestamp")), _seconds(ready.get("lastTransitionTime"))),
        )

    @property
    def pool(self) -> str:
        """The pool that its label names; empty where it has none."""
        return self.labels.get(POOL_LABEL, "")

    @property
    def owner(self) -> str:
        """`<project>/<stack>/<resource>` of the pool it belongs to; empty where it belongs to none."""
        return self.annotations.get(OWNER_ANNOTATION, "")

    @property
    def is_ready(self) -> bool:
        return not self.trouble

    @property
    def usable_fpgas(self) -> int:
        """FPGAs that a pod could get now, in use or not."""
        return (self.healthy_fpgas or 0) if self.is_ready else 0

    @property
    def has_broken_fpga(self) -> bool:
        """Whether its device plugin has told of FPGAs and none of them is healthy."""
        return bool(self.fpgas) and not self.healthy_fpgas

    def fpga_trouble(self) -> str:
        """Why no FPGA can be used, in a few words; empty where one can."""
        if self.trouble:
            return f"is not Ready: {self.trouble}"
        if self.has_broken_fpga:
            return f"has {self.fpgas} FPGA{'s' if self.fpgas != 1 else ''}, none of them healthy"
        return "" if self.healthy_fpgas else "offers no FPGA: no device plugin has told the kubelet of one"


@dataclass(frozen=True, kw_only=True)
class FpgaUse:
    """A pod that holds FPGAs of a node; `is_leaving`: it has been told to stop."""

    pod: str
    node: str
    fpgas: int
    is_leaving: bool


def machines_of(nodes: Iterable[Mapping[str, Any]], resource_name: str) -> list[Machine]:
    """Every node as a machine, by name, numbers in names by their value."""
    return sorted((Machine.of(node, resource_name) for node in nodes), key=lambda row: natural(row.name))


def uses_of(pods: Iterable[Mapping[str, Any]], resource_name: str) -> dict[str, list[FpgaUse]]:
    """The pods that hold FPGAs, by the node they are bound to; finished ones hold none."""
    found: dict[str, list[FpgaUse]] = {}
    for pod in pods:
        spec, metadata = pod.get("spec") or {}, pod["metadata"]
        node, count = spec.get("nodeName"), _fpgas(spec, resource_name)
        if not node or not count or (pod.get("status") or {}).get("phase") in _FINISHED:
            continue
        use = FpgaUse(
            pod=f"{metadata.get('namespace', 'default')}/{metadata['name']}",
            node=node,
            fpgas=count,
            is_leaving="deletionTimestamp" in metadata,
        )
        found.setdefault(node, []).append(use)
    return found


def amount(quantity: str) -> float:
    """A Kubernetes quantity of processors or devices as a number.

    >>> amount("6"), amount("5800m")
    (6.0, 5.8)
    """
    found = re.fullmatch(r"([0-9.]+)([numk]?)", str(quantity))
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which node-2 comes before node-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _fpgas(spec: Mapping[str, Any], resource_name: str) -> int:
    """What the scheduler counts: containers at once, or one init container if that needs more."""

    def wanted(container: Mapping[str, Any]) -> int:
        resources = container.get("resources") or {}
        return int(amount((resources.get("requests") or resources.get("limits") or {}).get(resource_name, "0")))

    together = sum(wanted(container) for container in spec.get("containers") or ())
    return max(together, *(wanted(container) for container in spec.get("initContainers") or ()), 0)


def _seconds(timestamp: str | None) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def _trouble(ready: Mapping[str, Any]) -> str:
    if not ready:
        return "its kubelet has not reported yet"
    if ready["status"] == "True":
        return ""
    return str(ready.get("message") or ready.get("reason") or f"condition Ready is {ready['status']}")
