"""What a pool reads from its cluster, in as few requests as there are."""

from __future__ import annotations

from collections.abc import Iterable

from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import NODES, PODS
from accelform.targets.kubernetes.nodes import FpgaUse, Machine, machines_of, uses_of
from accelform.targets.kubernetes.spec import PoolSpec

_BOUND_AND_RUNNING = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"


class View:
    """The cluster as one pool sees it; each method is a fresh look."""

    def __init__(self, cluster: Cluster, spec: PoolSpec) -> None:
        self._cluster = cluster
        self._spec = spec

    def machines(self) -> list[Machine]:
        """Every node of the cluster."""
        return machines_of(self._cluster.list(NODES), self._spec.resource_name)

    def members(self) -> list[Machine]:
        """The pool's nodes: those with its owner's mark, or, attached, those that its selector finds."""
        if self._spec.is_attached:
            selector = ",".join(f"{key}={value}" for key, value in self._spec.selector.items())
            return machines_of(self._cluster.list(NODES, label_selector=selector), self._spec.resource_name)
        return [row for row in self.machines() if row.owner == self._spec.owner]

    def uses(self) -> dict[str, list[FpgaUse]]:
        """The pods that hold FPGAs, by node."""
        return uses_of(self._cluster.list(PODS, field_selector=_BOUND_AND_RUNNING), self._spec.resource_name)

    def holders(self, names: Iterable[str]) -> list[FpgaUse]:
        """The pods that hold FPGAs of these nodes."""
        uses = self.uses()
        return [use for name in names for use in uses.get(name, ())]
