"""Marks put on nodes and taken off, one optimistic patch after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from accelform.errors import ClusterConflict, ClusterObjectMissing, InternalError
from accelform.targets.kubernetes import marks
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import NODES
from accelform.targets.kubernetes.marks import Patch
from accelform.targets.kubernetes.nodes import Machine
from accelform.targets.kubernetes.spec import PoolSpec

ATTEMPTS: Final = 20
"""Tries of one patch; kubelets write to their nodes all the time, so a conflict is nothing special."""


def claim(cluster: Cluster, machine: Machine, spec: PoolSpec, *, is_free: Callable[[Machine], bool]) -> bool:
    """Marks the node as the pool's; False where it is gone, or no longer free because somebody else was faster."""
    return _patch(
        cluster, machine, spec, lambda row: marks.claim(row, spec) if _may_claim(row, spec, is_free) else None
    )


def close_all(cluster: Cluster, machines: Iterable[Machine], spec: PoolSpec) -> None:
    """Keeps new pods off nodes that will be released; those that are not the pool's any more are left alone."""
    for machine in machines:
        _patch(cluster, machine, spec, lambda row: marks.close(row) if row.owner == spec.owner else None)


def release_all(cluster: Cluster, machines: Iterable[Machine], spec: PoolSpec) -> None:
    """Takes the pool's marks off; nodes that are not the pool's any more are left alone."""
    for machine in machines:
        _patch(cluster, machine, spec, lambda row: marks.release(row, spec) if row.owner == spec.owner else None)


def _may_claim(machine: Machine, spec: PoolSpec, is_free: Callable[[Machine], bool]) -> bool:
    return machine.owner == spec.owner or is_free(machine)


def _patch(cluster: Cluster, machine: Machine, spec: PoolSpec, patch_of: Callable[[Machine], Patch | None]) -> bool:
    for _ in range(ATTEMPTS):
        patch = patch_of(machine)
        if patch is None:
            return False
        try:
            cluster.patch(NODES, machine.name, patch)
        except ClusterConflict:
            node = cluster.get(NODES, machine.name)
            if node is None:
                return False
            machine = Machine.of(node, spec.resource_name)
        except ClusterObjectMissing:
            return False
        else:
            return True
    raise InternalError(f"node {machine.name!r} in {cluster} changes faster than it can be marked; try again")
