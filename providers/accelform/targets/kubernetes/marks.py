"""What a claim writes on a node, and how it is taken off again: merge patches, computed without side effects.

Each patch carries the resourceVersion of the node it was computed from, so it fails where anybody changed the node
meanwhile: of two claims of one node at most one succeeds. Everything that others wrote stays.
"""

from __future__ import annotations

from typing import Any

from accelform.plans.cluster_names import LOCATION_LABEL, OWNER_ANNOTATION, POOL_LABEL
from accelform.targets.kubernetes.nodes import Machine
from accelform.targets.kubernetes.spec import PoolSpec

Patch = dict[str, Any]


def is_complete(machine: Machine, spec: PoolSpec) -> bool:
    """Whether the node bears every mark of this pool."""
    return machine.owner == spec.owner and not lacking(machine, spec)


def lacking(machine: Machine, spec: PoolSpec) -> list[str]:
    """The marks that a node of the pool should bear and does not, by what they are called on a node."""
    wished = {POOL_LABEL: spec.name, LOCATION_LABEL: spec.location}
    labels = [f"label {key}={value}" for key, value in wished.items() if machine.labels.get(key) != value]
    taint = spec.taint
    shown = f"taint {taint['key']}={taint['value']}:{taint['effect']}"
    return labels if taint in _plain(machine) else [*labels, shown]


def claim(machine: Machine, spec: PoolSpec) -> Patch:
    """Marks the node as one of the pool's, and keeps other pods off it."""
    return {
        "metadata": {
            "resourceVersion": machine.resource_version,
            "labels": {POOL_LABEL: spec.name, LOCATION_LABEL: spec.location},
            "annotations": {OWNER_ANNOTATION: spec.owner},
        },
        "spec": {"taints": [*_others(machine, spec), spec.taint]},
    }


def close(machine: Machine) -> Patch:
    """Takes the pool's label off, so that no new pod comes, and leaves everything else: the first step of a release."""
    return {"metadata": {"resourceVersion": machine.resource_version, "labels": {POOL_LABEL: None}}}


def release(machine: Machine, spec: PoolSpec) -> Patch:
    """Takes every mark off."""
    return {
        "metadata": {
            "resourceVersion": machine.resource_version,
            "labels": {POOL_LABEL: None, LOCATION_LABEL: None},
            "annotations": {OWNER_ANNOTATION: None},
        },
        "spec": {"taints": _others(machine, spec) or None},
    }


def _others(machine: Machine, spec: PoolSpec) -> list[dict[str, Any]]:
    return [dict(taint) for taint in machine.taints if _short(taint) != spec.taint]


def _plain(machine: Machine) -> list[dict[str, Any]]:
    return [_short(taint) for taint in machine.taints]


def _short(taint: Any) -> dict[str, Any]:
    return {key: taint.get(key, "") for key in ("key", "value", "effect")}
