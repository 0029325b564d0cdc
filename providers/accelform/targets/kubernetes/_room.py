"""What the gate does for a service's clients on the way: a rollout that needs room gets some, an old port is kept.

The engine's declaration of the objects stays what it is; both are fields that it leaves to the cluster, or has back at
the end.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accelform.errors import AccelformError, ClusterRefused
from accelform.targets.kubernetes.address import told_ports
from accelform.targets.kubernetes.kinds import DEPLOYMENTS, SERVICES

if TYPE_CHECKING:
    from accelform.targets.kubernetes._sight import Sight, Wish
    from accelform.targets.kubernetes._steps import Steps
    from accelform.targets.kubernetes.client import Cluster

PATIENCE_SECONDS = 5.0
"""How long a successor waits for an FPGA before a pod goes first; a scheduler tries again at once when one is freed."""


@dataclass(kw_only=True)
class Room:
    """Room for the successors of a service that was to be replaced without a pause, in a pool without a free FPGA after
    all: one is broken, or somebody else's pod has it. A pod then goes first, as in a full pool."""

    cluster: Cluster
    wish: Wish
    steps: Steps
    _since: float | None = None
    _surge: int = 0

    def make(self, seen: Sight) -> None:
        """Lets a pod go first where its successor has waited in vain."""
        problem = seen.rollout.problem
        if not (seen.surge and seen.rollout.old and problem and problem.pool_is_full):
            self._since = None
            return
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since < PATIENCE_SECONDS:
            return
        self._surge = seen.surge
        self.steps(2, f"{problem}; so a pod goes before its successor comes, and with a single one calls pause")
        self._allow(surge=0)

    def restore(self) -> None:
        """Leaves the Deployment as it was declared."""
        if self._surge:
            with contextlib.suppress(AccelformError):  # the next `pulumi up` does
                self._allow(surge=self._surge)

    def _allow(self, *, surge: int) -> None:
        rolling = {"maxSurge": surge, "maxUnavailable": 0 if surge else 1}
        patch = {"spec": {"strategy": {"rollingUpdate": rolling}}}
        self.cluster.patch(DEPLOYMENTS, self.wish.name, patch, namespace=self.wish.namespace)


def keep_ports(cluster: Cluster, wish: Wish) -> None:
    """Gives a Service that was made anew the node ports that clients know, unless somebody else has got them."""
    known = told_ports(wish.last_uris)
    service = cluster.get(SERVICES, wish.name, namespace=wish.namespace) if known else None
    if service is None or service["spec"].get("type") != "NodePort":
        return
    ports: list[dict[str, Any]] = service["spec"].get("ports") or []
    wished = [{**row, "nodePort": known.get(str(row.get("name")), row.get("nodePort"))} for row in ports]
    if wished != ports:
        with contextlib.suppress(ClusterRefused):
            cluster.patch(SERVICES, wish.name, {"spec": {"ports": wished}}, namespace=wish.namespace)
